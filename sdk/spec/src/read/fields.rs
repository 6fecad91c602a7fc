//! The fields of the language: one table for each kind of map. The reader refuses what is not in them, and the JSON
//! Schema is made of them.

use super::Reader;
use crate::Place;
use crate::report::code;
use crate::suggest::did_you_mean;
use crate::text::{Entry, Kind, Node};

/// A kind of map.
#[derive(Debug)]
pub(crate) struct Table {
    /// For messages: "a task".
    pub(crate) what: &'static str,
    pub(crate) fields: &'static [Field],
}

#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
}

/// What a field holds, for editors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Text,
    /// Text of a fixed form: a regular expression.
    Like(&'static str),
    OneOf(&'static [&'static str]),
    Boolean,
    /// From 1.
    Count,
    Number,
    Duration,
    Size,
    /// A number of cores or thousandths: `2`, `500m`.
    Cores,
    /// A bare CEL expression.
    Condition,
    /// Any value, `${{ }}` in its strings.
    Any,
    /// A CEL expression that gives a list, or a list.
    Items,
    Words,
    Map(&'static Table),
    /// A word, or a map.
    WordOrMap(&'static [&'static str], &'static Table),
    /// A list of such maps.
    List(&'static Table),
    /// Names of the author's own, each with such a map.
    Named(&'static Table),
    /// Names of the author's own, each with any value.
    NamedAny,
    GrantList,
    /// Part of the language, refused until it is built.
    Later,
}

const fn field(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field {
        name,
        about,
        shape,
        required: false,
    }
}

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Field {
    Field {
        name,
        about,
        shape,
        required: true,
    }
}

const fn later(name: &'static str, about: &'static str) -> Field {
    field(name, Shape::Later, about)
}

pub(crate) static DOCUMENT: Table = Table {
    what: "a workflow",
    fields: &[
        required("apiVersion", Shape::OneOf(&["eyot.dev/v1"]), "Version of the language."),
        required("kind", Shape::OneOf(&["Workflow"]), "Always `Workflow`."),
        required("metadata", Shape::Map(&METADATA), "Names of the workflow."),
        required("spec", Shape::Map(&SPEC), "What it does."),
    ],
};

pub(crate) static METADATA: Table = Table {
    what: "`metadata`",
    fields: &[
        required("name", Shape::Like("^[a-z]([a-z0-9-]*[a-z0-9])?$"), "Name of the workflow."),
        field(
            "namespace",
            Shape::Like("^[a-z]([a-z0-9-]*[a-z0-9])?$"),
            "Namespace that it belongs to; `default` if left out.",
        ),
        field("version", Shape::Text, "Version, such as `1.4`; `1` if left out."),
    ],
};

pub(crate) static SPEC: Table = Table {
    what: "`spec`",
    fields: &[
        field("inputs", Shape::Named(&INPUT), "Values given to each run."),
        required("tasks", Shape::Named(&TASK), "The tasks, by name."),
        field("outputs", Shape::NamedAny, "What a run gives back, by name."),
        field("maxParallel", Shape::Count, "Most attempts of a run at the same time on one agent."),
        field("deadline", Shape::Duration, "Longest time from submission to the end of a run."),
        field(
            "onDisconnect",
            Shape::WordOrMap(&["continue"], &ON_DISCONNECT),
            "What happens to work on an agent that is out of contact.",
        ),
        field(
            "onFailure",
            Shape::OneOf(&["terminate", "finish", "ignore"]),
            "What a failed task means for the run; `finish` if left out.",
        ),
        field("retention", Shape::Map(&RETENTION), "How long ended runs are kept."),
        field(
            "triggers",
            Shape::List(&TRIGGER),
            "What starts runs on the agent that the workflow is deployed to.",
        ),
        later("priority", "Which runs go first."),
        later("fairness", "Sharing between runs."),
        later("concurrency", "Limits over several runs."),
        later("secrets", "Secrets that tasks may read."),
        later("checks", "Checks of the run's outputs."),
        later("matrix", "Runs over combinations of values."),
    ],
};

pub(crate) static INPUT: Table = Table {
    what: "an input",
    fields: &[
        required("type", Shape::OneOf(&super::inputs::TYPES), "Type of the value."),
        field(
            "default",
            Shape::Any,
            "Value where none is given; without it the input is required.",
        ),
        field("description", Shape::Text, "What it is for."),
    ],
};

pub(crate) static TASK: Table = Table {
    what: "a task",
    fields: &[
        required(
            "uses",
            Shape::Text,
            "The component: `name@version` of the registry, a file path, or `name@b3:…`.",
        ),
        field(
            "needs",
            Shape::Words,
            "Tasks that must end before; those named in expressions need not be listed.",
        ),
        field("when", Shape::Condition, "The task is skipped where this is false."),
        field("with", Shape::NamedAny, "Inputs of the component."),
        field("forEach", Shape::Map(&FOR_EACH), "Runs the task once for each item of a list."),
        field("retry", Shape::Map(&RETRY), "When and how often a failed attempt is tried again."),
        field("timeout", Shape::Duration, "Longest time of one attempt."),
        field("queueTimeout", Shape::Duration, "Longest wait for admission."),
        field("cpuLimit", Shape::Duration, "Most CPU time of one attempt."),
        field(
            "triggerRule",
            Shape::OneOf(&super::task::TRIGGER_RULES),
            "Which states of the tasks before let it run.",
        ),
        field("resources", Shape::Map(&RESOURCES), "What one attempt takes."),
        field(
            "placement",
            Shape::Map(&PLACEMENT),
            "Where it may run, and where it had better run.",
        ),
        field("grants", Shape::GrantList, "Capabilities beyond the default ones."),
        field("idempotent", Shape::Boolean, "Whether running it twice is harmless."),
        later("switch", "Ordered rules, the first match wins."),
        later("loop", "Repeats the task."),
        later("dynamic", "Inserts tasks that a component returns."),
        later("workflow", "Runs another workflow."),
        later("matrix", "Runs over combinations of values."),
        later("cache", "Reuses earlier outputs."),
        later("redundancy", "Runs replicas and votes."),
        later("checks", "Checks of the outputs."),
        later("priority", "Which tasks go first."),
        later("secrets", "Secrets that the task may read."),
        later("deadline", "Longest time from the start of the run."),
        later("heartbeatTimeout", "Longest silence of the task."),
    ],
};

pub(crate) static FOR_EACH: Table = Table {
    what: "`forEach`",
    fields: &[
        required("items", Shape::Items, "The list: a CEL expression, or a list with `${{ }}` in it."),
        field(
            "as",
            Shape::Like("^[a-z][A-Za-z0-9_]*$"),
            "Name of the item in expressions; `item` if left out.",
        ),
        field("maxParallel", Shape::Count, "Most items at the same time."),
        field(
            "itemFailure",
            Shape::OneOf(&["fail", "continue"]),
            "What a failed item means; `fail` if left out.",
        ),
    ],
};

pub(crate) static RETRY: Table = Table {
    what: "`retry`",
    fields: &[
        field(
            "maxAttempts",
            Shape::Count,
            "Attempts in all, the first one counted; 3 if left out.",
        ),
        field(
            "initialInterval",
            Shape::Duration,
            "Wait before the second attempt; `10s` if left out.",
        ),
        field(
            "factor",
            Shape::Number,
            "How much longer each wait is than the one before; 2 if left out.",
        ),
        field("maxInterval", Shape::Duration, "Longest wait; `5m` if left out."),
        field(
            "jitter",
            Shape::OneOf(&["none", "full"]),
            "Whether waits are drawn by chance; `full` if left out.",
        ),
        field("when", Shape::Condition, "Whether to try again, over `error` and `attempt`."),
    ],
};

pub(crate) static RESOURCES: Table = Table {
    what: "`resources`",
    fields: &[
        field("cpu", Shape::Cores, "Cores, such as `500m` or `2`."),
        field("memory", Shape::Size, "Memory of the component, such as `256Mi`."),
        field("gpu", Shape::OneOf(&["none", "preferred", "required"]), "Whether it wants a GPU."),
    ],
};

pub(crate) static PLACEMENT: Table = Table {
    what: "`placement`",
    fields: &[
        field("where", Shape::Condition, "Agents that may run it, over `agent` and `inputs`."),
        field(
            "prefer",
            Shape::Condition,
            "Agents that had better run it, over `agent` and `inputs`.",
        ),
    ],
};

pub(crate) static ON_DISCONNECT: Table = Table {
    what: "`onDisconnect`",
    fields: &[
        field("pauseAfter", Shape::Duration, "The agent pauses its work after this long."),
        field(
            "reassignAfter",
            Shape::Duration,
            "The work is given to another agent after this long.",
        ),
        field("acceptLate", Shape::Boolean, "A late agent may get its work back."),
    ],
};

pub(crate) static TRIGGER: Table = Table {
    what: "a trigger",
    fields: &[
        field(
            "name",
            Shape::Like("^[a-z]([a-z0-9-]*[a-z0-9])?$"),
            "Name of the trigger; its kind and number if left out.",
        ),
        field("schedule", Shape::Map(&SCHEDULE), "Starts runs at instants of wall time."),
        field("event", Shape::Map(&EVENT), "Starts runs for messages."),
        field("file", Shape::Map(&FILE), "Starts runs for files that appear."),
        field(
            "inputs",
            Shape::NamedAny,
            "Inputs of the run, `${{ event.… }}` in them for what happened.",
        ),
        later("webhook", "Starts runs for HTTP requests."),
    ],
};

pub(crate) static SCHEDULE: Table = Table {
    what: "`schedule`",
    fields: &[
        required(
            "cron",
            Shape::Text,
            "Minute, hour, day of month, month, day of week; seconds may come first.",
        ),
        field("timeZone", Shape::Text, "Such as `Asia/Shanghai`; `UTC` if left out."),
        field(
            "catchUp",
            Shape::Duration,
            "How far back the latest missed instant is made up for; `1h` if left out.",
        ),
    ],
};

pub(crate) static EVENT: Table = Table {
    what: "`event`",
    fields: &[
        required("source", Shape::OneOf(&["mqtt"]), "Where events come from."),
        required("topic", Shape::Text, "Topics of MQTT, with `+` and `#`."),
        field(
            "broker",
            Shape::Text,
            "The broker, by the name that the device gives to it; `local` if left out.",
        ),
        field("filter", Shape::Condition, "Over `event`; where it is false nothing starts."),
    ],
};

pub(crate) static FILE: Table = Table {
    what: "`file`",
    fields: &[
        required("path", Shape::Text, "An absolute path, with `*` and `?` in its last part."),
        field("settle", Shape::Duration, "How long a file has to be unchanged; `1s` if left out."),
        field("filter", Shape::Condition, "Over `event`; where it is false nothing starts."),
    ],
};

pub(crate) static RETENTION: Table = Table {
    what: "`retention`",
    fields: &[
        field("succeeded", Shape::Duration, "How long runs that succeeded are kept."),
        field("failed", Shape::Duration, "How long other ended runs are kept."),
    ],
};

/// Every table with its name in the JSON Schema.
pub(crate) static CATALOGUE: [(&str, &Table); 15] = [
    ("document", &DOCUMENT),
    ("metadata", &METADATA),
    ("spec", &SPEC),
    ("input", &INPUT),
    ("task", &TASK),
    ("forEach", &FOR_EACH),
    ("retry", &RETRY),
    ("resources", &RESOURCES),
    ("placement", &PLACEMENT),
    ("onDisconnect", &ON_DISCONNECT),
    ("retention", &RETENTION),
    ("trigger", &TRIGGER),
    ("schedule", &SCHEDULE),
    ("event", &EVENT),
    ("file", &FILE),
];

/// Words of other workflow languages, and ours.
const SYNONYMS: [(&str, &str); 14] = [
    ("if", "when"),
    ("depends", "needs"),
    ("dependsOn", "needs"),
    ("depends_on", "needs"),
    ("dependencies", "needs"),
    ("args", "with"),
    ("arguments", "with"),
    ("params", "with"),
    ("parameters", "with"),
    ("image", "uses"),
    ("component", "uses"),
    ("steps", "tasks"),
    ("jobs", "tasks"),
    ("withItems", "forEach"),
];

/// A map whose fields were checked.
pub(crate) struct Fields<'t> {
    entries: &'t [Entry],
}

impl<'t> Fields<'t> {
    /// A field that is given.
    pub(crate) fn entry(&self, name: &str) -> Option<&'t Entry> {
        self.entries.iter().find(|e| e.key == name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'t Node> {
        self.entry(name).map(|e| &e.value)
    }
}

impl Reader<'_, '_> {
    /// The fields of a map, unknown ones reported, and missing ones at `place`. None where it is no map.
    pub(crate) fn fields<'t>(&mut self, node: &'t Node, table: &'static Table, place: Place) -> Option<Fields<'t>> {
        let entries: &[Entry] = match &node.kind {
            Kind::Map(entries) => entries,
            Kind::Scalar(_) if node.is_null() => &[],
            Kind::Scalar(_) | Kind::List(_) => {
                let names: Vec<&str> = table
                    .fields
                    .iter()
                    .filter(|f| !matches!(f.shape, Shape::Later))
                    .map(|f| f.name)
                    .collect();
                let message = format!("expected a map for {}, found {}", table.what, node.describe());
                let help = format!("its fields are {}", names.join(", "));
                self.report.error_with(node.place, code::WRONG_TYPE, message, help);
                return None;
            }
        };
        for entry in entries {
            match table.fields.iter().find(|f| f.name == entry.key) {
                None => self.unknown_field(entry, table),
                Some(field) if matches!(field.shape, Shape::Later) => self.not_yet(entry),
                Some(_) => {}
            }
        }
        for field in table.fields.iter().filter(|f| f.required) {
            if !entries.iter().any(|e| e.key == field.name) {
                let message = format!("{} needs `{}`", table.what, field.name);
                self.report.error_with(
                    place,
                    code::MISSING_FIELD,
                    message,
                    format!("`{}`: {}", field.name, lower_first(field.about)),
                );
            }
        }
        Some(Fields { entries })
    }

    fn unknown_field(&mut self, entry: &Entry, table: &'static Table) {
        let known = |name: &str| table.fields.iter().any(|f| f.name == name);
        let synonym = SYNONYMS
            .iter()
            .find(|(word, ours)| *word == entry.key && known(ours))
            .map(|(_, ours)| *ours);
        let help = match synonym {
            Some(ours) => Some(format!("did you mean `{ours}`?")),
            None => did_you_mean(&entry.key, table.fields.iter().map(|f| f.name)).or_else(|| {
                let home = CATALOGUE.iter().find(|(_, t)| t.fields.iter().any(|f| f.name == entry.key));
                home.map(|(_, t)| format!("it is a field of {}", t.what))
            }),
        };
        let message = format!("unknown field `{}` of {}", entry.key, table.what);
        self.report.error_maybe(entry.place, code::UNKNOWN_FIELD, message, help);
    }

    fn not_yet(&mut self, entry: &Entry) {
        let message = format!("`{}` is not supported yet", entry.key);
        let help = if entry.key == "secrets" {
            "a workflow that asks for secrets is refused until they are kept safely"
        } else {
            "it is part of the language, and refused until it is built: leave it out"
        };
        self.report.error_with(entry.place, code::NOT_SUPPORTED_YET, message, help);
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_lowercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_described_once() {
        for (name, table) in CATALOGUE {
            for (n, field) in table.fields.iter().enumerate() {
                assert!(field.about.ends_with('.'), "{name}.{}", field.name);
                assert!(!table.fields[..n].iter().any(|f| f.name == field.name), "{name}.{}", field.name);
            }
        }
    }
}
