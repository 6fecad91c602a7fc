//! One task.

use super::Reader;
use super::fields::{FOR_EACH, PLACEMENT, RESOURCES, TASK};
use crate::Place;
use crate::draft::{ForEachDraft, Pattern, Placed, TaskDraft};
use crate::report::code;
use crate::suggest::did_you_mean;
use crate::text::{Entry, Kind, Node, Resolved};
use eyot_model::{Expr, Grant, ItemFailure, Resources, RetryPolicy, Template, TriggerRule, Want};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) static TRIGGER_RULES: [&str; 11] = [
    "all_success",
    "all_failed",
    "all_done",
    "all_skipped",
    "one_success",
    "one_failed",
    "one_done",
    "none_failed",
    "none_skipped",
    "none_failed_min_one_success",
    "always",
];

const RULES: [TriggerRule; 11] = [
    TriggerRule::AllSuccess,
    TriggerRule::AllFailed,
    TriggerRule::AllDone,
    TriggerRule::AllSkipped,
    TriggerRule::OneSuccess,
    TriggerRule::OneFailed,
    TriggerRule::OneDone,
    TriggerRule::NoneFailed,
    TriggerRule::NoneSkipped,
    TriggerRule::NoneFailedMinOneSuccess,
    TriggerRule::Always,
];

pub(crate) const GRANT_NAMES: [&str; 3] = ["inference", "scratch", "precise-clock"];

const GRANTS: [Grant; 3] = [Grant::Inference, Grant::Scratch, Grant::PreciseClock];

pub(crate) fn grant_named(name: &str) -> Option<Grant> {
    GRANT_NAMES.iter().position(|n| *n == name).and_then(|at| GRANTS.get(at).copied())
}

/// Capabilities that are planned.
const LATER_GRANTS: [&str; 8] = ["secrets", "http", "network", "gpu", "keyvalue", "config", "mqtt", "filesystem"];

const MAX_PARALLEL: u32 = 100_000;

impl Reader<'_, '_> {
    pub(crate) fn task<'t>(&mut self, entry: &'t Entry) -> TaskDraft<'t> {
        self.task_name(&entry.key, entry.place);
        let mut task = empty(&entry.key, entry.place);
        let Some(fields) = self.fields(&entry.value, &TASK, entry.place) else {
            return task;
        };
        task.uses = fields.get("uses").and_then(|n| {
            let value = self.text(n, "the name of a component such as `eyot/image@1`")?.to_owned();
            Some(Placed { value, place: n.place })
        });
        task.needs = fields.get("needs").map(|n| self.needs(n)).unwrap_or_default();
        task.when = fields.get("when").and_then(|n| self.condition(n));
        if let Some(with) = fields.entry("with") {
            task.with_place = with.place;
            task.with = self.with(&with.value);
        }
        task.for_each = fields.entry("forEach").and_then(|e| self.for_each(e));
        if let Some(entry) = fields.entry("retry") {
            (task.retry, task.retry_when) = self.retry(entry);
        }
        task.timeout = fields.get("timeout").and_then(|n| self.positive_duration(n));
        task.cpu_limit = fields.get("cpuLimit").and_then(|n| self.positive_duration(n));
        task.queue_timeout = fields.get("queueTimeout").and_then(|n| self.positive_duration(n));
        if let Some(rule) = fields.get("triggerRule").and_then(|n| self.choice(n, &TRIGGER_RULES, &RULES)) {
            task.trigger_rule = rule;
        }
        if let Some(entry) = fields.entry("resources") {
            task.resources = self.resources(entry);
        }
        if let Some(placement) = fields.entry("placement").and_then(|e| self.fields(&e.value, &PLACEMENT, e.place)) {
            task.require = placement.get("where").and_then(|n| self.condition(n));
            task.prefer = placement.get("prefer").and_then(|n| self.condition(n));
        }
        if let Some(node) = fields.get("grants") {
            task.grants = self.grants(node);
        }
        task.idempotent = fields.get("idempotent").and_then(|n| self.boolean(n));
        task
    }

    fn needs(&mut self, node: &Node) -> Vec<Placed<String>> {
        const WHAT: &str = "a list of task names";
        let mut needs: Vec<Placed<String>> = Vec::new();
        for item in self.list(node, WHAT) {
            let Some(name) = self.text(item, "the name of a task") else {
                continue;
            };
            needs.push(Placed {
                value: name.to_owned(),
                place: item.place,
            });
        }
        needs
    }

    fn with<'t>(&mut self, node: &'t Node) -> BTreeMap<String, Placed<Pattern<'t>>> {
        let entries = match &node.kind {
            Kind::Map(entries) => &entries[..],
            Kind::Scalar(_) if node.is_null() => &[],
            Kind::Scalar(_) | Kind::List(_) => {
                self.expected(node, "a map of the component's inputs", None);
                &[]
            }
        };
        let mut with = BTreeMap::new();
        for entry in entries {
            if let Some(value) = self.pattern(&entry.value) {
                with.insert(entry.key.clone(), Placed { value, place: entry.place });
            }
        }
        with
    }

    fn for_each<'t>(&mut self, entry: &'t Entry) -> Option<ForEachDraft<'t>> {
        let fields = self.fields(&entry.value, &FOR_EACH, entry.place)?;
        let mut name = "item".to_owned();
        if let Some(node) = fields.get("as")
            && let Some(text) = self.text(node, "a name for the item")
            && self.variable(text, node.place)
        {
            text.clone_into(&mut name);
        }
        let items = fields.get("items").and_then(|n| self.items(n));
        let max_parallel = fields.get("maxParallel").and_then(|n| self.count(n, MAX_PARALLEL));
        let item_failure = fields
            .get("itemFailure")
            .and_then(|n| self.choice(n, &["fail", "continue"], &[ItemFailure::Fail, ItemFailure::Continue]));
        Some(ForEachDraft {
            items,
            name,
            max_parallel,
            item_failure: item_failure.unwrap_or_default(),
        })
    }

    /// A list as it stands, or an expression.
    fn items<'t>(&mut self, node: &'t Node) -> Option<Pattern<'t>> {
        match &node.kind {
            Kind::List(_) => self.pattern(node),
            Kind::Scalar(scalar) if scalar.resolved == Resolved::Text => {
                let expression = self.condition(node)?;
                let source = expression.program.source().trim().to_owned();
                Some(Pattern {
                    template: Template::Expr(Expr { source }),
                    place: node.place,
                    expressions: vec![expression],
                })
            }
            Kind::Scalar(_) | Kind::Map(_) => {
                let help = "such as `tasks.detect.outputs.boxes`, `range(10)` or `[a, b]`".to_owned();
                self.expected(node, "a list, or an expression that gives one", Some(help));
                None
            }
        }
    }

    fn resources(&mut self, entry: &Entry) -> Resources {
        let mut resources = Resources::default();
        let Some(fields) = self.fields(&entry.value, &RESOURCES, entry.place) else {
            return resources;
        };
        if let Some(cpu) = fields.get("cpu").and_then(|n| self.cores(n)) {
            resources.cpu_millis = cpu;
        }
        if let Some(memory) = fields.get("memory").and_then(|n| self.size(n)) {
            resources.memory_bytes = memory;
        }
        let wants = [Want::None, Want::Preferred, Want::Required];
        if let Some(gpu) = fields
            .get("gpu")
            .and_then(|n| self.choice(n, &["none", "preferred", "required"], &wants))
        {
            resources.gpu = gpu;
        }
        resources
    }

    fn grants(&mut self, node: &Node) -> BTreeSet<Grant> {
        let mut grants = BTreeSet::new();
        for item in self.list(node, "a list of grants") {
            let Some(name) = self.text(item, "the name of a grant") else {
                continue;
            };
            if let Some(grant) = grant_named(name) {
                grants.insert(grant);
                continue;
            }
            if LATER_GRANTS.contains(&name) {
                let message = format!("the grant `{name}` is not supported yet");
                let help = "a workflow that asks for it is refused until it is built";
                self.report.error_with(item.place, code::NOT_SUPPORTED_YET, message, help);
                continue;
            }
            let message = format!("unknown grant `{}`", name.chars().take(80).collect::<String>());
            let help = did_you_mean(name, GRANT_NAMES).unwrap_or_else(|| format!("grants are {}", GRANT_NAMES.join(", ")));
            self.report.error_with(item.place, code::INVALID_VALUE, message, help);
        }
        grants
    }
}

fn empty(name: &str, place: Place) -> TaskDraft<'static> {
    TaskDraft {
        name: name.to_owned(),
        place,
        uses: None,
        needs: Vec::new(),
        when: None,
        with: BTreeMap::new(),
        with_place: place,
        for_each: None,
        retry: RetryPolicy::default(),
        retry_when: None,
        timeout: None,
        cpu_limit: None,
        queue_timeout: None,
        trigger_rule: TriggerRule::default(),
        resources: Resources::default(),
        require: None,
        prefer: None,
        grants: BTreeSet::new(),
        idempotent: None,
    }
}
