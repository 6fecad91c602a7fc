//! Trigger rules: what the states of the tasks before it mean for a task. Names and meanings are Airflow's
//! (its documentation, "Trigger Rules").

use eyot_model::{State, TriggerRule};

/// How the tasks before a task have ended so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Upstream {
    pub total: u32,
    pub succeeded: u32,
    /// Failed, timed out or cancelled.
    pub failed: u32,
    pub upstream_failed: u32,
    pub skipped: u32,
}

impl Upstream {
    /// Counts one more task that ended in `state`.
    pub fn count(&mut self, state: State) {
        match state {
            State::Succeeded => self.succeeded += 1,
            State::Failed | State::TimedOut | State::Cancelled => self.failed += 1,
            State::UpstreamFailed => self.upstream_failed += 1,
            State::Skipped => self.skipped += 1,
            State::Pending | State::Queued | State::Running | State::Retrying | State::Waiting | State::Paused | State::Disconnected => {}
        }
    }

    /// Takes one back that had been counted.
    pub(crate) fn uncount(&mut self, state: State) {
        match state {
            State::Succeeded => self.succeeded = self.succeeded.saturating_sub(1),
            State::Failed | State::TimedOut | State::Cancelled => self.failed = self.failed.saturating_sub(1),
            State::UpstreamFailed => self.upstream_failed = self.upstream_failed.saturating_sub(1),
            State::Skipped => self.skipped = self.skipped.saturating_sub(1),
            State::Pending | State::Queued | State::Running | State::Retrying | State::Waiting | State::Paused | State::Disconnected => {}
        }
    }

    pub(crate) fn done(&self) -> bool {
        self.succeeded + self.failed + self.upstream_failed + self.skipped >= self.total
    }

    fn any_failed(&self) -> bool {
        self.failed + self.upstream_failed > 0
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not decided yet.
    Wait,
    Run,
    Skip,
    UpstreamFailed,
}

/// What `rule` says. A task without tasks before it runs under every rule.
#[must_use]
pub fn verdict(rule: TriggerRule, up: &Upstream) -> Verdict {
    use Verdict::{Run, Skip, UpstreamFailed, Wait};
    let done = up.done();
    if up.total == 0 {
        return Run;
    }
    match rule {
        TriggerRule::Always => Run,
        TriggerRule::AllDone => {
            if done {
                Run
            } else {
                Wait
            }
        }
        // A failure outranks a skip, so a skip alone decides nothing before all have ended: the verdict must not depend
        // on the order in which the news came.
        TriggerRule::AllSuccess => match (up.any_failed(), done, up.skipped > 0) {
            (true, _, _) => UpstreamFailed,
            (_, true, true) => Skip,
            (_, true, false) => Run,
            _ => Wait,
        },
        TriggerRule::AllFailed => match (up.succeeded + up.skipped > 0, done) {
            (true, _) => Skip,
            (_, true) => Run,
            _ => Wait,
        },
        TriggerRule::AllSkipped => match (up.succeeded > 0 || up.any_failed(), done) {
            (true, _) => Skip,
            (_, true) => Run,
            _ => Wait,
        },
        TriggerRule::OneSuccess => match (up.succeeded > 0, done, up.any_failed()) {
            (true, _, _) => Run,
            (_, true, true) => UpstreamFailed,
            (_, true, false) => Skip,
            _ => Wait,
        },
        TriggerRule::OneFailed => match (up.any_failed(), done) {
            (true, _) => Run,
            (_, true) => Skip,
            _ => Wait,
        },
        TriggerRule::OneDone => match (up.succeeded > 0 || up.failed > 0, done) {
            (true, _) => Run,
            (_, true) => Skip,
            _ => Wait,
        },
        TriggerRule::NoneFailed => match (up.any_failed(), done) {
            (true, _) => UpstreamFailed,
            (_, true) => Run,
            _ => Wait,
        },
        TriggerRule::NoneSkipped => match (up.skipped > 0, done) {
            (true, _) => Skip,
            (_, true) => Run,
            _ => Wait,
        },
        TriggerRule::NoneFailedMinOneSuccess => match (up.any_failed(), done, up.succeeded > 0) {
            (true, _, _) => UpstreamFailed,
            (_, true, true) => Run,
            (_, true, false) => Skip,
            _ => Wait,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every rule against ends of two tasks before it: s succeeded, f failed, u upstream-failed, k skipped, . not ended.
    #[test]
    fn the_table_of_rules() {
        use TriggerRule as R;
        use Verdict::{Run, Skip, UpstreamFailed as Up, Wait};
        let ends = ["..", "s.", "f.", "k.", "ss", "sf", "sk", "ff", "fk", "kk", "su", "uu"];
        #[rustfmt::skip]
        let table = [
            (R::AllSuccess,              [Wait, Wait, Up,   Wait, Run,  Up,   Skip, Up,   Up,   Skip, Up,   Up]),
            (R::AllFailed,               [Wait, Skip, Wait, Skip, Skip, Skip, Skip, Run,  Skip, Skip, Skip, Run]),
            (R::AllDone,                 [Wait, Wait, Wait, Wait, Run,  Run,  Run,  Run,  Run,  Run,  Run,  Run]),
            (R::AllSkipped,              [Wait, Skip, Skip, Wait, Skip, Skip, Skip, Skip, Skip, Run,  Skip, Skip]),
            (R::OneSuccess,              [Wait, Run,  Wait, Wait, Run,  Run,  Run,  Up,   Up,   Skip, Run,  Up]),
            (R::OneFailed,               [Wait, Wait, Run,  Wait, Skip, Run,  Skip, Run,  Run,  Skip, Run,  Run]),
            (R::OneDone,                 [Wait, Run,  Run,  Wait, Run,  Run,  Run,  Run,  Run,  Skip, Run,  Skip]),
            (R::NoneFailed,              [Wait, Wait, Up,   Wait, Run,  Up,   Run,  Up,   Up,   Run,  Up,   Up]),
            (R::NoneSkipped,             [Wait, Wait, Wait, Skip, Run,  Run,  Skip, Run,  Skip, Skip, Run,  Run]),
            (R::NoneFailedMinOneSuccess, [Wait, Wait, Up,   Wait, Run,  Up,   Run,  Up,   Up,   Skip, Up,   Up]),
            (R::Always,                  [Run; 12]),
        ];
        for (rule, expected) in table {
            for (end, want) in ends.iter().zip(expected) {
                let mut up = Upstream {
                    total: 2,
                    ..Upstream::default()
                };
                for c in end.chars() {
                    match c {
                        's' => up.count(State::Succeeded),
                        'f' => up.count(State::TimedOut),
                        'u' => up.count(State::UpstreamFailed),
                        'k' => up.count(State::Skipped),
                        _ => {}
                    }
                }
                assert_eq!(verdict(rule, &up), want, "{rule:?} after {end}");
            }
            assert_eq!(verdict(rule, &Upstream::default()), Run, "{rule:?} without tasks before it");
        }
    }
}
