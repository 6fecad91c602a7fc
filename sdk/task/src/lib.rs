//! What a Rust author of tasks imports. A typed function with an attribute is a task:
//!
//! ```
//! use eyot_task::prelude::*;
//!
//! #[eyot_task::data]
//! pub struct Counted {
//!     /// Lines of the text.
//!     lines: u64,
//! }
//!
//! /// Counts the lines of a text.
//! #[eyot_task::task]
//! pub fn count(text: Blob, #[default = false] skip_empty: bool) -> Result<Counted, Failure> {
//!     let text = text.read_to_string(1 << 20)?;
//!     let lines = text.lines().filter(|line| !skip_empty || !line.is_empty()).count();
//!     info!("{lines} lines");
//!     Ok(Counted { lines: lines as u64 })
//! }
//!
//! let host = eyot_task::testing::Host::new();
//! let text = host.blob(b"one\n\ntwo\n");
//! let outputs = host.run::<CountTask>(serde_json::json!({"text": text, "skip_empty": true})).unwrap();
//! assert_eq!(outputs["lines"], 2);
//! ```
//!
//! Compiled for `wasm32-wasip2` as a `cdylib`, the crate is a component that an agent runs: one task for each component.
//! Compiled for any other target, blobs, log, checkpoint and the rest are kept in memory ([`testing`]), so that the same
//! function runs in an ordinary unit test.
//!
//! The main types are [`Blob`] (bytes that the agent holds), [`Failure`] (how a task says no) and [`Task`], which the
//! attribute implements. This crate does not know workflows, the control plane or the network: a task sees its inputs
//! and what the workflow grants it, no more.

mod blob;
mod bytes;
pub mod checkpoint;
#[cfg(target_arch = "wasm32")]
mod component;
mod context;
mod describe;
mod failure;
pub mod inference;
mod inputs;
pub mod log;
mod outputs;
pub mod progress;
mod sys;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;

pub use blob::{Blob, BlobError, BlobReader, BlobWriter};
pub use bytes::Bytes;
pub use context::Context;
pub use describe::{Description, InputSchema};
pub use eyot_task_macros::{data, task};
pub use failure::{Failure, FailureKind, OrFail};
pub use inputs::{Input, Inputs};
pub use outputs::{Outcome, Output, Outputs};
pub use {schemars, serde, serde_json};

/// What almost every task needs: `use eyot_task::prelude::*;`.
pub mod prelude {
    pub use crate::{Blob, BlobWriter, Bytes, Context, Failure, OrFail, checkpoint, inference, progress};
    pub use crate::{debug, error, info, trace, warn};
    pub use schemars::JsonSchema;
    pub use serde::{Deserialize, Serialize};
}

/// A task as the agent sees it. The attribute [`macro@task`] implements it for a type named after the function: `resize`
/// gives `ResizeTask`.
pub trait Task {
    /// Names, schemas and needs, for the registry and for checks of workflows.
    fn describe() -> Description;

    /// Runs the task once.
    ///
    /// # Errors
    /// What the task says, and [`FailureKind::InvalidInput`] where inputs do not fit its function.
    fn run(inputs: Inputs) -> Result<Outputs, Failure>;
}

/// For the code that the macros make; not for authors.
#[doc(hidden)]
pub mod __private {
    #[cfg(target_arch = "wasm32")]
    pub use crate::component::{Exported, bindings, export};
    pub use crate::outputs::{Unwrapped, schema_of, unwrapped};
}

/// Makes a type that implements [`Task`] the export of this component. Elsewhere than in a component it does nothing.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ($task:ident) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Component = $crate::__private::Exported<$task>;
    $crate::__private::export!(Component with_types_in $crate::__private::bindings);
        };
    };
}
