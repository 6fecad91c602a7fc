//! Compares what the example's tasks read with what the models' own Python package reads, on the same pictures.
//!
//! The tasks run natively here, in the testing host of `eyot-task`, with the agent's own inference. The workflow that
//! joins them is tested by running it (`cargo xtask demo`).

mod models;
mod pipeline;
mod reference;
mod similarity;

pub use models::AgentModels;
pub use pipeline::{Files, Picture, Reader, example_folder};
pub use reference::{Expected, check, digest, expected_file, pictures};
pub use similarity::{Comparison, compare};

use serde::{Deserialize, Serialize};

/// A line of text in a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub text: String,
    /// 0 to 1.
    pub score: f64,
    /// Top left, top right, bottom right, bottom left.
    pub quad: [[f64; 2]; 4],
}

/// Lines that are less sure than this are dropped, as the package does.
pub const MIN_SCORE: f64 = 0.5;
