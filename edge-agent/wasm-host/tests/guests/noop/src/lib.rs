//! A task that does nothing: what the cost of an attempt is measured with.
// Its exports have names that only WebAssembly knows: on other targets this is an empty crate.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../../../sdk/wit", world: "eyot-task" });

use exports::eyot::task::task::{Description, Failure, Guest, NamedValue};

struct Noop;

impl Guest for Noop {
    fn describe() -> Description {
        Description {
            name: "noop".to_owned(),
            version: "1.2.3".to_owned(),
            inputs: "{}".to_owned(),
            outputs: "{}".to_owned(),
            idempotent: true,
            deterministic: true,
            needs: Vec::new(),
        }
    }

    fn run(_inputs: Vec<NamedValue>) -> Result<Vec<NamedValue>, Failure> {
        Ok(Vec::new())
    }
}

export!(Noop);
