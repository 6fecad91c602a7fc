//! Models on the agent. A task that uses them says so, `#[eyot_task::task(needs("inference"))]`, and the workflow grants
//! `inference` to it.

use crate::{Blob, sys};
use serde::{Deserialize, Serialize};

/// Why a model did not load or did not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InferenceError {
    /// The model cannot be read or does not run on this agent.
    #[error("model is not usable: {0}")]
    BadModel(String),
    /// The inputs do not fit the model.
    #[error("inputs do not fit the model: {0}")]
    BadInput(String),
    #[error("model failed: {0}")]
    Failed(String),
}

/// Type of the elements of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
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
}

/// A dense tensor, row by row (the last dimension varies fastest).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    pub shape: Vec<u32>,
    pub element: Element,
    /// Little endian; as many bytes as shape and element say.
    pub data: Vec<u8>,
}

impl Tensor {
    #[must_use]
    pub fn f32(shape: &[u32], values: &[f32]) -> Self {
        Self {
            shape: shape.to_vec(),
            element: Element::F32,
            data: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }

    /// The elements, if they are `f32`.
    ///
    /// # Errors
    /// [`InferenceError::Failed`] where they are of another type: the model is not the one that the caller expects.
    pub fn to_f32(&self) -> Result<Vec<f32>, InferenceError> {
        if self.element == Element::F32 {
            Ok(self
                .data
                .as_chunks::<4>()
                .0
                .iter()
                .map(|bytes| f32::from_le_bytes(*bytes))
                .collect())
        } else {
            Err(InferenceError::Failed(format!(
                "expected elements of type f32, found {:?}",
                self.element
            )))
        }
    }

    /// Elements that the shape speaks of; None where that overflows.
    #[must_use]
    pub fn len(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(1usize, |n, dim| n.checked_mul(usize::try_from(*dim).ok()?))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shape.contains(&0)
    }
}

/// A model that the agent has loaded. It is loaded once for each agent, however many tasks use it.
pub struct Model(sys::Model);

impl Model {
    /// Loads an ONNX model.
    ///
    /// # Errors
    /// [`InferenceError::BadModel`] where the agent cannot read or run it.
    pub fn load(model: &Blob) -> Result<Self, InferenceError> {
        let held;
        let digest = match model.digest() {
            Some(digest) => digest,
            None => {
                let bytes = model.read_all(model.size()).map_err(|e| InferenceError::Failed(e.to_string()))?;
                held = Blob::from_bytes(&bytes).map_err(|e| InferenceError::Failed(e.to_string()))?;
                held.digest().unwrap_or_default()
            }
        };
        sys::Model::load(digest).map(Self)
    }

    /// Runs the model. Inputs and outputs are in the order of the model. The agent prepares the model once for each
    /// shape of its inputs, so use few different shapes.
    ///
    /// # Errors
    /// [`InferenceError::BadInput`] where the inputs do not fit, [`InferenceError::Failed`] where it did not run.
    pub fn compute(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, InferenceError> {
        self.0.compute(inputs)
    }

    /// As [`Model::compute`], for a model of which only the first output matters.
    ///
    /// # Errors
    /// As [`Model::compute`], and where the model has no output.
    pub fn compute_one(&self, inputs: Vec<Tensor>) -> Result<Tensor, InferenceError> {
        let first = self.compute(inputs)?.into_iter().next();
        first.ok_or_else(|| InferenceError::Failed("the model has no output".to_owned()))
    }

    /// An entry of the model's own metadata, such as the characters of a text reader.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<String> {
        self.0.metadata(key)
    }
}
