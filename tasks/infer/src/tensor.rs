//! Tensors as values of a workflow.

use eyot_task::inference::{Element, Tensor};
use eyot_task::prelude::*;
use eyot_task::serde_json::{Number, Value};

/// Most bytes of one tensor.
const MAX_BYTES: u64 = 128 << 20;
/// Deepest nesting of lists.
const MAX_RANK: usize = 16;

#[eyot_task::data]
#[derive(Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct TensorValue {
    /// Follows from nested lists where it is missing.
    #[serde(default)]
    pub shape: Option<Vec<u32>>,
    #[serde(default = "f32_elements")]
    pub element: Element,
    pub data: Data,
}

fn f32_elements() -> Element {
    Element::F32
}

#[eyot_task::data]
#[derive(Clone, Debug, PartialEq)]
#[serde(untagged, expecting = "expected a blob, a number or lists of numbers")]
pub enum Data {
    /// Little-endian elements, row by row (the last dimension varies fastest).
    Blob(Blob),
    /// Numbers, row by row, in lists as deep as the tensor or in one list.
    List(Value),
}

impl TensorValue {
    pub(crate) fn into_tensor(self) -> Result<Tensor, Failure> {
        let (data, nested) = match &self.data {
            Data::Blob(blob) => (blob.read_all(MAX_BYTES)?, None),
            Data::List(list) => {
                let (mut data, mut shape) = (Vec::new(), Vec::new());
                flatten(list, self.element, 0, &mut shape, &mut data)?;
                (data, Some(shape))
            }
        };
        let shape = match (self.shape, nested) {
            (Some(shape), _) => shape,
            (None, Some(nested)) => nested,
            (None, None) => return Err(Failure::invalid_input("a tensor in a blob needs its `shape`")),
        };
        let tensor = Tensor {
            shape,
            element: self.element,
            data,
        };
        let expected = tensor.len().and_then(|len| len.checked_mul(self.element.size()));
        if expected != Some(tensor.data.len()) {
            return Err(Failure::invalid_input(format!(
                "expected as many elements as the shape {:?} has, found {}",
                tensor.shape,
                tensor.data.len() / self.element.size()
            )));
        }
        Ok(tensor)
    }

    /// A list in the shape of the tensor if it has at most `max_list` elements, else a blob.
    pub(crate) fn from_tensor(tensor: Tensor, max_list: usize) -> Result<Self, Failure> {
        let small = tensor.len().is_some_and(|len| len <= max_list);
        let data = if small {
            let mut elements = elements(&tensor).into_iter();
            Data::List(nested(&tensor.shape, &mut elements))
        } else {
            Data::Blob(Blob::from_bytes(&tensor.data)?)
        };
        Ok(Self {
            shape: Some(tensor.shape),
            element: tensor.element,
            data,
        })
    }
}

/// Appends the numbers in `value` to `data`. All lists of one depth have the same length; `shape` learns it.
fn flatten(value: &Value, element: Element, depth: usize, shape: &mut Vec<u32>, data: &mut Vec<u8>) -> Result<(), Failure> {
    let Value::Array(list) = value else {
        if depth < shape.len() {
            return Err(Failure::invalid_input("lists of one depth must have the same length"));
        }
        return push(value, element, data);
    };
    if depth == MAX_RANK {
        return Err(Failure::invalid_input(format!("lists are nested deeper than {MAX_RANK}")));
    }
    let length = u32::try_from(list.len()).or_invalid_input("a list is too long")?;
    match shape.get(depth) {
        None if data.is_empty() => shape.push(length),
        Some(known) if *known == length => {}
        None | Some(_) => return Err(Failure::invalid_input("lists of one depth must have the same length")),
    }
    list.iter().try_for_each(|inner| flatten(inner, element, depth + 1, shape, data))
}

fn push(value: &Value, element: Element, data: &mut Vec<u8>) -> Result<(), Failure> {
    let wrong = || Failure::invalid_input(format!("expected a number of type {element:?}, found {value}"));
    let whole = || {
        value
            .as_i64()
            .or_else(|| value.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9e15).map(|f| f as i64))
    };
    match element {
        Element::F32 => data.extend((value.as_f64().ok_or_else(wrong)? as f32).to_le_bytes()),
        Element::I32 => data.extend(whole().and_then(|n| i32::try_from(n).ok()).ok_or_else(wrong)?.to_le_bytes()),
        Element::I64 => data.extend(whole().ok_or_else(wrong)?.to_le_bytes()),
        Element::U8 => data.push(whole().and_then(|n| u8::try_from(n).ok()).ok_or_else(wrong)?),
    }
    Ok(())
}

/// Numbers that JSON has no word for (not a number, infinite) are null.
fn elements(tensor: &Tensor) -> Vec<Value> {
    let data = &tensor.data;
    match tensor.element {
        Element::F32 => {
            let number = |b: &[u8; 4]| Number::from_f64(f64::from(f32::from_le_bytes(*b))).map_or(Value::Null, Value::Number);
            data.as_chunks::<4>().0.iter().map(number).collect()
        }
        Element::I32 => data.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b).into()).collect(),
        Element::I64 => data.as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b).into()).collect(),
        Element::U8 => data.iter().map(|b| (*b).into()).collect(),
    }
}

fn nested(shape: &[u32], elements: &mut dyn Iterator<Item = Value>) -> Value {
    match shape {
        [] => elements.next().unwrap_or(Value::Null),
        [first, rest @ ..] => (0..*first).map(|_| nested(rest, elements)).collect(),
    }
}
