//! Functions and methods: CEL's own as far as they fit our types, and those of workflows.

mod lists;
mod numbers;
mod text;

use crate::ast::Macro;
use crate::error::EvaluateErrorKind;
use crate::meter::Meter;
use crate::program::article;
use eyot_model::Value;
use std::borrow::Cow;
use std::ops::RangeInclusive;

pub(crate) type Result = std::result::Result<Value, EvaluateErrorKind>;
type Run = fn(Vec<Cow<'_, Value>>, &Meter) -> Result;

/// A function of the language.
#[derive(Debug)]
pub struct Function {
    pub name: &'static str,
    /// How it is called, for help texts.
    pub usage: &'static str,
    /// How many arguments, the receiver of a method counted.
    pub(crate) arguments: RangeInclusive<usize>,
    form: Form,
    pub(crate) run: Run,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Function,
    Method,
    Either,
}

const fn function(name: &'static str, usage: &'static str, form: Form, arguments: RangeInclusive<usize>, run: Run) -> Function {
    Function {
        name,
        usage,
        arguments,
        form,
        run,
    }
}

/// Every function of the language. The macros `has`, `exists`, `all`, `exists_one`, `filter` and `map` come on top.
pub static FUNCTIONS: &[Function] = &[
    function(
        "size",
        "size(x): bytes of a blob, elements of a list or map, characters of a text",
        Form::Either,
        1..=1,
        size,
    ),
    function("default", "default(x, y): y where x is null", Form::Function, 2..=2, default),
    function("string", "string(x)", Form::Function, 1..=1, text::string),
    function("int", "int(x)", Form::Function, 1..=1, numbers::int),
    function("double", "double(x)", Form::Function, 1..=1, numbers::double),
    function("bool", "bool(x)", Form::Function, 1..=1, text::boolean),
    function("bytes", "bytes(text)", Form::Function, 1..=1, text::bytes),
    function("quantity", "quantity('256Mi')", Form::Function, 1..=1, numbers::quantity),
    function("duration_ms", "duration_ms('5m')", Form::Function, 1..=1, numbers::duration_ms),
    function("fixed", "fixed(number, digits)", Form::Function, 2..=2, numbers::fixed),
    function("abs", "abs(number)", Form::Function, 1..=1, numbers::abs),
    function("floor", "floor(number)", Form::Function, 1..=1, numbers::floor),
    function("ceil", "ceil(number)", Form::Function, 1..=1, numbers::ceil),
    function("round", "round(number)", Form::Function, 1..=1, numbers::round),
    function("min", "min(a, b) or min(list)", Form::Function, 1..=16, numbers::min),
    function("max", "max(a, b) or max(list)", Form::Function, 1..=16, numbers::max),
    function("sum", "sum(list)", Form::Either, 1..=1, numbers::sum),
    function("range", "range(n): [0, 1, …, n-1]", Form::Function, 1..=1, lists::range),
    function("zip", "zip(a, b): [[a0, b0], …]", Form::Function, 2..=2, lists::zip),
    function("flatten", "flatten(list of lists)", Form::Either, 1..=1, lists::flatten),
    function("keys", "keys(map)", Form::Either, 1..=1, lists::keys),
    function("values", "values(map)", Form::Either, 1..=1, lists::values),
    function("sort", "list.sort()", Form::Either, 1..=1, lists::sort),
    function("distinct", "list.distinct()", Form::Either, 1..=1, lists::distinct),
    function("reverse", "list.reverse()", Form::Either, 1..=1, lists::reverse),
    function("slice", "list.slice(from, to)", Form::Method, 3..=3, lists::slice),
    function("contains", "text.contains(part)", Form::Method, 2..=2, text::contains),
    function("startsWith", "text.startsWith(part)", Form::Method, 2..=2, text::starts_with),
    function("endsWith", "text.endsWith(part)", Form::Method, 2..=2, text::ends_with),
    function("matches", "text.matches(regular expression)", Form::Either, 2..=2, text::matches),
    function("lowerAscii", "text.lowerAscii()", Form::Method, 1..=1, text::lower_ascii),
    function("upperAscii", "text.upperAscii()", Form::Method, 1..=1, text::upper_ascii),
    function("trim", "text.trim()", Form::Method, 1..=1, text::trim),
    function("replace", "text.replace(old, new)", Form::Method, 3..=3, text::replace),
    function("split", "text.split(separator)", Form::Method, 2..=2, text::split),
    function("join", "list.join(separator)", Form::Method, 1..=2, text::join),
    function("substring", "text.substring(from, to)", Form::Method, 2..=3, text::substring),
    function("indexOf", "text.indexOf(part)", Form::Method, 2..=2, text::index_of),
];

type Unknown = (String, Option<String>);

/// # Errors
/// What is wrong with the name, and what to do about it.
pub(crate) fn find(name: &str, method: bool) -> std::result::Result<&'static Function, Unknown> {
    if let Some(function) = FUNCTIONS.iter().find(|f| f.name == name) {
        return match (function.form, method) {
            (Form::Function, true) => Err((
                format!("`{name}` is not a method"),
                Some(format!("it is used as `{}`", function.usage)),
            )),
            (Form::Method, false) => Err((format!("`{name}` is a method"), Some(format!("it is used as `{}`", function.usage)))),
            (Form::Function | Form::Method | Form::Either, _) => Ok(function),
        };
    }
    if Macro::named(name).is_some() {
        return Err((
            format!("`{name}` is a method"),
            Some(format!(
                "it is used as `list.{name}(x, …)`, with a name of your own for the element"
            )),
        ));
    }
    let known = FUNCTIONS
        .iter()
        .map(|f| f.name)
        .chain(Macro::NAMES.iter().map(|(n, _)| *n))
        .chain(["has"]);
    let help = match name {
        "duration" | "timestamp" => Some("times are numbers of milliseconds here: `duration_ms('5m')`".to_owned()),
        "len" | "length" | "count" => Some("did you mean `size`?".to_owned()),
        "toLower" | "lower" | "toLowerCase" => Some("did you mean `lowerAscii`?".to_owned()),
        "toUpper" | "upper" | "toUpperCase" => Some("did you mean `upperAscii`?".to_owned()),
        "float" | "number" => Some("did you mean `double`?".to_owned()),
        "str" => Some("did you mean `string`?".to_owned()),
        "any" => Some("did you mean `exists`?".to_owned()),
        _ => known
            .map(|k| (strsim::damerau_levenshtein(k, name), k))
            .filter(|(distance, k)| *distance <= 1 + k.len() / 4)
            .min()
            .map(|(_, k)| format!("did you mean `{k}`?")),
    };
    Err((format!("there is no function `{name}`"), help))
}

/// An argument of the wrong type.
pub(crate) fn wrong(function: &str, expected: &str, found: &Value) -> EvaluateErrorKind {
    EvaluateErrorKind::Type(format!("`{function}` takes {expected}, not {}", article(found.type_name())))
}

pub(crate) fn text_of<'a>(function: &str, value: &'a Value) -> std::result::Result<&'a str, EvaluateErrorKind> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(wrong(function, "a string", other)),
    }
}

pub(crate) fn list_of<'a>(function: &str, value: &'a Value) -> std::result::Result<&'a [Value], EvaluateErrorKind> {
    match value {
        Value::List(list) => Ok(list),
        other => Err(wrong(function, "a list", other)),
    }
}

pub(crate) fn int_of(function: &str, value: &Value) -> std::result::Result<i64, EvaluateErrorKind> {
    match value {
        Value::Int(n) => Ok(*n),
        other => Err(wrong(function, "an integer", other)),
    }
}

/// The arguments by position; the parser checked their number.
pub(crate) fn take<const N: usize>(arguments: Vec<Cow<'_, Value>>) -> std::result::Result<[Cow<'_, Value>; N], EvaluateErrorKind> {
    arguments
        .try_into()
        .map_err(|_| EvaluateErrorKind::Argument("wrong number of arguments".to_owned()))
}

fn size(arguments: Vec<Cow<'_, Value>>, meter: &Meter) -> Result {
    let [value] = take(arguments)?;
    let n = match &*value {
        Value::String(text) => {
            meter.charge_bytes(text.len())?;
            text.chars().count() as u64
        }
        Value::Bytes(bytes) => bytes.len() as u64,
        Value::List(list) => list.len() as u64,
        Value::Map(map) => map.len() as u64,
        Value::Blob(blob) => blob.size,
        other => return Err(wrong("size", "a blob, list, map, string or bytes", other)),
    };
    Ok(Value::Int(i64::try_from(n).unwrap_or(i64::MAX)))
}

fn default(arguments: Vec<Cow<'_, Value>>, meter: &Meter) -> Result {
    let [value, otherwise] = take(arguments)?;
    let chosen = if *value == Value::Null { otherwise } else { value };
    if let Cow::Borrowed(borrowed) = &chosen {
        meter.charge_value(borrowed)?;
    }
    Ok(chosen.into_owned())
}
