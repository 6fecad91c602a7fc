//! The optimised forms of one model, by the shapes of its inputs.

use crate::{Element, Error, panic_text};
use parking_lot::Mutex;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use tract_onnx::prelude::*;

/// Most plans kept for one model; each takes about as much memory as the model.
pub(crate) const MAX_PLANS: usize = 8;

/// Type and shape of each input.
pub(crate) type Signature = Vec<(Element, Vec<usize>)>;
pub(crate) type Plan = Arc<TypedRunnableModel>;
type Slot = Arc<OnceLock<Result<Plan, Error>>>;

/// The most recently used plan is last.
#[derive(Default)]
pub(crate) struct Plans(Mutex<Vec<(Signature, Slot)>>);

impl Plans {
    /// The plan for inputs of this signature, made now if there is none. Callers with the same signature wait for one
    /// another, others do not.
    pub(crate) fn get(&self, model: &InferenceModel, signature: Signature) -> Result<Plan, Error> {
        let slot = self.slot(signature.clone());
        slot.get_or_init(|| optimise(model, &signature)).clone()
    }

    fn slot(&self, signature: Signature) -> Slot {
        let mut plans = self.0.lock();
        let entry = match plans.iter().position(|(known, _)| *known == signature) {
            Some(at) => plans.remove(at),
            None => {
                if plans.len() >= MAX_PLANS {
                    plans.remove(0);
                }
                (signature, Slot::default())
            }
        };
        let slot = Arc::clone(&entry.1);
        plans.push(entry);
        slot
    }

    /// How many plans are held.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().len()
    }
}

fn optimise(model: &InferenceModel, signature: &Signature) -> Result<Plan, Error> {
    catch_unwind(AssertUnwindSafe(|| {
        let mut model = model.clone();
        for (index, (element, shape)) in signature.iter().enumerate() {
            model.set_input_fact(index, InferenceFact::dt_shape(element.datum(), shape))?;
        }
        model.into_optimized()?.into_runnable()
    }))
    .map_err(|panic| Error::Failed(panic_text(&*panic)))?
    .map_err(|e: TractError| Error::BadInput(format!("shapes {:?} do not run: {e:#}", shapes(signature))))
}

fn shapes(signature: &Signature) -> Vec<&[usize]> {
    signature.iter().map(|(_, shape)| shape.as_slice()).collect()
}
