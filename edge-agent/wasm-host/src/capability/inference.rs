//! `inference`: models of the agent. In the linker only under the grant `inference`.

use super::State;
use crate::BlobRead;
use crate::bindings::eyot::task::inference::{Element as GuestElement, Host, HostModel, InferenceError, Tensor as GuestTensor};
use eyot_infer::{Element, Error, Model, Tensor};
use std::sync::Arc;
use wasmtime::component::Resource;

/// A model that a guest has loaded.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct LoadedModel(Arc<Model>);

impl Host for State {
    fn load(&mut self, digest: String) -> wasmtime::Result<Result<Resource<LoadedModel>, InferenceError>> {
        // The blob is opened even if the model is loaded: that is the check whether this task may use it.
        let (digest, mut reader) = match self.open_blob(&digest) {
            Ok(open) => open,
            Err(e) => return Ok(Err(InferenceError::BadModel(format!("its blob cannot be opened: {e:?}")))),
        };
        let Some(runtime) = self.services.inference() else {
            return Ok(Err(InferenceError::Failed("this agent runs no models".to_owned())));
        };
        let model = match runtime.load(digest, || read_all(reader.as_mut())) {
            Ok(model) => model,
            Err(e) => return Ok(Err(guest_error(&e))),
        };
        self.meter.check()?;
        Ok(Ok(self.table.push(LoadedModel(model))?))
    }
}

impl HostModel for State {
    fn compute(
        &mut self,
        model: Resource<LoadedModel>,
        inputs: Vec<GuestTensor>,
    ) -> wasmtime::Result<Result<Vec<GuestTensor>, InferenceError>> {
        // Nothing stops a model while it computes, so the limits are looked at before and after.
        self.meter.check()?;
        let model = Arc::clone(&self.table.get(&model)?.0);
        let outputs = model.compute(inputs.into_iter().map(from_guest).collect());
        self.meter.check()?;
        Ok(outputs
            .map_err(|e| guest_error(&e))
            .and_then(|outputs| outputs.into_iter().map(to_guest).collect()))
    }

    fn metadata(&mut self, model: Resource<LoadedModel>, key: String) -> wasmtime::Result<Option<String>> {
        Ok(self.table.get(&model)?.0.metadata(&key).map(str::to_owned))
    }

    fn drop(&mut self, model: Resource<LoadedModel>) -> wasmtime::Result<()> {
        self.table.delete(model)?;
        Ok(())
    }
}

fn read_all(reader: &mut dyn BlobRead) -> Result<Vec<u8>, Error> {
    let size = reader.size();
    if size > eyot_infer::MAX_MODEL_BYTES {
        return Err(Error::TooLarge {
            what: "model",
            bytes: size,
            limit: eyot_infer::MAX_MODEL_BYTES,
        });
    }
    let unreadable = |what: &dyn std::fmt::Display| Error::BadModel(format!("its blob cannot be read: {what}"));
    let mut bytes = vec![0; usize::try_from(size).map_err(|e| unreadable(&e))?];
    let got = reader.read_at(0, &mut bytes).map_err(|e| unreadable(&e))?;
    if got == bytes.len() {
        Ok(bytes)
    } else {
        Err(unreadable(&"it ends early"))
    }
}

fn from_guest(tensor: GuestTensor) -> Tensor {
    Tensor {
        shape: tensor.shape.iter().map(|dim| *dim as usize).collect(),
        element: match tensor.element {
            GuestElement::F32 => Element::F32,
            GuestElement::I32 => Element::I32,
            GuestElement::I64 => Element::I64,
            GuestElement::U8 => Element::U8,
        },
        data: tensor.data,
    }
}

fn to_guest(tensor: Tensor) -> Result<GuestTensor, InferenceError> {
    let shape = tensor.shape.iter().map(|dim| u32::try_from(*dim)).collect::<Result<_, _>>();
    Ok(GuestTensor {
        shape: shape.map_err(|e| InferenceError::Failed(format!("an output is too large: {e}")))?,
        element: match tensor.element {
            Element::F32 => GuestElement::F32,
            Element::I32 => GuestElement::I32,
            Element::I64 => GuestElement::I64,
            Element::U8 => GuestElement::U8,
        },
        data: tensor.data,
    })
}

fn guest_error(error: &Error) -> InferenceError {
    match error {
        Error::BadModel(_) => InferenceError::BadModel(error.to_string()),
        Error::BadInput(_) => InferenceError::BadInput(error.to_string()),
        Error::Failed(_) => InferenceError::Failed(error.to_string()),
        Error::TooLarge { what, .. } if *what == "model" => InferenceError::BadModel(error.to_string()),
        Error::TooLarge { .. } => InferenceError::BadInput(error.to_string()),
    }
}
