//! The agent's inference, for the testing host.

use eyot_infer as infer;
use eyot_task::inference::{Element, InferenceError, Tensor};
use eyot_task::testing::{Model, Models};
use std::sync::Arc;

/// Loads models as an agent does, once each.
pub struct AgentModels(infer::Runtime);

impl AgentModels {
    #[must_use]
    pub fn new() -> Self {
        Self(infer::Runtime::new(512 << 20))
    }
}

impl Default for AgentModels {
    fn default() -> Self {
        Self::new()
    }
}

impl Models for AgentModels {
    fn load(&self, digest: &str, onnx: &[u8]) -> Result<Arc<dyn Model>, InferenceError> {
        let digest = digest.parse().map_err(|e| InferenceError::BadModel(format!("{e}")))?;
        let model = self.0.load(digest, || Ok(onnx.to_vec())).map_err(explained)?;
        Ok(Arc::new(Loaded(model)))
    }
}

struct Loaded(Arc<infer::Model>);

impl Model for Loaded {
    fn compute(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, InferenceError> {
        let inputs = inputs.into_iter().map(|tensor| infer::Tensor {
            shape: tensor.shape.iter().map(|dim| *dim as usize).collect(),
            element: match tensor.element {
                Element::F32 => infer::Element::F32,
                Element::I32 => infer::Element::I32,
                Element::I64 => infer::Element::I64,
                Element::U8 => infer::Element::U8,
            },
            data: tensor.data,
        });
        let outputs = self.0.compute(inputs.collect()).map_err(explained)?;
        let outputs = outputs.into_iter().map(|tensor| Tensor {
            shape: tensor.shape.iter().map(|dim| u32::try_from(*dim).unwrap_or(u32::MAX)).collect(),
            element: match tensor.element {
                infer::Element::F32 => Element::F32,
                infer::Element::I32 => Element::I32,
                infer::Element::I64 => Element::I64,
                infer::Element::U8 => Element::U8,
            },
            data: tensor.data,
        });
        Ok(outputs.collect())
    }

    fn metadata(&self, key: &str) -> Option<String> {
        self.0.metadata(key).map(str::to_owned)
    }
}

fn explained(error: infer::Error) -> InferenceError {
    match error {
        infer::Error::BadModel(reason) => InferenceError::BadModel(reason),
        infer::Error::BadInput(reason) => InferenceError::BadInput(reason),
        infer::Error::Failed(reason) => InferenceError::Failed(reason),
        error @ infer::Error::TooLarge { .. } => InferenceError::BadInput(error.to_string()),
    }
}
