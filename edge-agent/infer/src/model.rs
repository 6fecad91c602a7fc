//! A loaded model.

use crate::plans::{Plan, Plans, Signature};
use crate::tensor::too_large;
use crate::{Error, MAX_MODEL_BYTES, MAX_TENSOR_BYTES, Tensor, panic_text};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid;
use tract_onnx::tract_hir::internal::DimLike;

/// An ONNX model, ready to compute. Shared by all attempts of the agent.
pub struct Model {
    graph: InferenceModel,
    inputs: Vec<Declared>,
    metadata: BTreeMap<String, String>,
    plans: Plans,
    /// Length of the ONNX file.
    file_bytes: u64,
}

/// What a model says of one of its inputs; None where it leaves that open.
struct Declared {
    name: String,
    datum: Option<DatumType>,
    shape: Option<Vec<Option<usize>>>,
}

impl Model {
    /// Reads an ONNX model. Models that keep their weights in other files are refused.
    ///
    /// # Errors
    /// [`Error::TooLarge`], or [`Error::BadModel`] if tract cannot read it.
    pub fn read(bytes: &[u8]) -> Result<Self, Error> {
        let file_bytes = bytes.len() as u64;
        if file_bytes > MAX_MODEL_BYTES {
            return Err(Error::TooLarge {
                what: "model",
                bytes: file_bytes,
                limit: MAX_MODEL_BYTES,
            });
        }
        catch_unwind(AssertUnwindSafe(|| Self::parse(bytes, file_bytes)))
            .map_err(|panic| Error::BadModel(panic_text(&*panic)))?
            .map_err(|e| Error::BadModel(format!("{e:#}")))
    }

    fn parse(mut bytes: &[u8], file_bytes: u64) -> TractResult<Self> {
        // What a model says of its outputs and of values inside is often wrong for other input sizes than the
        // exporter's; tract works them out itself.
        let onnx = onnx().with_ignore_output_shapes(true).with_ignore_value_info(true);
        let proto = onnx.proto_model_for_read(&mut bytes)?;
        let metadata = proto
            .metadata_props
            .iter()
            .map(|entry| (entry.key.clone(), entry.value.clone()))
            .collect();
        let graph = onnx.model_for_proto_model(&proto)?;
        let inputs = graph
            .input_outlets()?
            .iter()
            .map(|outlet| {
                let fact = graph.outlet_fact(*outlet)?;
                let closed = fact.shape.rank().concretize().is_some();
                Ok(Declared {
                    name: graph.node(outlet.node).name.clone(),
                    datum: fact.datum_type.concretize(),
                    shape: closed.then(|| {
                        fact.shape
                            .dims()
                            .map(|dim| dim.concretize().and_then(|d| d.to_usize().ok()))
                            .collect()
                    }),
                })
            })
            .collect::<TractResult<_>>()?;
        Ok(Self {
            graph,
            inputs,
            metadata,
            plans: Plans::default(),
            file_bytes,
        })
    }

    /// An entry of the model's own metadata (ONNX `metadata_props`), such as the characters of a text reader.
    #[must_use]
    pub fn metadata(&self, key: &str) -> Option<&str> {
        self.metadata.get(key).map(String::as_str)
    }

    /// Names of the inputs, in the order in which [`Self::compute`] takes them.
    pub fn input_names(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| input.name.as_str())
    }

    /// Runs the model on this thread, to its end. Inputs and outputs are in the order of the model. The first call with
    /// inputs of some shape optimises the model for it, which can take as long as many computations.
    ///
    /// # Errors
    /// [`Error::BadInput`] or [`Error::TooLarge`] if the inputs do not fit, [`Error::Failed`] if the model does not run.
    pub fn compute(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, Error> {
        self.check(&inputs)?;
        let signature: Signature = inputs.iter().map(|input| (input.element, input.shape.clone())).collect();
        let plan = self.plans.get(&self.graph, signature)?;
        let inputs = inputs
            .into_iter()
            .map(|input| input.into_tract().map(|tensor| tensor.into_tvalue()))
            .collect::<Result<TVec<TValue>, Error>>()?;
        let outputs = run(&plan, inputs)?;
        let bytes = outputs
            .iter()
            .map(|output| output.len().saturating_mul(output.datum_type().size_of()))
            .sum();
        if bytes > MAX_TENSOR_BYTES {
            return Err(too_large(bytes));
        }
        outputs
            .iter()
            .enumerate()
            .map(|(index, output)| Tensor::from_tract(index, output))
            .collect()
    }

    /// About how much memory the model takes: its file, and about as much again for each plan.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.file_bytes.saturating_mul(1 + self.plans.len() as u64)
    }

    /// tract indexes its inputs without a check, so all is checked here.
    fn check(&self, inputs: &[Tensor]) -> Result<(), Error> {
        if inputs.len() != self.inputs.len() {
            let names: Vec<&str> = self.input_names().collect();
            return Err(Error::BadInput(format!(
                "the model takes {} inputs ({}), {} were given",
                names.len(),
                names.join(", "),
                inputs.len()
            )));
        }
        let mut bytes = 0usize;
        for (index, (input, declared)) in inputs.iter().zip(&self.inputs).enumerate() {
            input.check(index)?;
            declared.check(input)?;
            bytes = bytes.saturating_add(input.data.len());
        }
        if bytes > MAX_TENSOR_BYTES { Err(too_large(bytes)) } else { Ok(()) }
    }
}

impl Declared {
    fn check(&self, input: &Tensor) -> Result<(), Error> {
        let given = input.element.datum();
        if let Some(datum) = self.datum
            && datum != given
        {
            return Err(Error::BadInput(format!("input `{}` is {datum:?}, {given:?} was given", self.name)));
        }
        let Some(shape) = &self.shape else { return Ok(()) };
        let fits = shape.len() == input.shape.len()
            && shape
                .iter()
                .zip(&input.shape)
                .all(|(declared, given)| declared.is_none_or(|declared| declared == *given));
        if fits {
            return Ok(());
        }
        let declared: Vec<String> = shape.iter().map(|dim| dim.map_or("?".to_owned(), |d| d.to_string())).collect();
        Err(Error::BadInput(format!(
            "input `{}` has shape [{}], {:?} was given",
            self.name,
            declared.join(", "),
            input.shape
        )))
    }
}

fn run(plan: &Plan, inputs: TVec<TValue>) -> Result<TVec<TValue>, Error> {
    catch_unwind(AssertUnwindSafe(|| plan.run(inputs)))
        .map_err(|panic| Error::Failed(panic_text(&*panic)))?
        .map_err(|e| Error::Failed(format!("{e:#}")))
}
