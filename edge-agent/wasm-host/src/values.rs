//! Values on their way into a guest and out of it.

use crate::bindings::eyot::task::types as wit;
use crate::capability::State;
use crate::limits::Stop;
use crate::{BlobAccess, BlobError};
use eyot_model::{BlobForm, BlobRef, Failure, FailureKind, Inputs, Outputs, Value};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

/// Values that take more than this become blobs on the way out.
const INLINE_BYTES: usize = 1 << 20;
/// The values of an attempt that are not blobs take no more than this together: they are in one event, which has to fit into a message
/// and into a record.
const INLINE_BYTES_IN_ALL: usize = 8 << 20;
/// Most bytes that the inputs which travelled as blobs take when they are values again.
const MAX_LOADED_BYTES: u64 = 256 << 20;
/// Most values of an attempt's outputs, and most bytes of a name.
const MAX_OUTPUTS: usize = 1_024;
const MAX_NAME_BYTES: usize = 256;
/// How often a value that travelled as a blob may itself hold one.
const MAX_LOAD_DEPTH: u32 = 4;
/// Longest text of an output that is read, in bytes.
const MAX_TEXT_BYTES: usize = 16 << 20;
/// What one value within others takes here, in bytes. Its text may be two bytes, so the text says little of it.
const VALUE_BYTES: u64 = 80;

/// Makes the inputs ready for the guest and notes the blobs that they name.
pub(crate) fn to_guest(inputs: Inputs, state: &mut State) -> Result<Vec<wit::NamedValue>, Failure> {
    let mut budget = Budget {
        bytes: MAX_LOADED_BYTES,
        values: Values::of(state),
    };
    inputs
        .into_iter()
        .map(|(name, value)| {
            let value = load(value, state.services.blobs(), &mut budget, 0)?;
            state.blobs.note(&value);
            Ok(wit::NamedValue {
                name,
                value: lower(value)?,
            })
        })
        .collect()
}

fn lower(value: Value) -> Result<wit::Value, Failure> {
    Ok(match value {
        Value::Bytes(bytes) => wit::Value::Bytes(bytes),
        blob @ Value::Blob(_) => wit::Value::Blob(to_json(&blob)?),
        Value::Null => wit::Value::Json("null".to_owned()),
        other => wit::Value::Json(to_json(&other)?),
    })
}

/// What may become values at all.
struct Budget {
    /// Of the blobs that they travelled as.
    bytes: u64,
    values: Values,
}

/// How many values within others an attempt may make the host hold: as many as its own memory could.
struct Values {
    left: u64,
    limit: u64,
}

impl Values {
    fn of(state: &State) -> Self {
        let limit = state.meter.limits().memory_bytes;
        Self {
            left: limit / VALUE_BYTES,
            limit,
        }
    }

    /// Counts those of a JSON text before it is read. The error is what is wrong.
    fn count(&mut self, text: &[u8]) -> Result<(), String> {
        match self.left.checked_sub(elements(text)) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(format!(
                "holds more values than the task's memory of {} bytes could; give it as bytes or a blob",
                self.limit
            )),
        }
    }
}

/// At least as many as there are elements and entries in a JSON text.
fn elements(text: &[u8]) -> u64 {
    let (mut count, mut in_string, mut escaped) = (0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' | b'[' | b'{' if !in_string => count += 1,
            _ => {}
        }
    }
    count
}

/// Turns blobs that stand for large values back into those values, wherever they are in `value`.
fn load(value: Value, blobs: &dyn BlobAccess, budget: &mut Budget, depth: u32) -> Result<Value, Failure> {
    Ok(match value {
        Value::Blob(blob) => match blob.form {
            BlobForm::Raw => Value::Blob(blob),
            BlobForm::Bytes => Value::Bytes(read(&blob, blobs, budget)?),
            BlobForm::Json if depth >= MAX_LOAD_DEPTH => {
                return Err(Failure::new(
                    FailureKind::InvalidInput,
                    "values that travel as blobs are nested too deep",
                ));
            }
            BlobForm::Json => {
                let text = read(&blob, blobs, budget)?;
                budget
                    .values
                    .count(&text)
                    .map_err(|why| Failure::new(FailureKind::MemoryLimit, format!("the input in blob {} {why}", blob.digest)))?;
                let value = serde_json::from_slice(&text).map_err(|e| {
                    Failure::new(
                        FailureKind::BlobUnavailable,
                        format!("blob {} is not the value it stands for: {e}", blob.digest),
                    )
                })?;
                load(value, blobs, budget, depth + 1)?
            }
        },
        Value::List(list) if list.iter().any(holds_loadable) => {
            Value::List(list.into_iter().map(|v| load(v, blobs, budget, depth)).collect::<Result<_, _>>()?)
        }
        Value::Map(map) if map.values().any(holds_loadable) => Value::Map(
            map.into_iter()
                .map(|(k, v)| Ok((k, load(v, blobs, budget, depth)?)))
                .collect::<Result<_, Failure>>()?,
        ),
        other => other,
    })
}

fn holds_loadable(value: &Value) -> bool {
    let mut found = false;
    value.for_each_blob(&mut |blob| found |= blob.form != BlobForm::Raw);
    found
}

fn read(blob: &BlobRef, blobs: &dyn BlobAccess, budget: &mut Budget) -> Result<Vec<u8>, Failure> {
    let failed = |e: BlobError| blob_failure(&e);
    let mut reader = blobs.open(&blob.digest).map_err(failed)?;
    let size = reader.size();
    budget.bytes = budget.bytes.checked_sub(size).ok_or_else(|| {
        let message = format!("the inputs that travelled as blobs take more than {MAX_LOADED_BYTES} bytes");
        Failure::new(FailureKind::InvalidInput, message)
    })?;
    // The budget is far below what any address space holds.
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    let got = reader.read_at(0, &mut bytes).map_err(failed)?;
    if got < bytes.len() {
        let message = format!("blob {} ends after {got} of {size} bytes", blob.digest);
        return Err(Failure::new(FailureKind::BlobUnavailable, message));
    }
    Ok(bytes)
}

/// The failure of an attempt for want of a blob.
pub(crate) fn blob_failure(error: &BlobError) -> Failure {
    let (kind, message) = match error {
        BlobError::Missing(_) | BlobError::Damaged(_) => (FailureKind::BlobUnavailable, error.to_string()),
        BlobError::Full => (FailureKind::DiskFull, error.to_string()),
        BlobError::Store(cause) => (FailureKind::Agent, format!("{error}: {cause}")),
    };
    Failure::new(kind, message)
}

/// Takes the outputs from the guest: checks them, and makes blobs of the large ones.
pub(crate) fn from_guest(values: Vec<wit::NamedValue>, state: &mut State) -> Result<Outputs, Failure> {
    if values.len() > MAX_OUTPUTS {
        return Err(broken(format!("it gave {} outputs, over the limit of {MAX_OUTPUTS}", values.len())));
    }
    let limit = state.meter.limits().output_bytes;
    let mut total = 0u64;
    let mut within = Values::of(state);
    let mut outputs = Outputs::new();
    for wit::NamedValue { name, value } in values {
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            return Err(broken(format!("it gave an output whose name has {} bytes", name.len())));
        }
        let size = match &value {
            wit::Value::Json(text) | wit::Value::Blob(text) => text.len(),
            wit::Value::Bytes(bytes) => bytes.len(),
        };
        total = total.saturating_add(size as u64);
        if total > limit {
            let what = format!("outputs of at least {total} bytes");
            return Err(match (Stop::Output { what, limit }).outcome() {
                eyot_model::Outcome::Failed(failure) => failure,
                eyot_model::Outcome::Succeeded(_) | eyot_model::Outcome::Cancelled => broken("its outputs are too large".to_owned()),
            });
        }
        if let wit::Value::Json(text) | wit::Value::Blob(text) = &value {
            let readable = if text.len() > MAX_TEXT_BYTES {
                Err(format!(
                    "is JSON of {} bytes, over the limit of {MAX_TEXT_BYTES} bytes; give it as bytes or a blob",
                    text.len()
                ))
            } else {
                within.count(text.as_bytes())
            };
            readable.map_err(|why| Failure::new(FailureKind::OutputLimit, format!("its output `{name}` {why}")))?;
        }
        let value = lift(&name, value, state)?;
        if outputs.contains_key(&name) {
            return Err(broken(format!("it gave the output `{name}` twice")));
        }
        outputs.insert(name, value);
    }
    let blobs = state.services.blobs();
    spill_largest(&mut outputs, INLINE_BYTES_IN_ALL, |value| as_blob(value, blobs))?;
    Ok(outputs)
}

/// Makes blobs of values, the largest first, until the others take no more than `limit` bytes together.
fn spill_largest(outputs: &mut Outputs, limit: usize, spill: impl Fn(&Value) -> Result<Value, Failure>) -> Result<(), Failure> {
    let inline = |value: &Value| if matches!(value, Value::Blob(_)) { 0 } else { value.size_hint() };
    let mut total: usize = outputs.values().map(inline).sum();
    if total <= limit {
        return Ok(());
    }
    let mut sizes: Vec<(usize, String)> = outputs.iter().map(|(name, value)| (inline(value), name.clone())).collect();
    sizes.sort_unstable();
    while total > limit
        && let Some((size, name)) = sizes.pop()
    {
        if let Some(value) = outputs.get_mut(&name) {
            *value = spill(value)?;
            total -= size;
        }
    }
    Ok(())
}

fn lift(name: &str, value: wit::Value, state: &State) -> Result<Value, Failure> {
    let mut value = match value {
        wit::Value::Bytes(bytes) => Value::Bytes(bytes),
        wit::Value::Json(text) | wit::Value::Blob(text) => {
            serde_json::from_str(&text).map_err(|e| broken(format!("its output `{name}` is not a value: {e}")))?
        }
    };
    seal(name, &mut value, state)?;
    if value.size_hint() <= INLINE_BYTES {
        return Ok(value);
    }
    as_blob(&value, state.services.blobs())
}

/// A blob that stands for the value.
fn as_blob(value: &Value, blobs: &dyn BlobAccess) -> Result<Value, Failure> {
    match value {
        Value::Bytes(bytes) => spill(bytes, BlobForm::Bytes, blobs),
        large => spill(to_json(large)?.as_bytes(), BlobForm::Json, blobs),
    }
}

/// Checks that the value names only blobs that the attempt may name, and states their true sizes.
fn seal(name: &str, value: &mut Value, state: &State) -> Result<(), Failure> {
    match value {
        Value::Blob(blob) => {
            let size = state.blobs.size(&blob.digest).ok_or_else(|| {
                broken(format!(
                    "its output `{name}` names the blob {}, which it neither received nor wrote",
                    blob.digest
                ))
            })?;
            blob.size = size;
            blob.form = BlobForm::Raw;
            Ok(())
        }
        Value::List(list) => list.iter_mut().try_for_each(|v| seal(name, v, state)),
        Value::Map(map) => map.values_mut().try_for_each(|v| seal(name, v, state)),
        Value::Null | Value::Bool(_) | Value::Int(_) | Value::Float(_) | Value::String(_) | Value::Bytes(_) => Ok(()),
    }
}

fn spill(bytes: &[u8], form: BlobForm, blobs: &dyn BlobAccess) -> Result<Value, Failure> {
    let (digest, size) = blobs
        .writer()
        .and_then(|mut writer| {
            writer.write(bytes)?;
            writer.finish()
        })
        .map_err(|e| blob_failure(&e))?;
    Ok(Value::Blob(BlobRef { digest, size, form }))
}

/// A component that does not keep to its contract: trying again is no use.
fn broken(message: String) -> Failure {
    Failure::new(FailureKind::Permanent, format!("the component broke its contract: {message}"))
}

fn to_json(value: &Value) -> Result<String, Failure> {
    serde_json::to_string(&Json(value)).map_err(|e| Failure::new(FailureKind::Agent, format!("a value cannot be written as JSON: {e}")))
}

/// A value as its JSON text, without a tree of JSON in between.
struct Json<'a>(&'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => to.serialize_unit(),
            Value::Bool(b) => to.serialize_bool(*b),
            Value::Int(i) => to.serialize_i64(*i),
            Value::Float(f) => to.serialize_f64(*f),
            Value::String(s) => to.serialize_str(s),
            Value::Bytes(_) | Value::Blob(_) => self.0.to_json().serialize(to),
            Value::List(list) => {
                let mut seq = to.serialize_seq(Some(list.len()))?;
                list.iter().try_for_each(|v| seq.serialize_element(&Json(v)))?;
                seq.end()
            }
            Value::Map(entries) => {
                let mut map = to.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(k, v)| map.serialize_entry(k, &Json(v)))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use eyot_model::Digest;

    #[test]
    fn the_largest_values_become_blobs_until_the_others_fit() {
        let text = |len: usize| Value::String("x".repeat(len));
        let mut outputs = Outputs::from([
            ("a".to_owned(), text(100)),
            ("b".to_owned(), text(900)),
            ("c".to_owned(), text(800)),
            ("d".to_owned(), text(10)),
        ]);
        let stand_in = || {
            Value::Blob(BlobRef {
                digest: Digest::of(b"x"),
                size: 1,
                form: BlobForm::Json,
            })
        };
        let blobs = |outputs: &Outputs| {
            let is_blob = |(name, value): (&String, &Value)| matches!(value, Value::Blob(_)).then(|| name.clone());
            outputs.iter().filter_map(is_blob).collect::<String>()
        };
        spill_largest(&mut outputs, 2_000, |_| Ok(stand_in())).unwrap();
        assert_eq!(blobs(&outputs), "");
        spill_largest(&mut outputs, 1_000, |_| Ok(stand_in())).unwrap();
        assert_eq!(blobs(&outputs), "b");
        spill_largest(&mut outputs, 50, |_| Ok(stand_in())).unwrap();
        assert_eq!(blobs(&outputs), "abc");
    }

    #[test]
    fn elements_are_counted_outside_of_strings() {
        for (text, count) in [
            ("7", 0),
            ("[0,0,0]", 3),
            (r#"{"a":1,"b":[]}"#, 3),
            (r#"["[,{",0]"#, 2),
            (r#"["\",[",0]"#, 2),
            (r#"["\\",[0]]"#, 3),
            ("\"[[[", 0),
        ] {
            assert_eq!(elements(text.as_bytes()), count, "{text}");
        }
    }

    #[test]
    fn the_text_of_a_value_is_the_text_of_its_json() {
        let blob = BlobRef {
            digest: Digest::of(b"x"),
            size: 1,
            form: BlobForm::Raw,
        };
        let map = |v: Value| Value::Map([("k".to_owned(), v)].into());
        for value in [
            Value::Null,
            Value::Bool(true),
            Value::Int(-1),
            Value::Float(0.5),
            Value::Float(f64::NAN),
            Value::String("a\"\n".to_owned()),
            Value::Blob(blob),
            map(Value::List(vec![Value::Blob(blob), Value::Bytes(vec![0, 255]), map(Value::Null)])),
        ] {
            assert_eq!(to_json(&value).unwrap(), value.to_json().to_string());
        }
    }
}
