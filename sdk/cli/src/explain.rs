//! A plan, laid out for people: who runs what, when, why there, and why not elsewhere.

use crate::human;
use crate::paint::{Paint, width};
use crate::table::{Align, Table, cell};
use eyot_model::api::PlanView;
use eyot_model::{AgentId, Choice, Fragment, Millis, Refusal, TaskIx};
use std::collections::BTreeSet;

/// Width of the bars that show when a task runs.
const BAR: usize = 24;
/// Width that reasons are wrapped at.
const WRAP: usize = 100;

/// The whole plan; `why` adds the reasons.
#[must_use]
pub(crate) fn render(view: &PlanView, why: bool, paint: Paint) -> String {
    let page = Page { view, paint };
    let mut out = page.head();
    for fragment in &view.plan.fragments {
        out.push('\n');
        out.push_str(&page.fragment(fragment, why));
    }
    if !view.plan.pruned.is_empty() {
        out.push_str(&format!("\n{}\n", paint.bold("Not run")));
        for pruned in &view.plan.pruned {
            out.push_str(&format!(
                "  {} {}  {}\n",
                paint.dim("–"),
                page.task(pruned.task),
                cell(&pruned.reason, 200)
            ));
        }
    }
    if !view.unplaceable.is_empty() {
        out.push_str(&format!("\n{}\n", paint.red("Cannot be placed")));
        for task in &view.unplaceable {
            out.push_str(&format!("  {} {}\n", paint.red("✗"), cell(&task.task, 80)));
            task.refusals.iter().for_each(|refusal| out.push_str(&page.refusal(refusal)));
        }
    }
    if !why && !view.plan.choices.is_empty() {
        out.push_str(&paint.dim("\n--explain says why\n"));
    }
    out
}

struct Page<'a> {
    view: &'a PlanView,
    paint: Paint,
}

impl Page<'_> {
    fn task(&self, task: TaskIx) -> String {
        match self.view.tasks.get(task.index()) {
            Some(name) => cell(name, 60),
            None => format!("task {}", task.0),
        }
    }

    fn agent(&self, agent: AgentId) -> String {
        match self.view.agents.get(&agent) {
            Some(name) => cell(name, 40),
            None => agent.to_string(),
        }
    }

    fn head(&self) -> String {
        let plan = &self.view.plan;
        let agents: BTreeSet<AgentId> = plan.fragments.iter().map(|f| f.agent).collect();
        let title = self
            .paint
            .bold(&format!("{} {}", cell(&self.view.workflow, 80), cell(&self.view.version, 40)));
        if plan.fragments.is_empty() {
            return format!("{title}: no plan\n");
        }
        format!(
            "{title}: {} in {} on {}, about {}\n",
            human::count(plan.choices.len(), "task", "tasks"),
            human::count(plan.fragments.len(), "fragment", "fragments"),
            human::count(agents.len(), "agent", "agents"),
            human::duration(plan.makespan),
        )
    }

    fn fragment(&self, fragment: &Fragment, why: bool) -> String {
        let paint = self.paint;
        let mut out = format!(
            "{} on {}  {}\n",
            paint.bold(&format!("Fragment {}", fragment.id.0)),
            paint.cyan(&self.agent(fragment.agent)),
            paint.dim(&format!(
                "{} to {}",
                human::duration(fragment.start),
                human::duration(fragment.finish)
            )),
        );
        if why {
            for task in &fragment.tasks {
                match self.choice(*task) {
                    Some(choice) => out.push_str(&self.explained(choice)),
                    None => out.push_str(&format!("  {}\n", self.task(*task))),
                }
            }
        } else {
            let mut table = Table::new(&[("", Align::Left), ("", Align::Left), ("", Align::Right), ("", Align::Right)]);
            for choice in fragment.tasks.iter().filter_map(|task| self.choice(*task)) {
                table.row(vec![
                    self.task(choice.task),
                    self.bar(choice),
                    format!("at {}", human::duration(choice.start)),
                    format!("for {}", human::duration(choice.duration)),
                ]);
            }
            out.push_str(&table.render(paint, "  "));
        }
        for transfer in &fragment.transfers {
            out.push_str(&paint.dim(&format!(
                "  receives {} of {} for {} in {}\n",
                human::bytes(transfer.bytes),
                self.task(transfer.from),
                self.task(transfer.to),
                human::duration(transfer.time)
            )));
        }
        out
    }

    fn choice(&self, task: TaskIx) -> Option<&Choice> {
        let choices = &self.view.plan.choices;
        choices
            .binary_search_by_key(&task, |c| c.task)
            .ok()
            .and_then(|at| choices.get(at))
            .or_else(|| choices.iter().find(|c| c.task == task))
    }

    /// The time of the run from left to right, the task's part of it filled.
    fn bar(&self, choice: &Choice) -> String {
        let all = self.view.plan.makespan.0.max(1);
        let at = |time: Millis| {
            usize::try_from(u128::from(time.0) * BAR as u128 / u128::from(all))
                .unwrap_or(BAR)
                .min(BAR)
        };
        let from = at(choice.start).min(BAR - 1);
        let to = at(choice.finish).max(from + 1);
        let bar = format!("{}{}{}", "·".repeat(from), "━".repeat(to - from), "·".repeat(BAR - to));
        self.paint.cyan(&bar)
    }

    fn explained(&self, choice: &Choice) -> String {
        let paint = self.paint;
        let mut out = format!(
            "  {}  {}  at {} for {}\n",
            paint.bold(&self.task(choice.task)),
            self.bar(choice),
            human::duration(choice.start),
            human::duration(choice.duration)
        );
        out.push_str(&self.field("why", &cell(&choice.reason, 1_000)));
        for other in &choice.alternatives {
            let later = other.finish.0.saturating_sub(choice.finish.0);
            let delta = if later > 0 {
                format!("{} later", human::duration(Millis(later)))
            } else {
                format!("ends at {}", human::duration(other.finish))
            };
            out.push_str(&self.field(
                "or",
                &format!("{} ({delta}): {}", self.agent(other.agent), cell(&other.reason, 600)),
            ));
        }
        choice.refusals.iter().for_each(|refusal| out.push_str(&self.refusal(refusal)));
        out
    }

    fn refusal(&self, refusal: &Refusal) -> String {
        let mut agents: Vec<String> = refusal.agents.iter().map(|agent| self.agent(*agent)).collect();
        let more = (refusal.count as usize).saturating_sub(agents.len());
        if more > 0 {
            agents.push(format!("{more} more"));
        }
        let who = if agents.is_empty() {
            "nobody".to_owned()
        } else {
            agents.join(", ")
        };
        self.field("not", &format!("{who}: {}", cell(&refusal.reason, 600)))
    }

    /// `    why   a text that goes on in its own column`
    fn field(&self, name: &str, text: &str) -> String {
        let lead = format!("    {}{}", self.paint.dim(name), " ".repeat(5 - name.len().min(4)));
        let indent = " ".repeat(width(&lead));
        let mut out = lead;
        let mut column = indent.len();
        for (at, word) in text.split_whitespace().enumerate() {
            let length = word.chars().count();
            if at > 0 && column + 1 + length > WRAP {
                out.push_str(&format!("\n{indent}{word}"));
                column = indent.len() + length;
            } else {
                if at > 0 {
                    out.push(' ');
                    column += 1;
                }
                out.push_str(word);
                column += length;
            }
        }
        out.push('\n');
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_model::{Alternative, FragmentId, Plan, Pruned, Transfer};

    fn view() -> PlanView {
        let (camera, compute) = (AgentId(1), AgentId(2));
        let choice = |task, agent, start, finish| Choice {
            task: TaskIx(task),
            agent,
            start: Millis(start),
            finish: Millis(finish),
            duration: Millis(finish - start),
            reason: "ends first here".into(),
            alternatives: vec![],
            refusals: vec![],
        };
        let mut read = choice(1, compute, 500, 2_000);
        read.alternatives.push(Alternative {
            agent: camera,
            finish: Millis(4_000),
            reason: "half as fast".into(),
        });
        read.refusals.push(Refusal {
            reason: "lacks the capability `inference`".into(),
            agents: vec![camera],
            count: 3,
        });
        PlanView {
            workflow: "read".into(),
            version: "1".into(),
            tasks: vec!["decode".into(), "read".into(), "alarm".into()],
            agents: [(camera, "camera".to_owned()), (compute, "compute".to_owned())].into(),
            plan: Plan {
                fragments: vec![
                    Fragment {
                        id: FragmentId(0),
                        agent: camera,
                        tasks: vec![TaskIx(0)],
                        start: Millis(0),
                        finish: Millis(400),
                        transfers: vec![],
                    },
                    Fragment {
                        id: FragmentId(1),
                        agent: compute,
                        tasks: vec![TaskIx(1)],
                        start: Millis(500),
                        finish: Millis(2_000),
                        transfers: vec![Transfer {
                            from: TaskIx(0),
                            to: TaskIx(1),
                            bytes: 1_258_291,
                            time: Millis(100),
                        }],
                    },
                ],
                pruned: vec![Pruned {
                    task: TaskIx(2),
                    reason: "`inputs.alarm` is false".into(),
                }],
                choices: vec![choice(0, camera, 0, 400), read],
                makespan: Millis(2_000),
            },
            unplaceable: vec![],
        }
    }

    #[test]
    fn a_plan_with_its_reasons() {
        let text = render(&view(), true, Paint::default());
        let want = "\
read 1: 2 tasks in 2 fragments on 2 agents, about 2.0 s

Fragment 0 on camera  0 ms to 400 ms
  decode  ━━━━····················  at 0 ms for 400 ms
    why  ends first here

Fragment 1 on compute  500 ms to 2.0 s
  read  ······━━━━━━━━━━━━━━━━━━  at 500 ms for 1.5 s
    why  ends first here
    or   camera (2.0 s later): half as fast
    not  camera, 2 more: lacks the capability `inference`
  receives 1.2 MiB of decode for read in 100 ms

Not run
  – alarm  `inputs.alarm` is false
";
        assert_eq!(text, want);
    }

    #[test]
    fn odd_plans_do_no_harm() {
        let mut view = view();
        view.plan.makespan = Millis(0);
        view.tasks.clear();
        view.agents.clear();
        assert!(render(&view, true, Paint::default()).contains("task 1"));
        view.plan = Plan::default();
        assert!(render(&view, false, Paint::default()).contains("no plan"));
    }

    #[test]
    fn long_reasons_wrap_in_their_column() {
        let view = view();
        let page = Page {
            view: &view,
            paint: Paint::default(),
        };
        let text = page.field("why", &"word ".repeat(60));
        assert!(text.lines().all(|l| l.len() <= WRAP && l.starts_with("    ")), "{text}");
        assert_eq!(text.lines().count(), 4);
    }
}
