//! The standard task `eyot/infer`: runs an ONNX model of the agent on tensors.
//!
//! ```yaml
//! uses: eyot/infer@1
//! grants: [inference]
//! with:
//!   model: "${{ inputs.model }}"
//!   tensors: [{shape: [1, 4], data: [[5.1, 3.5, 1.4, 0.2]]}]
//!   softmax: true
//!   top: 3
//! ```
//!
//! Tensors come as (nested) lists or as blobs of little-endian elements, and go out as lists where they are small. It does
//! not prepare pictures or texts for a model: that is a task of its own for each kind of model.

mod rank;
mod tensor;

pub use rank::Class;
pub use tensor::{Data, TensorValue};

use eyot_task::inference::Model;
use eyot_task::prelude::*;

#[eyot_task::data]
pub struct Inferred {
    /// Outputs of the model, in its order.
    pub tensors: Vec<TensorValue>,
    /// For each row of the first output its likeliest classes, where `top` was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top: Option<Vec<Vec<Class>>>,
}

/// Runs an ONNX model.
#[eyot_task::task(name = "eyot/infer", version = "1.0.0", deterministic, needs("inference"))]
pub fn infer(
    /// The model, as an ONNX file.
    model: Blob,
    /// Inputs of the model, in its order.
    tensors: Vec<TensorValue>,
    /// Turns the rows of the first output into likelihoods that add up to 1.
    #[default]
    softmax: bool,
    /// How many classes to name for each row of the first output, the likeliest first.
    top: Option<u32>,
    /// Names of the classes.
    labels: Option<Vec<String>>,
    /// Tensors of up to this many elements go out as lists, larger ones as blobs.
    #[default = 10_000]
    list: u32,
) -> Result<Inferred, Failure> {
    let inputs = tensors.into_iter().enumerate().map(|(at, tensor)| {
        tensor
            .into_tensor()
            .map_err(|failure| failure.while_doing(format_args!("input `tensors[{at}]`")))
    });
    let inputs = inputs.collect::<Result<Vec<_>, Failure>>()?;
    let mut outputs = Model::load(&model)?.compute(inputs)?;
    let mut ranked = None;
    if softmax || top.is_some() {
        let first = outputs.first_mut().or_permanent("the model has no output")?;
        let columns = first.shape.last().map_or(1, |columns| *columns as usize);
        let mut values = first.to_f32()?;
        if softmax && columns > 0 {
            values.chunks_mut(columns).for_each(rank::softmax);
            *first = inference::Tensor::f32(&first.shape, &values);
        }
        if let (Some(top), true) = (top, columns > 0) {
            let rows = values.chunks(columns).map(|row| rank::top(row, top as usize, labels.as_deref()));
            ranked = Some(rows.collect());
        }
    }
    let tensors = outputs.into_iter().map(|tensor| TensorValue::from_tensor(tensor, list as usize));
    Ok(Inferred {
        tensors: tensors.collect::<Result<_, _>>()?,
        top: ranked,
    })
}
