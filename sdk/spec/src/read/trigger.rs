//! What starts runs by itself.

use super::Reader;
use super::fields::{EVENT, FILE, SCHEDULE, TRIGGER};
use crate::draft::{Expression, Placed, TriggerDraft};
use crate::file_pattern::{FilePattern, FilePatternError};
use crate::limits;
use crate::report::code;
use crate::schedule::{Schedule, ScheduleError, like_zone};
use crate::text::{Entry, Kind, Node};
use eyot_model::{Millis, TriggerSource};
use std::collections::{BTreeMap, BTreeSet};

/// How far back a missed instant is made up for where the text does not say.
const CATCH_UP: Millis = Millis(3_600_000);
const SETTLE: Millis = Millis(1_000);
/// Longest topic of MQTT, in bytes.
const TOPIC: usize = 65_535;

impl Reader<'_, '_> {
    pub(crate) fn triggers<'t>(&mut self, node: &'t Node) -> Vec<TriggerDraft<'t>> {
        let nodes = self.list(node, "a list of triggers");
        if nodes.len() > limits::MAX_TRIGGERS {
            let message = format!("{} triggers, at most {} make a workflow", nodes.len(), limits::MAX_TRIGGERS);
            self.report.error(node.place, code::TOO_LARGE, message);
            return Vec::new();
        }
        let mut counts: BTreeMap<&'static str, u32> = BTreeMap::new();
        let mut names = BTreeSet::new();
        let mut triggers = Vec::new();
        for node in nodes {
            let Some(mut trigger) = self.trigger(node) else { continue };
            if trigger.name.is_empty() {
                let kind = trigger.source.kind();
                let count = counts.entry(kind).or_default();
                *count += 1;
                trigger.name = format!("{kind}-{count}");
            }
            if !names.insert(trigger.name.clone()) {
                let message = format!("two triggers are called `{}`", trigger.name);
                self.report
                    .error_with(node.place, code::DUPLICATE_KEY, message, "give each a `name` of its own");
            }
            triggers.push(trigger);
        }
        triggers
    }

    fn trigger<'t>(&mut self, node: &'t Node) -> Option<TriggerDraft<'t>> {
        let fields = self.fields(node, &TRIGGER, node.place)?;
        let mut name = String::new();
        if let Some(node) = fields.get("name")
            && let Some(text) = self.text(node, "a name")
        {
            self.dashed_name(text, node.place, "a trigger");
            text.clone_into(&mut name);
        }
        let sources: Vec<&Entry> = ["schedule", "event", "file"].iter().filter_map(|kind| fields.entry(kind)).collect();
        let [entry] = sources[..] else {
            let message = if sources.is_empty() {
                "a trigger needs one of `schedule`, `event` and `file`"
            } else {
                "a trigger has one of `schedule`, `event` and `file`"
            };
            let help = "such as `- schedule: {cron: \"0 2 * * *\", timeZone: Europe/Berlin}`";
            let place = sources.get(1).map_or(node.place, |second| second.place);
            self.report.error_with(place, code::INVALID_VALUE, message, help);
            return None;
        };
        let (source, filter) = match entry.key.as_str() {
            "schedule" => (self.schedule(entry)?, None),
            "event" => self.event(entry)?,
            _ => self.file(entry)?,
        };
        let mut inputs = BTreeMap::new();
        if let Some(node) = fields.get("inputs") {
            let entries = match &node.kind {
                Kind::Map(entries) => &entries[..],
                Kind::Scalar(_) if node.is_null() => &[],
                Kind::Scalar(_) | Kind::List(_) => {
                    self.expected(
                        node,
                        "a map of inputs",
                        Some("such as `batch: ${{ event.payload.batch }}`".to_owned()),
                    );
                    &[]
                }
            };
            for entry in entries {
                if let Some(value) = self.pattern(&entry.value) {
                    inputs.insert(entry.key.clone(), Placed { value, place: entry.place });
                }
            }
        }
        Some(TriggerDraft {
            name,
            place: node.place,
            source,
            filter,
            inputs,
        })
    }

    fn schedule(&mut self, entry: &Entry) -> Option<TriggerSource> {
        let fields = self.fields(&entry.value, &SCHEDULE, entry.place)?;
        let cron_node = fields.get("cron")?;
        let cron = self.text(cron_node, "a cron expression such as `0 2 * * *`")?;
        let (zone, zone_place) = match fields.get("timeZone") {
            Some(node) => (self.text(node, "a time zone such as `Europe/Berlin`")?, node.place),
            None => ("UTC", cron_node.place),
        };
        let catch_up = fields.get("catchUp").and_then(|n| self.duration(n)).unwrap_or(CATCH_UP);
        match Schedule::parse(cron, zone) {
            Ok(_) => {}
            Err(error @ ScheduleError::Cron { .. }) => {
                let help = "minute, hour, day of month, month, day of week: `30 2 * * MON-FRI`; seconds may come first";
                self.report
                    .error_with(cron_node.place, code::INVALID_VALUE, error.to_string(), help);
                return None;
            }
            Err(error @ ScheduleError::Zone(_)) => {
                let help = like_zone(zone).unwrap_or_else(|| "a name such as `Asia/Shanghai`, or `UTC`".to_owned());
                self.report.error_with(zone_place, code::INVALID_VALUE, error.to_string(), help);
                return None;
            }
        }
        Some(TriggerSource::Schedule {
            cron: cron.to_owned(),
            time_zone: zone.to_owned(),
            catch_up,
        })
    }

    fn event<'t>(&mut self, entry: &'t Entry) -> Option<(TriggerSource, Option<Expression<'t>>)> {
        let fields = self.fields(&entry.value, &EVENT, entry.place)?;
        let source = fields.get("source").and_then(|node| self.choice(node, &["mqtt"], &[()]));
        let topic_node = fields.get("topic")?;
        let topic = self.text(topic_node, "a topic such as `line/+/batch`")?;
        if let Some(why) = wrong_topic(topic) {
            let help = "`+` stands for one level and `#` for all that follow, each between slashes: `line/+/batch`, `line/#`";
            let message = format!("`{}` is no topic: {why}", topic.chars().take(80).collect::<String>());
            self.report.error_with(topic_node.place, code::INVALID_VALUE, message, help);
            return None;
        }
        let broker = match fields.get("broker") {
            Some(node) => {
                let name = self.text(node, "the name that the device gives to a broker")?;
                self.dashed_name(name, node.place, "a broker");
                name
            }
            None => "local",
        };
        let filter = fields.get("filter").and_then(|n| self.condition(n));
        source?;
        let source = TriggerSource::Mqtt {
            broker: broker.to_owned(),
            topic: topic.to_owned(),
        };
        Some((source, filter))
    }

    fn file<'t>(&mut self, entry: &'t Entry) -> Option<(TriggerSource, Option<Expression<'t>>)> {
        let fields = self.fields(&entry.value, &FILE, entry.place)?;
        let node = fields.get("path")?;
        let path = self.text(node, "a path such as `/data/in/*.jpg`")?;
        if let Err(error) = FilePattern::parse(path) {
            let help = match &error {
                FilePatternError::Relative(_) => "begin with `/`: an agent has no folder of the author's",
                FilePatternError::Wild(_) => "wildcards stand in the last part only: `/data/in/*.jpg`",
                FilePatternError::NoName(_) => "end with a name or a pattern: `/data/in/*`",
                FilePatternError::Parent(_) => "name the folder itself",
            };
            self.report.error_with(node.place, code::INVALID_VALUE, error.to_string(), help);
            return None;
        }
        let settle = fields.get("settle").and_then(|n| self.duration(n)).unwrap_or(SETTLE);
        let filter = fields.get("filter").and_then(|n| self.condition(n));
        let source = TriggerSource::File {
            pattern: path.to_owned(),
            settle,
        };
        Some((source, filter))
    }
}

/// What is wrong with a topic filter (MQTT 3.1.1, section 4.7).
fn wrong_topic(topic: &str) -> Option<&'static str> {
    if topic.is_empty() {
        return Some("it is empty");
    }
    if topic.len() > TOPIC || topic.contains('\0') {
        return Some("it is too long");
    }
    let levels: Vec<&str> = topic.split('/').collect();
    for (n, level) in levels.iter().enumerate() {
        if level.contains('#') && (*level != "#" || n + 1 != levels.len()) {
            return Some("`#` is the last level or none");
        }
        if level.contains('+') && *level != "+" {
            return Some("`+` is a whole level or none");
        }
    }
    None
}
