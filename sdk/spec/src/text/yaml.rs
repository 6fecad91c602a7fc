//! YAML 1.2 (and so JSON) into a tree. Bounded in depth, size, and what aliases may add.

use super::node::{Entry, Kind, Node, Resolved, Scalar, Style};
use super::source::Source;
use crate::report::{Report, code};
use crate::{Place, limits};
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The one document of a text; None where it cannot be read, with a report of why.
pub(crate) fn read(source: &Source<'_>, report: &mut Report) -> Option<Node> {
    // The parser asserts its own invariants; a text that breaks one is refused like any other.
    let outcome = catch_unwind(AssertUnwindSafe(|| Builder::new(source).run()));
    let (root, mistakes) = match outcome {
        Ok(built) => built,
        Err(_) => (
            None,
            vec![Mistake::new(
                Place { line: 1, column: 1 },
                code::SYNTAX,
                "the text cannot be read as YAML",
            )],
        ),
    };
    let failed = root.is_none() || mistakes.iter().any(|m| m.fatal);
    for mistake in mistakes {
        report.error_maybe(mistake.place, mistake.code, mistake.message, mistake.help);
    }
    root.filter(|_| !failed)
}

struct Mistake {
    place: Place,
    code: &'static str,
    message: String,
    help: Option<String>,
    fatal: bool,
}

impl Mistake {
    fn new(place: Place, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            place,
            code,
            message: message.into(),
            help: None,
            fatal: true,
        }
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn not_fatal(mut self) -> Self {
        self.fatal = false;
        self
    }
}

struct Builder<'s, 't> {
    source: &'s Source<'t>,
    /// Lists and maps that are open.
    open: Vec<Open>,
    root: Option<Node>,
    anchors: BTreeMap<usize, Node>,
    nodes: usize,
    alias_nodes: usize,
    alias_bytes: usize,
    mistakes: Vec<Mistake>,
}

struct Open {
    place: Place,
    anchor: usize,
    kind: OpenKind,
}

enum OpenKind {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        lines: HashMap<String, u32>,
        key: Option<(String, Place, bool)>,
    },
}

impl<'s, 't> Builder<'s, 't> {
    fn new(source: &'s Source<'t>) -> Self {
        Self {
            source,
            open: Vec::new(),
            root: None,
            anchors: BTreeMap::new(),
            nodes: 0,
            alias_nodes: 0,
            alias_bytes: 0,
            mistakes: Vec::new(),
        }
    }

    fn run(mut self) -> (Option<Node>, Vec<Mistake>) {
        let mut parser = Parser::new_from_str(self.source.text);
        while let Some(next) = parser.next_event() {
            let outcome = match next {
                Ok((event, span)) => self.event(event, span.start),
                Err(error) => Err(syntax(*error.marker(), error.info())),
            };
            if let Err(mistake) = outcome {
                self.mistakes.push(mistake);
                return (None, self.mistakes);
            }
        }
        if self.root.is_none() && self.mistakes.is_empty() {
            let empty = Mistake::new(Place { line: 1, column: 1 }, code::SYNTAX, "the text is empty");
            self.mistakes.push(empty.help("a workflow begins with `apiVersion: eyot.dev/v1`"));
        }
        (self.root, self.mistakes)
    }

    fn event(&mut self, event: Event<'_>, start: Marker) -> Result<(), Mistake> {
        let place = place_of(start);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(Mistake::new(place, code::SYNTAX, "the text holds more than one document").help("one text is one workflow"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(id) => {
                let node = self
                    .anchors
                    .get(&id)
                    .ok_or_else(|| Mistake::new(place, code::SYNTAX, "this alias stands within its own anchor"))?;
                let (extent, depth) = (node.extent(), self.open.len() + depth(node));
                // Before it is copied.
                self.repeat(extent, place)?;
                if depth > limits::MAX_NESTING {
                    return Err(too_deep(place));
                }
                match self.anchors.get(&id).cloned() {
                    Some(node) => self.add(node, 0),
                    None => Ok(()),
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(&text, style, tag.as_deref(), start, place)?;
                self.add(node, anchor)
            }
            Event::SequenceStart(anchor, tag) => self.begin(place, anchor, tag.as_deref(), OpenKind::List(Vec::new())),
            Event::MappingStart(anchor, tag) => {
                let kind = OpenKind::Map {
                    entries: Vec::new(),
                    lines: HashMap::new(),
                    key: None,
                };
                self.begin(place, anchor, tag.as_deref(), kind)
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(place),
        }
    }

    /// Counts what an anchor or alias repeats.
    fn repeat(&mut self, (nodes, bytes): (usize, usize), place: Place) -> Result<(), Mistake> {
        self.alias_nodes += nodes;
        self.alias_bytes += bytes;
        let message = if self.alias_nodes > limits::MAX_ALIAS_NODES {
            format!("anchors and aliases repeat more than {} values", limits::MAX_ALIAS_NODES)
        } else if self.alias_bytes > limits::MAX_ALIAS_BYTES {
            format!("anchors and aliases repeat more than {} bytes of text", limits::MAX_ALIAS_BYTES)
        } else {
            return Ok(());
        };
        Err(Mistake::new(place, code::TOO_LARGE, message))
    }

    fn begin(&mut self, place: Place, anchor: usize, tag: Option<&Tag>, kind: OpenKind) -> Result<(), Mistake> {
        if let Some(tag) = tag.filter(|t| !t.is_yaml_core_schema()) {
            return Err(unknown_tag(place, tag));
        }
        if self.open.len() >= limits::MAX_NESTING {
            return Err(too_deep(place));
        }
        // A list or map where a key should be.
        if let Some(Open {
            kind: OpenKind::Map { key: None, .. },
            ..
        }) = self.open.last()
        {
            return Err(
                Mistake::new(place, code::SYNTAX, "the key of a map must be a word, not a list or map")
                    .help("a value that begins with `{` or `[` is put in quotes to be a string"),
            );
        }
        self.open.push(Open { place, anchor, kind });
        Ok(())
    }

    fn end(&mut self, place: Place) -> Result<(), Mistake> {
        let Some(open) = self.open.pop() else {
            return Err(Mistake::new(place, code::SYNTAX, "the text cannot be read as YAML"));
        };
        let kind = match open.kind {
            OpenKind::List(items) => Kind::List(items),
            OpenKind::Map { entries, .. } => Kind::Map(entries),
        };
        self.add(Node { place: open.place, kind }, open.anchor)
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, start: Marker, place: Place) -> Result<Node, Mistake> {
        let style = match style {
            ScalarStyle::Plain => Style::Plain,
            ScalarStyle::SingleQuoted => Style::Single,
            ScalarStyle::DoubleQuoted => Style::Double,
            ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
        };
        let resolved = match tag {
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Resolved::Text,
            Some(tag) => return Err(unknown_tag(place, tag)),
            None if style == Style::Plain => resolve(text).map_err(|message| Mistake::new(place, code::INVALID_VALUE, message))?,
            None => Resolved::Text,
        };
        Ok(Node {
            place,
            kind: Kind::Scalar(Scalar {
                text: text.to_owned(),
                style,
                resolved,
                start: self.source.offset(start.line(), start.col()),
            }),
        })
    }

    /// Puts a finished node where it belongs.
    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Mistake> {
        self.nodes += 1;
        if self.nodes > limits::MAX_NODES {
            let message = format!("the text holds more than {} values", limits::MAX_NODES);
            return Err(Mistake::new(node.place, code::TOO_LARGE, message));
        }
        if anchor > 0 {
            // Kept twice, so it counts like an alias.
            self.repeat(node.extent(), node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| &mut open.kind) {
            None => self.root = Some(node),
            Some(OpenKind::List(items)) => items.push(node),
            Some(OpenKind::Map { entries, lines, key }) => match key.take() {
                None => {
                    let Kind::Scalar(scalar) = node.kind else {
                        return Err(Mistake::new(
                            node.place,
                            code::SYNTAX,
                            "the key of a map must be a word, not a list or map",
                        ));
                    };
                    let first = lines.get(&scalar.text).copied();
                    if let Some(line) = first {
                        let twice = Mistake::new(node.place, code::DUPLICATE_KEY, format!("`{}` is given twice", scalar.text));
                        if self.mistakes.len() < limits::MAX_DIAGNOSTICS {
                            self.mistakes
                                .push(twice.help(format!("the first one is in line {line}; keep one of them")).not_fatal());
                        }
                    } else {
                        lines.insert(scalar.text.clone(), node.place.line);
                    }
                    *key = Some((scalar.text, node.place, first.is_some()));
                }
                Some((_, _, true)) => {}
                Some((name, place, false)) => entries.push(Entry {
                    key: name,
                    place,
                    value: node,
                }),
            },
        }
        Ok(())
    }
}

fn place_of(marker: Marker) -> Place {
    Place {
        line: u32::try_from(marker.line().max(1)).unwrap_or(u32::MAX),
        column: u32::try_from(marker.col() + 1).unwrap_or(u32::MAX),
    }
}

fn depth(node: &Node) -> usize {
    match &node.kind {
        Kind::Scalar(_) => 0,
        Kind::List(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Kind::Map(entries) => 1 + entries.iter().map(|e| depth(&e.value)).max().unwrap_or(0),
    }
}

fn too_deep(place: Place) -> Mistake {
    Mistake::new(place, code::TOO_LARGE, format!("nested deeper than {} levels", limits::MAX_NESTING))
}

fn unknown_tag(place: Place, tag: &Tag) -> Mistake {
    Mistake::new(place, code::SYNTAX, format!("tags such as `{tag}` are not read")).help("leave the tag out")
}

fn syntax(marker: Marker, info: &str) -> Mistake {
    let mistake = Mistake::new(place_of(marker), code::SYNTAX, info.to_owned());
    if info.contains("tab") {
        return mistake.help("YAML is indented with spaces");
    }
    if info.contains("mapping values are not allowed") {
        return mistake.help("check the indentation, and put a value that contains `: ` in quotes");
    }
    if info.contains("start any token") {
        return mistake.help("put a value that begins with this character in quotes");
    }
    mistake
}

/// YAML 1.2's core schema: `yes`, `on` and `012` are not what YAML 1.1 made of them.
fn resolve(text: &str) -> Result<Resolved, String> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Resolved::Null),
        "true" | "True" | "TRUE" => return Ok(Resolved::Bool(true)),
        "false" | "False" | "FALSE" => return Ok(Resolved::Bool(false)),
        _ => {}
    }
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF" | ".nan" | ".NaN" | ".NAN") {
        return Err(format!("`{text}` is not a number that can be used here"));
    }
    let too_large = || format!("`{text}` does not fit a 64-bit integer");
    for (prefix, radix) in [("0x", 16), ("0o", 8)] {
        if let Some(digits) = text.strip_prefix(prefix)
            && !digits.is_empty()
            && digits.chars().all(|c| c.is_digit(radix))
        {
            return i64::from_str_radix(digits, radix).map(Resolved::Int).map_err(|_| too_large());
        }
    }
    if unsigned.starts_with(|c: char| c.is_ascii_digit()) && unsigned.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().map(Resolved::Int).map_err(|_| too_large());
    }
    if is_float(unsigned) {
        return match text.parse::<f64>() {
            Ok(f) if f.is_finite() => Ok(Resolved::Float(f)),
            _ => Err(format!("`{text}` is not a finite number")),
        };
    }
    Ok(Resolved::Text)
}

/// `( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`
fn is_float(text: &str) -> bool {
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((m, e)) => (m, Some(e.strip_prefix(['-', '+']).unwrap_or(e))),
        None => (text, None),
    };
    if exponent.is_some_and(|e| e.is_empty() || !digits(e)) {
        return false;
    }
    match mantissa.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part) && !(whole.is_empty() && part.is_empty()),
        None => !mantissa.is_empty() && digits(mantissa),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_scalars_mean_what_yaml_1_2_says() {
        for (text, expected) in [
            ("", Resolved::Null),
            ("~", Resolved::Null),
            ("yes", Resolved::Text),
            ("on", Resolved::Text),
            ("No", Resolved::Text),
            ("True", Resolved::Bool(true)),
            ("012", Resolved::Int(12)),
            ("0o14", Resolved::Int(12)),
            ("0x1f", Resolved::Int(31)),
            ("-7", Resolved::Int(-7)),
            ("1_000", Resolved::Text),
            ("1.5", Resolved::Float(1.5)),
            (".5", Resolved::Float(0.5)),
            ("1e3", Resolved::Float(1000.0)),
            ("1.", Resolved::Float(1.0)),
            (".", Resolved::Text),
            ("1e", Resolved::Text),
            ("12:30", Resolved::Text),
            ("256Mi", Resolved::Text),
            ("1.2.3", Resolved::Text),
            ("--1", Resolved::Text),
        ] {
            assert_eq!(resolve(text), Ok(expected), "{text}");
        }
        assert!(resolve(".nan").is_err());
        assert!(resolve("99999999999999999999").is_err());
    }
}
