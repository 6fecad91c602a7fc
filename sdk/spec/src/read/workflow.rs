//! The whole document.

use super::Reader;
use super::fields::{DOCUMENT, METADATA, SPEC};
use crate::draft::{Pattern, TaskDraft, WorkflowDraft};
use crate::report::{Report, code};
use crate::text::{Entry, Kind, Node, Source};
use crate::{Place, limits};
use eyot_model::{OnDisconnect, OnFailure, Retention};
use std::collections::{BTreeMap, HashMap};

const MAX_PARALLEL: u32 = 100_000;

/// The draft of a document; None where there is no `spec` to go on with.
pub(crate) fn workflow<'t>(source: &Source<'_>, root: &'t Node, report: &mut Report) -> Option<WorkflowDraft<'t>> {
    let mut reader = Reader {
        source,
        report,
        programs: HashMap::new(),
    };
    reader.document(root)
}

impl Reader<'_, '_> {
    fn document<'t>(&mut self, root: &'t Node) -> Option<WorkflowDraft<'t>> {
        let fields = self.fields(root, &DOCUMENT, root.place)?;
        self.constant(fields.get("apiVersion"), "eyot.dev/v1");
        self.constant(fields.get("kind"), "Workflow");
        let (name, namespace, version) = self.metadata(fields.entry("metadata"));
        let spec = fields.entry("spec")?;
        let fields = self.fields(&spec.value, &SPEC, spec.place)?;
        let inputs = fields.get("inputs").map(|n| self.inputs(n)).unwrap_or_default();
        let tasks = fields.entry("tasks").map(|e| self.tasks(&e.value, e.place)).unwrap_or_default();
        let outputs = fields.get("outputs").map(|n| self.outputs(n)).unwrap_or_default();
        let (on_disconnect, reassign_place) = match fields.entry("onDisconnect") {
            Some(entry) => self.on_disconnect(entry),
            None => (OnDisconnect::default(), None),
        };
        Some(WorkflowDraft {
            namespace,
            name,
            version,
            inputs,
            tasks,
            outputs,
            on_disconnect,
            reassign_place,
            on_failure: fields.get("onFailure").map(|n| self.on_failure(n)).unwrap_or_default(),
            max_parallel: fields.get("maxParallel").and_then(|n| self.count(n, MAX_PARALLEL)),
            deadline: fields.get("deadline").and_then(|n| self.positive_duration(n)),
            retention: fields.entry("retention").map_or_else(Retention::default, |e| self.retention(e)),
            triggers: fields.get("triggers").map(|n| self.triggers(n)).unwrap_or_default(),
        })
    }

    fn constant(&mut self, node: Option<&Node>, expected: &str) {
        let Some(node) = node else { return };
        if node.text().is_none_or(|s| s.text != expected) {
            self.expected(node, &format!("`{expected}`"), None);
        }
    }

    /// Name, namespace, version.
    fn metadata(&mut self, entry: Option<&Entry>) -> (String, String, String) {
        let mut names = (String::new(), "default".to_owned(), "1".to_owned());
        let Some(fields) = entry.and_then(|e| self.fields(&e.value, &METADATA, e.place)) else {
            return names;
        };
        if let Some(node) = fields.get("name")
            && let Some(text) = self.text(node, "a name")
        {
            self.dashed_name(text, node.place, "a workflow");
            text.clone_into(&mut names.0);
        }
        if let Some(node) = fields.get("namespace")
            && let Some(text) = self.text(node, "a name")
        {
            self.dashed_name(text, node.place, "a namespace");
            text.clone_into(&mut names.1);
        }
        if let Some(node) = fields.get("version")
            && let Some(text) = self.text(node, "a version such as `1.4`")
        {
            let ok = !text.is_empty()
                && text.len() <= limits::MAX_NAME
                && text
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'+'));
            if !ok {
                let message = format!("{} is no version", node.describe());
                let help = "a version has letters, digits, `.`, `-`, `_` and `+` only, and at most 63 characters";
                self.report.error_with(node.place, code::INVALID_VALUE, message, help);
            }
            text.clone_into(&mut names.2);
        }
        names
    }

    fn tasks<'t>(&mut self, node: &'t Node, place: Place) -> Vec<TaskDraft<'t>> {
        let entries = match &node.kind {
            Kind::Map(entries) => &entries[..],
            Kind::List(_) => {
                let help = "each task has its name before it: `resize: {uses: eyot/image@1}`".to_owned();
                self.expected(node, "a map of tasks", Some(help));
                return Vec::new();
            }
            Kind::Scalar(_) if node.is_null() => &[],
            Kind::Scalar(_) => {
                self.expected(node, "a map of tasks", None);
                return Vec::new();
            }
        };
        if entries.is_empty() {
            self.report.error(place, code::MISSING_FIELD, "a workflow needs at least one task");
        }
        if entries.len() > limits::MAX_TASKS {
            let message = format!("{} tasks, at most {} make a workflow", entries.len(), limits::MAX_TASKS);
            self.report
                .error_with(place, code::TOO_LARGE, message, "a `forEach` runs one task over many items");
            return Vec::new();
        }
        entries.iter().map(|e| self.task(e)).collect()
    }

    fn outputs<'t>(&mut self, node: &'t Node) -> BTreeMap<String, Pattern<'t>> {
        let entries = match &node.kind {
            Kind::Map(entries) => &entries[..],
            Kind::Scalar(_) if node.is_null() => &[],
            Kind::Scalar(_) | Kind::List(_) => {
                let help = "such as `report: ${{ tasks.report.outputs.text }}`".to_owned();
                self.expected(node, "a map of outputs", Some(help));
                &[]
            }
        };
        let mut outputs = BTreeMap::new();
        for entry in entries {
            self.field_name(&entry.key, entry.place, "an output");
            if let Some(pattern) = self.pattern(&entry.value) {
                outputs.insert(entry.key.clone(), pattern);
            }
        }
        outputs
    }

    fn on_failure(&mut self, node: &Node) -> OnFailure {
        const WORDS: [&str; 3] = ["terminate", "finish", "ignore"];
        if node.text().is_some_and(|s| s.text == "rollback") {
            let message = "`onFailure: rollback` is not supported yet";
            let help = "`terminate`, `finish` and `ignore` are";
            self.report.error_with(node.place, code::NOT_SUPPORTED_YET, message, help);
            return OnFailure::default();
        }
        let values = [OnFailure::Terminate, OnFailure::Finish, OnFailure::Ignore];
        self.choice(node, &WORDS, &values).unwrap_or_default()
    }
}
