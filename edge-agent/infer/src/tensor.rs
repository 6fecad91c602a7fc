//! Tensors as they travel: shape, element type, bytes.

use crate::{Error, MAX_TENSOR_BYTES};
use tract_onnx::prelude::{DatumType, Tensor as TractTensor};

/// The element types that travel. Others are widened to one of these on the way out of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Element {
    F32,
    I32,
    I64,
    U8,
}

impl Element {
    /// Bytes of one element.
    #[must_use]
    pub fn size(self) -> usize {
        match self {
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
            Self::U8 => 1,
        }
    }

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::U8 => "u8",
        }
    }

    pub(crate) fn datum(self) -> DatumType {
        match self {
            Self::F32 => DatumType::F32,
            Self::I32 => DatumType::I32,
            Self::I64 => DatumType::I64,
            Self::U8 => DatumType::U8,
        }
    }
}

/// A dense tensor, row by row (the last dimension varies fastest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub shape: Vec<usize>,
    pub element: Element,
    /// Little endian; as many bytes as shape and element say.
    pub data: Vec<u8>,
}

impl Tensor {
    #[must_use]
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Self {
        Self {
            shape: shape.to_vec(),
            element: Element::F32,
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// The elements, if they are `f32`.
    #[must_use]
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        (self.element == Element::F32).then(|| {
            self.data
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect()
        })
    }

    /// Checks that data and shape agree and that the size is within the limit.
    pub(crate) fn check(&self, index: usize) -> Result<(), Error> {
        let expected = self
            .shape
            .iter()
            .try_fold(self.element.size(), |bytes, dim| bytes.checked_mul(*dim))
            .ok_or_else(|| Error::BadInput(format!("the shape {:?} of input {index} overflows", self.shape)))?;
        if expected > MAX_TENSOR_BYTES {
            return Err(too_large(expected));
        }
        if expected != self.data.len() {
            return Err(Error::BadInput(format!(
                "input {index} of shape {:?} and type {} takes {expected} bytes, {} were given",
                self.shape,
                self.element.name(),
                self.data.len()
            )));
        }
        Ok(())
    }

    pub(crate) fn into_tract(self) -> Result<TractTensor, Error> {
        let mut tensor = TractTensor::zero_dt(self.element.datum(), &self.shape).map_err(|e| Error::BadInput(format!("{e:#}")))?;
        let bytes = tensor.as_bytes_mut();
        if bytes.len() != self.data.len() {
            return Err(Error::BadInput("shape and data differ in size".to_owned()));
        }
        bytes.copy_from_slice(&self.data);
        if cfg!(target_endian = "big") {
            bytes.chunks_exact_mut(self.element.size()).for_each(<[u8]>::reverse);
        }
        Ok(tensor)
    }

    pub(crate) fn from_tract(index: usize, tensor: &TractTensor) -> Result<Self, Error> {
        let unusable = |e: &dyn std::fmt::Display| Error::Failed(format!("output {index} has no type that travels: {e}"));
        let (element, tensor) = match tensor.datum_type() {
            DatumType::F32 => (Element::F32, std::borrow::Cow::Borrowed(tensor)),
            DatumType::I32 => (Element::I32, std::borrow::Cow::Borrowed(tensor)),
            DatumType::I64 => (Element::I64, std::borrow::Cow::Borrowed(tensor)),
            DatumType::U8 => (Element::U8, std::borrow::Cow::Borrowed(tensor)),
            DatumType::Bool => (Element::U8, tensor.cast_to::<u8>().map_err(|e| unusable(&e))?),
            DatumType::F16 | DatumType::F64 => (Element::F32, tensor.cast_to::<f32>().map_err(|e| unusable(&e))?),
            DatumType::I8 | DatumType::I16 | DatumType::U16 | DatumType::U32 | DatumType::U64 | DatumType::TDim => {
                (Element::I64, tensor.cast_to::<i64>().map_err(|e| unusable(&e))?)
            }
            other => return Err(unusable(&format!("{other:?}"))),
        };
        let mut data = tensor.as_bytes().to_vec();
        if cfg!(target_endian = "big") {
            data.chunks_exact_mut(element.size()).for_each(<[u8]>::reverse);
        }
        Ok(Self {
            shape: tensor.shape().to_vec(),
            element,
            data,
        })
    }
}

pub(crate) fn too_large(bytes: usize) -> Error {
    Error::TooLarge {
        what: "tensor data",
        bytes: bytes as u64,
        limit: MAX_TENSOR_BYTES as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_whose_bytes_do_not_fit_its_shape_is_refused() {
        for (shape, bytes) in [(vec![2, 2], 15), (vec![2, 2], 17), (vec![usize::MAX, 2], 16), (vec![1 << 40], 16)] {
            let tensor = Tensor {
                shape,
                element: Element::F32,
                data: vec![0; bytes],
            };
            assert!(tensor.check(0).is_err(), "{tensor:?}");
        }
        assert_eq!(Tensor::from_f32(&[], &[1.0]).check(0), Ok(()));
    }

    #[test]
    fn elements_survive_the_way_in_and_out() {
        let tensor = Tensor::from_f32(&[2, 2], &[1.0, -2.5, f32::MAX, 0.0]);
        let back = Tensor::from_tract(0, &tensor.clone().into_tract().unwrap()).unwrap();
        assert_eq!(back, tensor);
        assert_eq!(back.to_f32(), Some(vec![1.0, -2.5, f32::MAX, 0.0]));
    }
}
