//! The component's face: generated bindings, and the export that calls a [`Task`].

use crate::{Bytes, Failure, FailureKind, Inputs, Outputs, Task, log};
use bindings::exports::eyot::task::task as exported;
use bindings::eyot::task::types::{self, NamedValue};
use serde_json::Value;
use std::marker::PhantomData;

// Generated: it passes pointers to the host as the canonical ABI asks.
#[allow(unsafe_code, unreachable_pub, unused_qualifications, clippy::all)]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../wit",
        world: "eyot-task",
        pub_export_macro: true,
        export_macro_name: "export_eyot_task",
    });
}

pub use bindings::export_eyot_task as export;

/// The export of a component whose task is `T`.
pub struct Exported<T>(PhantomData<T>);

impl<T: Task> exported::Guest for Exported<T> {
    fn describe() -> exported::Description {
        let description = T::describe();
        exported::Description {
            name: description.name,
            version: description.version,
            inputs: description.inputs.to_string(),
            outputs: description.outputs.to_string(),
            idempotent: description.idempotent,
            deterministic: description.deterministic,
            needs: description.needs,
        }
    }

    fn run(inputs: Vec<NamedValue>) -> Result<Vec<NamedValue>, types::Failure> {
        // A panic is a trap to the agent; what it said stands in the log.
        std::panic::set_hook(Box::new(|panic| log::log(log::Level::Error, format_args!("{panic}"))));
        let inputs = inputs.into_iter().map(|input| Ok((input.name, lifted(input.value)?)));
        let outputs = inputs
            .collect::<Result<Vec<_>, serde_json::Error>>()
            .map_err(|e| Failure::invalid_input(format!("the inputs are not JSON: {e}")))
            .map(Inputs::new)
            .and_then(T::run)
            .and_then(lowered);
        outputs.map_err(|failure| types::Failure {
            kind: match failure.kind() {
                FailureKind::InvalidInput => types::FailureKind::InvalidInput,
                FailureKind::Retryable => types::FailureKind::Retryable,
                FailureKind::Permanent => types::FailureKind::Permanent,
            },
            message: failure.message().to_owned(),
            details: failure.details().map(str::to_owned),
        })
    }
}

fn lifted(value: types::Value) -> Result<Value, serde_json::Error> {
    match value {
        types::Value::Json(text) | types::Value::Blob(text) => serde_json::from_str(&text),
        types::Value::Bytes(bytes) => serde_json::to_value(Bytes(bytes)),
    }
}

fn lowered(outputs: Outputs) -> Result<Vec<NamedValue>, Failure> {
    outputs
        .into_iter()
        .map(|(name, value)| {
            let value = match &value {
                Value::Object(map) if map.contains_key("$blob") => types::Value::Blob(value.to_string()),
                Value::Object(map) if map.contains_key("$bytes") => types::Value::Bytes(serde_json::from_value::<Bytes>(value)?.0),
                other => types::Value::Json(other.to_string()),
            };
            Ok(NamedValue { name, value })
        })
        .collect()
}
