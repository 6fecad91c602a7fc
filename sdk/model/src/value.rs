//! Values that pass between tasks.

use crate::{BlobForm, BlobRef, depth};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// Named inputs of a run or of an attempt.
pub type Inputs = BTreeMap<String, Value>;
/// Named outputs of a task or of a run.
pub type Outputs = BTreeMap<String, Value>;

/// A value of the workflow language. In JSON a blob is `{"$blob": "b3:…", "size": N}` (with `"form"` where it is not
/// raw) and bytes are `{"$bytes": "<lower-case hexadecimal>"}`; on the wire it is a tagged enum.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
    Bytes(Vec<u8>),
    Blob(BlobRef),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

/// Why JSON is not a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    #[error("`$blob` needs a digest (`b3:…`) and a `size` in bytes")]
    BadBlob,
    #[error("`$bytes` needs an even number of hexadecimal digits")]
    BadBytes,
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
}

impl Value {
    /// The word for this value's type in messages to people.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Int(_) => "integer",
            Self::Float(_) => "number",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Blob(_) => "blob",
            Self::List(_) => "list",
            Self::Map(_) => "map",
        }
    }

    /// # Errors
    /// When a `$blob` or `$bytes` object is malformed, or the nesting is deeper than 64 levels.
    pub fn from_json(json: serde_json::Value) -> Result<Self, ValueError> {
        Self::from_json_at(json, 0)
    }

    fn from_json_at(json: serde_json::Value, depth: usize) -> Result<Self, ValueError> {
        use serde_json::Value as J;
        if depth > depth::LIMIT {
            return Err(ValueError::TooDeep(depth::LIMIT));
        }
        Ok(match json {
            J::Null => Self::Null,
            J::Bool(b) => Self::Bool(b),
            J::Number(n) => n.as_i64().map_or_else(|| Self::Float(n.as_f64().unwrap_or(f64::NAN)), Self::Int),
            J::String(s) => Self::String(s),
            J::Array(list) => Self::List(
                list.into_iter()
                    .map(|v| Self::from_json_at(v, depth + 1))
                    .collect::<Result<_, _>>()?,
            ),
            J::Object(map) => {
                if let Some(digest) = map.get("$blob") {
                    return blob_from_json(digest, &map).map(Self::Blob).ok_or(ValueError::BadBlob);
                }
                if let Some(hex) = map.get("$bytes") {
                    return hex.as_str().and_then(bytes_from_hex).map(Self::Bytes).ok_or(ValueError::BadBytes);
                }
                Self::Map(
                    map.into_iter()
                        .map(|(k, v)| Ok((k, Self::from_json_at(v, depth + 1)?)))
                        .collect::<Result<_, _>>()?,
                )
            }
        })
    }

    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as J;
        match self {
            Self::Null => J::Null,
            Self::Bool(b) => J::Bool(*b),
            Self::Int(i) => J::from(*i),
            Self::Float(f) => serde_json::Number::from_f64(*f).map_or(J::Null, J::Number),
            Self::String(s) => J::String(s.clone()),
            Self::Bytes(bytes) => serde_json::json!({ "$bytes": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>() }),
            Self::Blob(blob) => {
                let mut map = serde_json::Map::new();
                map.insert("$blob".into(), blob.digest.to_string().into());
                map.insert("size".into(), blob.size.into());
                match blob.form {
                    BlobForm::Raw => {}
                    BlobForm::Json => drop(map.insert("form".into(), "json".into())),
                    BlobForm::Bytes => drop(map.insert("form".into(), "bytes".into())),
                }
                J::Object(map)
            }
            Self::List(list) => J::Array(list.iter().map(Self::to_json).collect()),
            Self::Map(map) => J::Object(map.iter().map(|(k, v)| (k.clone(), v.to_json())).collect()),
        }
    }

    /// Calls `visit` for every blob reference in this value.
    pub fn for_each_blob(&self, visit: &mut dyn FnMut(&BlobRef)) {
        match self {
            Self::Blob(blob) => visit(blob),
            Self::List(list) => list.iter().for_each(|v| v.for_each_blob(visit)),
            Self::Map(map) => map.values().for_each(|v| v.for_each_blob(visit)),
            Self::Null | Self::Bool(_) | Self::Int(_) | Self::Float(_) | Self::String(_) | Self::Bytes(_) => {}
        }
    }

    /// About how many bytes this value takes when it travels; blobs count as their reference alone.
    #[must_use]
    pub fn size_hint(&self) -> usize {
        match self {
            Self::Null | Self::Bool(_) => 1,
            Self::Int(_) | Self::Float(_) => 9,
            Self::String(s) => s.len() + 3,
            Self::Bytes(b) => b.len() + 3,
            Self::Blob(_) => 40,
            Self::List(list) => 3 + list.iter().map(Self::size_hint).sum::<usize>(),
            Self::Map(map) => 3 + map.iter().map(|(k, v)| k.len() + 2 + v.size_hint()).sum::<usize>(),
        }
    }
}

fn blob_from_json(digest: &serde_json::Value, map: &serde_json::Map<String, serde_json::Value>) -> Option<BlobRef> {
    let form = match map.get("form").map(|f| f.as_str()) {
        None | Some(Some("raw")) => BlobForm::Raw,
        Some(Some("json")) => BlobForm::Json,
        Some(Some("bytes")) => BlobForm::Bytes,
        Some(_) => return None,
    };
    Some(BlobRef {
        digest: digest.as_str()?.parse().ok()?,
        size: map.get("size")?.as_u64()?,
        form,
    })
}

fn bytes_from_hex(hex: &str) -> Option<Vec<u8>> {
    if !hex.len().is_multiple_of(2) || !hex.is_ascii() {
        return None;
    }
    (0..hex.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&hex[i..i + 2], 16).ok())
        .collect()
}

/// The form on the wire. A separate type, so that the order of its variants is seen to be a promise.
#[derive(Serialize, Deserialize)]
enum Tagged {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
    Bytes(Vec<u8>),
    Blob(BlobRef),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

#[derive(Serialize)]
enum TaggedRef<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(&'a str),
    Bytes(&'a Vec<u8>),
    Blob(&'a BlobRef),
    List(&'a Vec<Value>),
    Map(&'a BTreeMap<String, Value>),
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            return self.to_json().serialize(s);
        }
        match self {
            Self::Null => TaggedRef::Null,
            Self::Bool(b) => TaggedRef::Bool(*b),
            Self::Int(i) => TaggedRef::Int(*i),
            Self::Float(f) => TaggedRef::Float(*f),
            Self::String(v) => TaggedRef::String(v),
            Self::Bytes(v) => TaggedRef::Bytes(v),
            Self::Blob(v) => TaggedRef::Blob(v),
            Self::List(v) => TaggedRef::List(v),
            Self::Map(v) => TaggedRef::Map(v),
        }
        .serialize(s)
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            return Self::from_json(serde_json::Value::deserialize(d)?).map_err(serde::de::Error::custom);
        }
        let _level = depth::Guard::enter::<D::Error>()?;
        Ok(match Tagged::deserialize(d)? {
            Tagged::Null => Self::Null,
            Tagged::Bool(b) => Self::Bool(b),
            Tagged::Int(i) => Self::Int(i),
            Tagged::Float(f) => Self::Float(f),
            Tagged::String(v) => Self::String(v),
            Tagged::Bytes(v) => Self::Bytes(v),
            Tagged::Blob(v) => Self::Blob(v),
            Tagged::List(v) => Self::List(v),
            Tagged::Map(v) => Self::Map(v),
        })
    }
}

impl utoipa::PartialSchema for Value {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        utoipa::openapi::schema::Object::builder()
            .schema_type(utoipa::openapi::schema::SchemaType::AnyValue)
            .build()
            .into()
    }
}
impl utoipa::ToSchema for Value {}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Digest;
    use proptest::prelude::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            (-1e9f64..1e9).prop_map(|f| Value::Float(f + 0.5)),
            "[a-z ]{0,12}".prop_map(Value::String),
            proptest::collection::vec(any::<u8>(), 0..8).prop_map(Value::Bytes),
            any::<u64>().prop_map(|n| Value::Blob(BlobRef {
                digest: Digest::of(&n.to_le_bytes()),
                size: n,
                form: BlobForm::Json
            })),
        ];
        leaf.prop_recursive(3, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
                proptest::collection::btree_map("[a-z]{1,6}", inner, 0..5).prop_map(Value::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn reads_back_from_json_and_from_the_wire(value in value()) {
            let json = serde_json::to_string(&value).unwrap();
            let back: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&back, &value);
            let bytes = postcard::to_stdvec(&value).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Value>(&bytes).unwrap(), value);
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_not_a_stack_overflow() {
        let mut bytes = Vec::new();
        for _ in 0..200_000 {
            bytes.extend([7, 1]); // a list of one list of one list …
        }
        bytes.push(0);
        assert!(postcard::from_bytes::<Value>(&bytes).is_err());
    }

    #[test]
    fn a_malformed_blob_is_refused() {
        for json in [r#"{"$blob": 1}"#, r#"{"$blob": "b3:00", "size": 1}"#] {
            assert!(serde_json::from_str::<Value>(json).is_err(), "{json}");
        }
    }
}
