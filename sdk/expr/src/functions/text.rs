//! Functions that make and take text.

use super::{Result, int_of, list_of, take, text_of, wrong};
use crate::error::EvaluateErrorKind;
use crate::limits;
use crate::meter::Meter;
use crate::template::as_text;
use eyot_model::Value;
use std::borrow::Cow;

type Arguments<'a> = Vec<Cow<'a, Value>>;

/// As a hole in a text shows it; bytes must be UTF-8.
pub(super) fn string(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [value] = take(arguments)?;
    meter.charge_value(&value)?;
    match &*value {
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::String(text.to_owned())),
            Err(_) => Err(EvaluateErrorKind::Argument("these bytes are not UTF-8".to_owned())),
        },
        other => Ok(Value::String(as_text(other).into_owned())),
    }
}

pub(super) fn boolean(arguments: Arguments<'_>, _: &Meter) -> Result {
    let [value] = take(arguments)?;
    match &*value {
        Value::Bool(b) => Ok(Value::Bool(*b)),
        Value::String(text) => match text.as_str() {
            "true" | "True" | "TRUE" | "t" | "1" => Ok(Value::Bool(true)),
            "false" | "False" | "FALSE" | "f" | "0" => Ok(Value::Bool(false)),
            _ => Err(EvaluateErrorKind::Argument("this text is neither true nor false".to_owned())),
        },
        other => Err(wrong("bool", "a boolean or a string", other)),
    }
}

pub(super) fn bytes(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [value] = take(arguments)?;
    let text = text_of("bytes", &value)?;
    meter.charge_bytes(text.len())?;
    Ok(Value::Bytes(text.as_bytes().to_vec()))
}

/// A test of one text against another.
fn test(name: &str, arguments: Arguments<'_>, meter: &Meter, test: fn(&str, &str) -> bool) -> Result {
    let [text, part] = take(arguments)?;
    let (text, part) = (text_of(name, &text)?, text_of(name, &part)?);
    meter.charge_bytes(text.len() + part.len())?;
    Ok(Value::Bool(test(text, part)))
}

pub(super) fn contains(arguments: Arguments<'_>, meter: &Meter) -> Result {
    test("contains", arguments, meter, |text, part| text.contains(part))
}

pub(super) fn starts_with(arguments: Arguments<'_>, meter: &Meter) -> Result {
    test("startsWith", arguments, meter, |text, part| text.starts_with(part))
}

pub(super) fn ends_with(arguments: Arguments<'_>, meter: &Meter) -> Result {
    test("endsWith", arguments, meter, |text, part| text.ends_with(part))
}

/// Finds a match anywhere in the text, by RE2's syntax and linear time.
pub(super) fn matches(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [text, pattern] = take(arguments)?;
    let (text, pattern) = (text_of("matches", &text)?, text_of("matches", &pattern)?);
    // Compiling is the costly part; searching takes at most the product of both lengths.
    let size = pattern.len() as u64;
    meter.charge(2_000 + size.saturating_mul(64))?;
    meter.charge((text.len() as u64 / 8).saturating_mul(1 + size / 8))?;
    let regex = regex::RegexBuilder::new(pattern)
        .size_limit(limits::MAX_REGEX_BYTES)
        .dfa_size_limit(limits::MAX_REGEX_BYTES)
        .nest_limit(32)
        .build();
    match regex {
        Ok(regex) => Ok(Value::Bool(regex.is_match(text))),
        Err(regex::Error::CompiledTooBig(_)) => Err(EvaluateErrorKind::Argument("this regular expression is too large".to_owned())),
        Err(_) => Err(EvaluateErrorKind::Argument(format!(
            "`{}` is not a regular expression",
            pattern.chars().take(60).collect::<String>()
        ))),
    }
}

fn changed(name: &str, arguments: Arguments<'_>, meter: &Meter, change: fn(&str) -> String) -> Result {
    let [text] = take(arguments)?;
    let text = text_of(name, &text)?;
    meter.charge_bytes(text.len())?;
    Ok(Value::String(change(text)))
}

pub(super) fn lower_ascii(arguments: Arguments<'_>, meter: &Meter) -> Result {
    changed("lowerAscii", arguments, meter, str::to_ascii_lowercase)
}

pub(super) fn upper_ascii(arguments: Arguments<'_>, meter: &Meter) -> Result {
    changed("upperAscii", arguments, meter, str::to_ascii_uppercase)
}

pub(super) fn trim(arguments: Arguments<'_>, meter: &Meter) -> Result {
    changed("trim", arguments, meter, |text| text.trim().to_owned())
}

pub(super) fn replace(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [text, old, new] = take(arguments)?;
    let (text, old, new) = (text_of("replace", &text)?, text_of("replace", &old)?, text_of("replace", &new)?);
    // The result could be longer than both: count before it is made.
    meter.charge_bytes(text.len())?;
    let places = text.matches(old).count();
    meter.charge_len(places)?;
    meter.charge_bytes(places.saturating_mul(new.len()))?;
    Ok(Value::String(text.replace(old, new)))
}

pub(super) fn split(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [text, separator] = take(arguments)?;
    let (text, separator) = (text_of("split", &text)?, text_of("split", &separator)?);
    meter.charge_bytes(text.len())?;
    let mut parts = Vec::new();
    let mut push = |part: &str| {
        meter.charge(1)?;
        parts.push(Value::from(part));
        Ok::<_, EvaluateErrorKind>(())
    };
    if separator.is_empty() {
        // Characters, without the empty ends that Rust's split would give.
        text.chars().try_for_each(|c| push(c.encode_utf8(&mut [0; 4])))?;
    } else {
        text.split(separator).try_for_each(&mut push)?;
    }
    Ok(Value::List(parts))
}

pub(super) fn join(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let separator = match arguments.get(1) {
        Some(separator) => text_of("join", separator)?.to_owned(),
        None => String::new(),
    };
    let Some(list) = arguments.first() else {
        return Err(EvaluateErrorKind::Argument("`join` needs a list".to_owned()));
    };
    let mut out = String::new();
    for (n, item) in list_of("join", list)?.iter().enumerate() {
        if n > 0 {
            out.push_str(&separator);
        }
        let text = match item {
            Value::String(text) => text,
            other => return Err(wrong("join", "a list of strings", other)),
        };
        meter.charge(1)?;
        meter.charge_bytes(text.len() + separator.len())?;
        out.push_str(text);
    }
    Ok(Value::String(out))
}

/// By characters, from (included) to (excluded, or the end).
pub(super) fn substring(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let (Some(text), Some(from)) = (arguments.first(), arguments.get(1)) else {
        return Err(EvaluateErrorKind::Argument("`substring` needs a start".to_owned()));
    };
    let text = text_of("substring", text)?;
    meter.charge_bytes(text.len())?;
    let len = text.chars().count();
    let bound = |value: &Value| -> std::result::Result<usize, EvaluateErrorKind> {
        let n = int_of("substring", value)?;
        usize::try_from(n)
            .ok()
            .filter(|n| *n <= len)
            .ok_or_else(|| EvaluateErrorKind::Argument(format!("`substring`: {n} is outside a text of {len} characters")))
    };
    let from = bound(from)?;
    let to = arguments.get(2).map_or(Ok(len), |v| bound(v))?;
    if from > to {
        return Err(EvaluateErrorKind::Argument(format!("`substring`: {from} is after {to}")));
    }
    Ok(Value::String(text.chars().skip(from).take(to - from).collect()))
}

/// By characters; -1 where it is not found.
pub(super) fn index_of(arguments: Arguments<'_>, meter: &Meter) -> Result {
    let [text, part] = take(arguments)?;
    let (text, part) = (text_of("indexOf", &text)?, text_of("indexOf", &part)?);
    meter.charge_bytes(text.len() + part.len())?;
    let at = text.find(part).map(|byte| text[..byte].chars().count());
    Ok(Value::Int(at.map_or(-1, |n| i64::try_from(n).unwrap_or(i64::MAX))))
}
