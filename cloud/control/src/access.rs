//! Which blobs an agent may read and write: those that its assignments in unfinished runs name. Answered from memory;
//! what is known here is committed. The rule itself is [`eyot_coordinator::Readable`].
//!
//! What a result names, those that wait for it may read from then on, and its owner. An agent knows the digests of a whole run,
//! so a name alone gives no right to what is here already: the agent has to have brought it, to the last byte, or to show
//! that it has it, or may read it. That it did is remembered while the control plane runs; over each new link an agent offers again
//! what it is about to name.

use crate::clock;
use eyot_coordinator::{Readable, literals};
use eyot_link::{BlobPolicy, Peer};
use eyot_model::{AgentId, BlobRef, Digest, Event, FragmentId, Millis, Outcome, Path, RunId, TaskIx, Timestamp, Value, Workflow};
use eyot_wire::UploadLimits;
use parking_lot::RwLock;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

/// Blobs that an agent may have brought which no committed result names yet.
const MOST_UNNAMED: u32 = 4_096;
/// A result follows its blobs sooner than this. Later they are of a result that was superseded.
const UNNAMED_LIFE: Millis = Millis(3_600_000);

/// How much an agent may have brought before results name it, where one blob has at most `max_upload` bytes.
pub(crate) fn upload_limits(max_upload: u64) -> UploadLimits {
    UploadLimits {
        blob: max_upload,
        together: max_upload.saturating_mul(4),
        count: MOST_UNNAMED,
    }
}

/// Blobs of an agent that results name already and that it may name in others, the latest ones.
const MOST_NAMED: usize = 1_024;

/// Cheap to clone; clones share it.
#[derive(Clone, Default)]
pub(crate) struct Access {
    inner: Arc<RwLock<Inner>>,
}

#[derive(Default)]
struct Inner {
    runs: HashMap<RunId, RunBlobs>,
    /// Unfinished runs that an agent was given a part of.
    works_on: HashMap<AgentId, BTreeSet<RunId>>,
    /// What each agent brings that no result names yet.
    unnamed: HashMap<AgentId, HashMap<Digest, Brought>>,
    /// What each agent brought before.
    named: HashMap<AgentId, VecDeque<Digest>>,
    /// Components that operators registered here.
    registered: HashSet<Digest>,
}

struct Brought {
    size: u64,
    /// When it began to.
    since: Timestamp,
    /// It has all of it.
    whole: bool,
}

#[derive(Default)]
struct RunBlobs {
    fragments: HashMap<FragmentId, (AgentId, Readable)>,
    /// Blobs that each task's results name.
    results: HashMap<TaskIx, HashSet<Digest>>,
    /// Blobs that results name whose agent is not known to have them.
    withheld: HashMap<Digest, Vec<(TaskIx, AgentId)>>,
    /// The state that each instance saved last, where it is a blob.
    saved: BTreeMap<Path, Digest>,
    /// Components that a run of an agent's own names.
    components: BTreeSet<Digest>,
}

impl RunBlobs {
    fn may_read(&self, agent: AgentId, digest: &Digest) -> bool {
        self.fragments.values().filter(|(owner, _)| *owner == agent).any(|(_, readable)| {
            let given = |task: &TaskIx| self.results.get(task).is_some_and(|blobs| blobs.contains(digest));
            let saved = |(path, state): (&Path, &Digest)| state == digest && readable.states_of.contains(&path.task);
            readable.blobs.contains(digest) || readable.outputs_of.iter().any(given) || self.saved.iter().any(saved)
        })
    }
}

impl Access {
    /// A deployment that is on its way to an agent: it may read what the workflow names.
    pub(crate) fn deploy(&self, reading: RunId, agent: AgentId, blobs: BTreeSet<Digest>) {
        let readable = Readable {
            blobs,
            ..Readable::default()
        };
        self.assign(reading, FragmentId(0), Some((agent, readable)));
    }

    /// A run that an agent coordinates: it may bring blobs for it, and read none by it but the components that it names and operators
    /// registered here. A device whose own copy of one is damaged gets it back that way; what nobody registered stays out of reach,
    /// because an agent can name any digest.
    pub(crate) fn foreign(&self, run: RunId, agent: AgentId, components: BTreeSet<Digest>) {
        self.assign(run, FragmentId(0), Some((agent, Readable::default())));
        self.inner.write().runs.entry(run).or_default().components = components;
    }

    /// Operators registered these components.
    pub(crate) fn registered(&self, components: impl IntoIterator<Item = Digest>) {
        self.inner.write().registered.extend(components);
    }

    /// The agent owns the fragment from now on, or nobody does; whoever owned it before does not any more.
    pub(crate) fn assign(&self, run: RunId, fragment: FragmentId, owner: Option<(AgentId, Readable)>) {
        let mut inner = self.inner.write();
        let agent = owner.as_ref().map(|(agent, _)| *agent);
        let fragments = &mut inner.runs.entry(run).or_default().fragments;
        let before = match owner {
            Some(owner) => fragments.insert(fragment, owner),
            None => fragments.remove(&fragment),
        };
        let before = before.map(|(before, _)| before);
        if let Some(before) = before
            && !fragments.values().any(|(owner, _)| *owner == before)
        {
            inner.leaves(before, run);
        }
        if let Some(agent) = agent {
            inner.works_on.entry(agent).or_default().insert(run);
        }
    }

    /// Blobs that a committed result names, and who brought them. Those in `withheld` nobody may read by it, until its agent
    /// brings them.
    pub(crate) fn result(&self, run: RunId, task: TaskIx, mut blobs: Vec<Digest>, withheld: &[Digest], from: Option<AgentId>) {
        let mut inner = self.inner.write();
        blobs.retain(|digest| !withheld.contains(digest));
        if let Some(agent) = from {
            blobs.iter().for_each(|digest| inner.is_named(agent, digest));
            let run = inner.runs.entry(run).or_default();
            for digest in withheld {
                run.withheld.entry(*digest).or_default().push((task, agent));
            }
        }
        inner.runs.entry(run).or_default().results.entry(task).or_default().extend(blobs);
    }

    /// What an instance saved last, or that this is of no use any more.
    pub(crate) fn saved(&self, run: RunId, path: Path, state: Option<Digest>) {
        let mut inner = self.inner.write();
        let Some(digest) = state else {
            if let Some(blobs) = inner.runs.get_mut(&run) {
                blobs.saved.remove(&path);
            }
            return;
        };
        let blobs = inner.runs.entry(run).or_default();
        blobs.saved.insert(path, digest);
        let owns = |(_, readable): &&(AgentId, Readable)| readable.states_of.contains(&path.task);
        let owner = blobs.fragments.values().find(owns).map(|(owner, _)| *owner);
        if let Some(owner) = owner {
            inner.is_named(owner, &digest);
        }
    }

    pub(crate) fn end(&self, run: RunId) {
        let mut inner = self.inner.write();
        let owners: BTreeSet<AgentId> = match inner.runs.remove(&run) {
            Some(blobs) => blobs.fragments.into_values().map(|(owner, _)| owner).collect(),
            None => return,
        };
        for owner in owners {
            inner.leaves(owner, run);
        }
    }

    /// Blobs that agents brought for results which are not committed yet, however long they wait for what comes before them.
    pub(crate) fn unnamed(&self) -> BTreeSet<Digest> {
        let inner = self.inner.read();
        inner.unnamed.values().flat_map(|unnamed| unnamed.keys().copied()).collect()
    }

    /// Whether an agent is known to have the bytes of a blob: it may read it, or it brought it.
    pub(crate) fn may_name(&self, agent: AgentId, digest: &Digest) -> bool {
        self.inner.read().may_name(agent, digest)
    }

    /// An agent brought a blob, or showed that it has it.
    fn brought(&self, agent: AgentId, digest: &Digest) {
        self.inner.write().brought(agent, digest);
    }

    /// Writes are bounded: by one blob's size, and by how much an agent brings before its results name it.
    fn may_write(&self, agent: AgentId, digest: &Digest, size: u64, limits: &UploadLimits, now: Timestamp) -> Result<(), String> {
        if size > limits.blob {
            return Err(format!("{size} bytes are over the limit of {} bytes", limits.blob));
        }
        let mut inner = self.inner.write();
        if !inner.works_on.contains_key(&agent) {
            return Err("it owns no part of an unfinished run".to_owned());
        }
        // Something that is committed names it.
        if inner.may_read(agent, digest) {
            return Ok(());
        }
        let whole = inner.may_name(agent, digest);
        let unnamed = inner.unnamed.entry(agent).or_default();
        let full = |unnamed: &HashMap<Digest, Brought>| {
            let bytes: u64 = unnamed.values().map(|brought| brought.size).sum();
            unnamed.len() >= limits.count as usize || bytes.saturating_add(size) > limits.together
        };
        if !unnamed.contains_key(digest) && full(unnamed) {
            unnamed.retain(|_, brought| now.since(brought.since) < UNNAMED_LIFE);
            if full(unnamed) {
                return Err("it brought more than its results name; try again later".to_owned());
            }
        }
        let brought = Brought { size, since: now, whole };
        unnamed.insert(*digest, brought);
        Ok(())
    }
}

impl Inner {
    fn may_read(&self, agent: AgentId, digest: &Digest) -> bool {
        let mut runs = self.works_on.get(&agent).into_iter().flatten();
        let is_registered = self.registered.contains(digest);
        runs.any(|run| {
            let blobs = self.runs.get(run);
            blobs.is_some_and(|blobs| blobs.may_read(agent, digest) || is_registered && blobs.components.contains(digest))
        })
    }

    fn may_name(&self, agent: AgentId, digest: &Digest) -> bool {
        let brought = self.unnamed.get(&agent).and_then(|unnamed| unnamed.get(digest));
        brought.is_some_and(|brought| brought.whole)
            || self.named.get(&agent).is_some_and(|named| named.contains(digest))
            || self.may_read(agent, digest)
    }

    fn brought(&mut self, agent: AgentId, digest: &Digest) {
        if let Some(brought) = self.unnamed.get_mut(&agent).and_then(|unnamed| unnamed.get_mut(digest)) {
            brought.whole = true;
        }
        // Results that named it before: others need it after all.
        for run in self.works_on.get(&agent).into_iter().flatten() {
            let Some(blobs) = self.runs.get_mut(run) else { continue };
            let Some(withheld) = blobs.withheld.get_mut(digest) else { continue };
            for (task, _) in withheld.extract_if(.., |(_, by)| *by == agent) {
                blobs.results.entry(task).or_default().insert(*digest);
            }
        }
    }

    /// Something that is committed names a blob of the agent's.
    fn is_named(&mut self, agent: AgentId, digest: &Digest) {
        let brought = self.unnamed.get_mut(&agent).and_then(|unnamed| unnamed.remove(digest));
        let whole = brought.is_some_and(|brought| brought.whole);
        let named = self.named.entry(agent).or_default();
        let at = named.iter().position(|known| known == digest);
        if at.and_then(|at| named.remove(at)).is_some() || whole {
            named.push_back(*digest);
        }
        if named.len() > MOST_NAMED {
            named.pop_front();
        }
    }

    fn leaves(&mut self, agent: AgentId, run: RunId) {
        if let Some(runs) = self.works_on.get_mut(&agent) {
            runs.remove(&run);
            if runs.is_empty() {
                self.works_on.remove(&agent);
                // It may be given the same part again, and tell of what it brought for it.
                let unnamed = self.unnamed.remove(&agent).into_iter().flatten();
                let named = self.named.entry(agent).or_default();
                named.extend(unnamed.filter(|(_, brought)| brought.whole).map(|(digest, _)| digest));
                let over = named.len().saturating_sub(MOST_NAMED);
                named.drain(..over);
            }
        }
    }
}

/// The blobs that an event names, if it is a result that names any, and its task.
pub(crate) fn results(event: &Event) -> Option<(TaskIx, Vec<Digest>)> {
    let Event::Ended {
        path,
        outcome: Outcome::Succeeded(outputs),
        ..
    } = event
    else {
        return None;
    };
    let mut found = HashSet::new();
    collect(outputs, &mut found);
    (!found.is_empty()).then(|| (path.task, found.into_iter().collect()))
}

fn collect(values: &BTreeMap<String, Value>, found: &mut HashSet<Digest>) {
    values
        .values()
        .for_each(|value| value.for_each_blob(&mut |blob| _ = found.insert(blob.digest)));
}

/// Components of a workflow.
pub(crate) fn components(workflow: &Workflow) -> BTreeSet<Digest> {
    workflow.tasks.iter().filter_map(|task| task.uses.digest).collect()
}

/// Components of a workflow, and the blobs that its literals name.
pub(crate) fn named_blobs(workflow: &Workflow) -> BTreeSet<Digest> {
    let mut found = components(workflow);
    let mut visit = |blob: &BlobRef| _ = found.insert(blob.digest);
    workflow
        .inputs
        .values()
        .filter_map(|input| input.default.as_ref())
        .for_each(|value| value.for_each_blob(&mut visit));
    let templates = workflow
        .tasks
        .iter()
        .flat_map(|task| task.with.values().chain(task.for_each.iter().map(|each| &each.items)));
    templates
        .chain(workflow.outputs.values())
        .for_each(|template| literals(template, &mut visit));
    found
}

/// The policy of the agents' blob streams.
pub(crate) struct Policy {
    pub(crate) access: Access,
    pub(crate) limits: UploadLimits,
}

impl BlobPolicy for Policy {
    fn may_read(&self, peer: Peer, digest: &Digest) -> bool {
        // What it brought it may have back: its disk may have lost it since.
        self.may_name(peer, digest)
    }

    fn may_write(&self, peer: Peer, digest: &Digest, size: u64) -> Result<(), String> {
        match peer {
            Peer::Agent(agent) => self.access.may_write(agent, digest, size, &self.limits, clock::now()),
            Peer::Cloud => Err("only agents bring blobs here".to_owned()),
        }
    }

    fn may_name(&self, peer: Peer, digest: &Digest) -> bool {
        matches!(peer, Peer::Agent(agent) if self.access.may_name(agent, digest))
    }

    fn brought(&self, peer: Peer, digest: &Digest) {
        if let Peer::Agent(agent) = peer {
            self.access.brought(agent, digest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(n: usize) -> Digest {
        Digest::of(&n.to_le_bytes())
    }

    fn readable(blob: usize, outputs_of: &[u32]) -> Readable {
        Readable {
            blobs: [digest(blob)].into(),
            outputs_of: outputs_of.iter().map(|n| TaskIx(*n)).collect(),
            // As in the tests below: the last one is its own.
            states_of: outputs_of.last().map(|n| TaskIx(*n)).into_iter().collect(),
        }
    }

    fn may_read(access: &Access, agent: AgentId, digest: &Digest) -> bool {
        access.inner.read().may_read(agent, digest)
    }

    const NOW: Timestamp = Timestamp(1_000_000);
    const RUN: RunId = RunId(1);
    const ONE: AgentId = AgentId(1);
    const TWO: AgentId = AgentId(2);

    #[test]
    fn an_agent_reads_what_its_assignments_name_and_nothing_else_of_a_run_that_it_works_on() {
        let access = Access::default();
        access.assign(RUN, FragmentId(0), Some((ONE, readable(10, &[0]))));
        access.assign(RUN, FragmentId(1), Some((TWO, readable(11, &[0, 1]))));
        access.result(RUN, TaskIx(0), vec![digest(20)], &[], Some(ONE));
        access.result(RUN, TaskIx(1), vec![digest(21)], &[], Some(TWO));
        let reads = |agent| -> Vec<usize> { (10..30).filter(|n| may_read(&access, agent, &digest(*n))).collect() };
        assert_eq!(reads(ONE), [10, 20]);
        assert_eq!(reads(TWO), [11, 20, 21]);
        assert_eq!(reads(AgentId(3)), [] as [usize; 0]);
        // What a task saved for itself is for whoever owns it, not for those that wait for it.
        let path = Path::task(TaskIx(0));
        access.saved(RUN, path, Some(digest(25)));
        assert_eq!((reads(ONE), reads(TWO)), (vec![10, 20, 25], vec![11, 20, 21]));
        access.saved(RUN, path, Some(digest(26)));
        assert_eq!(reads(ONE), [10, 20, 26]);
        access.saved(RUN, path, None);
        // The fragment is given to another agent: what comes with it goes with it.
        access.assign(RUN, FragmentId(1), Some((ONE, readable(11, &[0, 1]))));
        assert_eq!(reads(ONE), [10, 11, 20, 21]);
        assert_eq!(reads(TWO), [] as [usize; 0]);
        // It is fenced: under this epoch nobody has it.
        access.assign(RUN, FragmentId(1), None);
        assert_eq!(reads(ONE), [10, 20]);
        access.end(RUN);
        assert_eq!(reads(ONE), [] as [usize; 0]);
    }

    #[test]
    fn a_run_of_an_agents_own_gives_it_the_registered_components_that_it_names() {
        let access = Access::default();
        access.registered([digest(1), digest(2)]);
        let reads = |agent| -> Vec<usize> { (1..5).filter(|n| may_read(&access, agent, &digest(*n))).collect() };
        assert_eq!(reads(ONE), [] as [usize; 0], "it runs nothing");
        access.foreign(RUN, ONE, [digest(1), digest(3)].into());
        assert_eq!(reads(ONE), [1], "2 is not named, 3 may be anybody's blob");
        assert_eq!(reads(TWO), [] as [usize; 0]);
        access.registered([digest(3)]);
        assert_eq!(reads(ONE), [1, 3], "registered since");
        access.end(RUN);
        assert_eq!(reads(ONE), [] as [usize; 0]);
    }

    #[test]
    fn writes_are_for_those_who_work_and_bounded_until_results_name_them() {
        let access = Access::default();
        let write = |agent, n: usize, size, now| access.may_write(agent, &digest(n), size, &upload_limits(10), now);
        assert!(write(ONE, 0, 1, NOW).is_err(), "it has no work");
        access.assign(RUN, FragmentId(0), Some((ONE, readable(50, &[0]))));
        assert!(write(ONE, 0, 11, NOW).is_err(), "too large");
        for n in 0..4 {
            write(ONE, n, 10, NOW).unwrap();
        }
        write(ONE, 0, 10, NOW).expect("the same one again, after a cut");
        assert!(write(ONE, 4, 1, NOW).is_err(), "more than four of the largest");
        assert_eq!(access.unnamed().len(), 4);
        access.result(RUN, TaskIx(0), vec![digest(1)], &[], Some(ONE));
        assert!(!access.unnamed().contains(&digest(1)), "it has a name now");
        write(ONE, 4, 10, NOW).expect("a result named one of them");
        assert!(write(ONE, 5, 1, NOW).is_err());
        write(ONE, 5, 1, NOW.after(UNNAMED_LIFE)).expect("what no result named by now was of none");
        for n in 100..100 + MOST_UNNAMED as usize - 1 {
            write(ONE, n, 0, NOW.after(UNNAMED_LIFE)).unwrap();
        }
        assert!(write(ONE, 9_999, 0, NOW.after(UNNAMED_LIFE)).is_err(), "too many");
        access.end(RUN);
        assert!(write(ONE, 6, 1, NOW).is_err());
    }

    #[test]
    fn a_result_gives_no_right_to_what_its_agent_neither_brought_nor_may_read() {
        let access = Access::default();
        let part = || Some((ONE, readable(10, &[0])));
        access.assign(RUN, FragmentId(0), part());
        let may_name = |n| access.may_name(ONE, &digest(n));
        assert!(may_name(10), "it may read it");
        assert!(!may_name(77), "it knows the digest and nothing else");
        access.result(RUN, TaskIx(0), vec![digest(76), digest(77)], &[digest(77)], Some(ONE));
        assert_eq!(
            (may_read(&access, ONE, &digest(76)), may_read(&access, ONE, &digest(77))),
            (true, false)
        );

        access.may_write(ONE, &digest(77), 1, &upload_limits(10), NOW).unwrap();
        assert!(!may_name(77), "it only said that it would bring it");
        access.brought(ONE, &digest(77));
        assert!(may_read(&access, ONE, &digest(77)), "what it named it has brought");
        access.may_write(ONE, &digest(78), 1, &upload_limits(10), NOW).unwrap();
        access.brought(ONE, &digest(78));
        access.may_write(ONE, &digest(78), 1, &upload_limits(10), NOW).unwrap();
        assert!(may_name(78), "it offered it again");
        // What it brought it may name again: in another run, and when the part comes back to it.
        access.result(RUN, TaskIx(0), vec![digest(78)], &[], Some(ONE));
        access.may_write(ONE, &digest(79), 1, &upload_limits(10), NOW).unwrap();
        access.brought(ONE, &digest(79));
        access.end(RUN);
        assert_eq!((may_name(10), may_name(78), may_name(79)), (false, true, true));
        // Nothing that is committed names it any more: a sweep leaves it until its next result is.
        access.assign(RUN, FragmentId(0), part());
        access.may_write(ONE, &digest(78), 1, &upload_limits(10), NOW).unwrap();
        assert!(access.unnamed().contains(&digest(78)) && may_name(78));
        access.end(RUN);
        // What others brought is theirs.
        access.assign(RUN, FragmentId(0), part());
        access.result(RUN, TaskIx(1), vec![digest(80)], &[], Some(TWO));
        assert!(!may_name(80));
    }
}
