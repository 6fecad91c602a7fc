//! Models on the agent: loads ONNX models with tract, once per agent, and runs them for every attempt that may use them.
//!
//! The main type is [`Runtime`]: it keeps loaded models by digest, within a bound of memory. A [`Model`] is shared by
//! all attempts; it is optimised once for each shape of its inputs, and how many such plans it keeps is bounded too.
//! Callers that have inputs of many sizes round them to a few (buckets), for each new shape costs an optimisation.
//!
//! It does not fetch models (it is given their bytes), knows no WebAssembly, and uses no GPU. A computation runs on the
//! caller's thread from begin to end: nothing can stop tract midway, so a limit on time or a cancellation takes effect
//! only before and after a computation. What is bounded is the size of models and of tensors.
//!
//! What comes from a task is checked before tract sees it, and a panic inside tract is an [`Error`], not the end of the
//! agent.

mod model;
mod plans;
mod runtime;
mod tensor;

pub use model::Model;
pub use runtime::Runtime;
pub use tensor::{Element, Tensor};

/// Most bytes of one model.
pub const MAX_MODEL_BYTES: u64 = 512 << 20;
/// Most bytes of all inputs, or of all outputs, of one computation.
pub const MAX_TENSOR_BYTES: usize = 512 << 20;

/// Why a model did not load or did not run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are no ONNX model, or one that cannot run here.
    #[error("model is not usable: {0}")]
    BadModel(String),
    /// The inputs do not fit the model: the caller's mistake.
    #[error("inputs do not fit the model: {0}")]
    BadInput(String),
    /// The model did not run to its end.
    #[error("model failed: {0}")]
    Failed(String),
    /// A model or a tensor is larger than the agent allows.
    #[error("{what} has {bytes} bytes, over the limit of {limit}")]
    TooLarge { what: &'static str, bytes: u64, limit: u64 },
}

/// What a panic said, as far as it said anything.
pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
        .unwrap_or_else(|| "panic without a message".to_owned())
}
