//! `-i name=value`: text, numbers, files, and lists of them.

use crate::exit::{Exit, Fault, Outcome};
use crate::glob;
use eyot_model::{Inputs, Value, ValueType};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// One `-i`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) given: Given,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// JSON where it reads as JSON, else a string.
    Text(String),
    /// `@path`: a file or, with `*`, several.
    Files(String),
}

/// Reads `name=value`, `name=@file` or `name=@folder/*.png`. A value that begins with an at sign is written `@@…`.
///
/// # Errors
/// When there is no name.
pub(crate) fn parse(text: &str) -> Result<Assignment, String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| format!("`{text}` has no `=`; write NAME=VALUE or NAME=@FILE"))?;
    if name.is_empty() {
        return Err(format!("`{text}` has no name before the `=`"));
    }
    let given = match value.strip_prefix('@') {
        Some(rest) if rest.starts_with('@') => Given::Text(rest.to_owned()),
        Some("") => return Err(format!("`{text}` has no file after the `@`")),
        Some(path) => Given::Files(path.to_owned()),
        None => Given::Text(value.to_owned()),
    };
    Ok(Assignment {
        name: name.to_owned(),
        given,
    })
}

/// An input before its files are uploaded.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Pending {
    Value(Value),
    File(PathBuf),
    List(Vec<Pending>),
}

impl Pending {
    /// All files in it.
    pub(crate) fn files<'a>(&'a self, out: &mut Vec<&'a Path>) {
        match self {
            Self::Value(_) => {}
            Self::File(path) => out.push(path),
            Self::List(list) => list.iter().for_each(|item| item.files(out)),
        }
    }

    /// The value, once every file has one.
    ///
    /// # Errors
    /// When a file has none, which is our mistake.
    pub(crate) fn resolve(self, blobs: &BTreeMap<PathBuf, Value>) -> Outcome<Value> {
        Ok(match self {
            Self::Value(value) => value,
            Self::File(path) => blobs
                .get(&path)
                .cloned()
                .ok_or_else(|| Fault::local(format!("{} was not uploaded", path.display())))?,
            Self::List(list) => Value::List(list.into_iter().map(|item| item.resolve(blobs)).collect::<Outcome<_>>()?),
        })
    }
}

/// Puts the assignments together: a name that comes again, or a pattern, makes a list. `types` are the workflow's
/// declarations, where they are known: they decide whether `5` is a number or a string.
///
/// # Errors
/// When a pattern fits no file, a file is not there, or an input is not declared.
pub(crate) fn collect(
    assignments: &[Assignment],
    file: Option<&Path>,
    types: Option<&BTreeMap<String, ValueType>>,
) -> Outcome<BTreeMap<String, Pending>> {
    let mut inputs = match file {
        Some(path) => from_file(path)?,
        None => BTreeMap::new(),
    };
    let mut given: BTreeMap<&str, Vec<&Given>> = BTreeMap::new();
    for assignment in assignments {
        given.entry(&assignment.name).or_default().push(&assignment.given);
    }
    for (name, givens) in given {
        inputs.insert(name.to_owned(), one_input(name, &givens, types.and_then(|t| t.get(name)).copied())?);
    }
    if let Some(types) = types
        && let Some(name) = inputs.keys().find(|name| !types.contains_key(*name))
    {
        let known: Vec<&str> = types.keys().map(String::as_str).collect();
        let fault = Fault::new(
            Exit::Invalid,
            "input.unknown",
            anyhow::anyhow!("the workflow has no input `{name}`"),
        );
        return Err(fault.help(match known.as_slice() {
            [] => "it takes no inputs".to_owned(),
            known => format!("its inputs are {}", known.join(", ")),
        }));
    }
    Ok(inputs)
}

fn from_file(path: &Path) -> Outcome<BTreeMap<String, Pending>> {
    let text = crate::config::read_file(path)?;
    let inputs: Inputs = serde_json::from_str(&text).map_err(|error| {
        let error = anyhow::Error::new(error).context(format!("{} is not a JSON object of inputs", path.display()));
        Fault::new(Exit::Invalid, "input.file", error)
    })?;
    Ok(inputs.into_iter().map(|(name, value)| (name, Pending::Value(value))).collect())
}

fn one_input(name: &str, givens: &[&Given], declared: Option<ValueType>) -> Outcome<Pending> {
    // The type of an item of a list is not declared.
    let item_type = match declared {
        Some(ValueType::List) => None,
        other => other,
    };
    let mut many = givens.len() > 1;
    let mut items = Vec::new();
    for given in givens {
        match given {
            Given::Text(text) => items.push(Pending::Value(value_of(text, item_type))),
            Given::Files(pattern) => {
                many |= glob::is_pattern(pattern) && !Path::new(pattern).exists();
                items.extend(files(name, pattern)?.into_iter().map(Pending::File));
            }
        }
    }
    let is_list = |item: &Pending| matches!(item, Pending::Value(Value::List(_)));
    if !many && declared == Some(ValueType::List) && !items.first().is_some_and(is_list) {
        many = true;
    }
    match items.pop() {
        Some(only) if !many => Ok(only),
        last => {
            items.extend(last);
            Ok(Pending::List(items))
        }
    }
}

fn files(name: &str, pattern: &str) -> Outcome<Vec<PathBuf>> {
    let invalid = |message: String| Fault::new(Exit::Invalid, "input.file", anyhow::anyhow!("input `{name}`: {message}"));
    let path = Path::new(pattern);
    if path.is_file() {
        return Ok(vec![path.to_owned()]);
    }
    if path.is_dir() {
        return Err(invalid(format!("{pattern} is a folder"))
            .help(format!("for all files in it write {name}=@{}/*", pattern.trim_end_matches('/'))));
    }
    if !glob::is_pattern(pattern) {
        return Err(invalid(format!("there is no file {pattern}")));
    }
    let found = glob::expand(pattern).map_err(|error| invalid(format!("{pattern}: {error}")))?;
    if found.is_empty() {
        return Err(invalid(format!("no file fits {pattern}")));
    }
    Ok(found)
}

fn value_of(text: &str, declared: Option<ValueType>) -> Value {
    let string = || Value::String(text.to_owned());
    match declared {
        Some(ValueType::String) => string(),
        _ => serde_json::from_str(text)
            .ok()
            .and_then(|json| Value::from_json(json).ok())
            .unwrap_or_else(string),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(texts: &[&str], types: Option<&[(&str, ValueType)]>) -> Outcome<BTreeMap<String, Pending>> {
        let assignments: Vec<Assignment> = texts.iter().map(|t| parse(t).unwrap()).collect();
        let types = types.map(|types| types.iter().map(|(n, t)| ((*n).to_owned(), *t)).collect());
        collect(&assignments, None, types.as_ref())
    }

    fn value(texts: &[&str], declared: ValueType) -> Value {
        let mut inputs = all(texts, Some(&[("k", declared)])).unwrap();
        inputs.remove("k").unwrap().resolve(&BTreeMap::new()).unwrap()
    }

    #[test]
    fn the_declared_type_decides_what_a_text_is() {
        assert_eq!(value(&["k=5"], ValueType::Integer), Value::Int(5));
        assert_eq!(value(&["k=5"], ValueType::String), Value::from("5"));
        assert_eq!(value(&["k=a=b"], ValueType::String), Value::from("a=b"));
        assert_eq!(
            value(&["k=[1,2]"], ValueType::List),
            Value::List(vec![Value::Int(1), Value::Int(2)])
        );
        assert_eq!(value(&["k=1"], ValueType::List), Value::List(vec![Value::Int(1)]));
        assert_eq!(
            value(&["k=1", "k=x"], ValueType::Any),
            Value::List(vec![Value::Int(1), Value::from("x")])
        );
        assert_eq!(value(&["k=@@home"], ValueType::String), Value::from("@home"));
        assert_eq!(value(&["k="], ValueType::String), Value::from(""));
        assert_eq!(value(&["k=true"], ValueType::Boolean), Value::Bool(true));
    }

    #[test]
    fn files_and_patterns() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.png", "a.png", "[x].png"] {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        let at = dir.path().display();
        let file = |name: &str| Pending::File(dir.path().join(name));
        assert_eq!(all(&[&format!("k=@{at}/a.png")], None).unwrap()["k"], file("a.png"));
        assert_eq!(
            all(&[&format!("k=@{at}/[x].png")], None).unwrap()["k"],
            file("[x].png"),
            "a name that exists is no pattern"
        );
        assert_eq!(
            all(&[&format!("k=@{at}/b*")], None).unwrap()["k"],
            Pending::List(vec![file("b.png")])
        );
        let two = [format!("k=@{at}/b.png"), format!("k=@{at}/a*")];
        let two: Vec<&str> = two.iter().map(String::as_str).collect();
        assert_eq!(all(&two, None).unwrap()["k"], Pending::List(vec![file("b.png"), file("a.png")]));
        for wrong in [format!("k=@{at}/none"), format!("k=@{at}/none*"), format!("k=@{at}")] {
            assert_eq!(all(&[&wrong], None).unwrap_err().exit, Exit::Invalid, "{wrong}");
        }
    }

    #[test]
    fn what_is_not_declared_is_refused_with_what_is() {
        let fault = all(&["other=1"], Some(&[("k", ValueType::Any)])).unwrap_err();
        assert_eq!(fault.help.as_deref(), Some("its inputs are k"));
        for wrong in ["novalue", "=x", "k=@"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
