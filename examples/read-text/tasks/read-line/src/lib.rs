//! Reads one line of text in a picture: cuts it out as if seen from the front, gives it to a recognition model, and turns
//! what the model says of each column into characters (greedy CTC decoding; Graves et al., Connectionist Temporal
//! Classification, ICML 2006).
//!
//! The characters come from the model's own metadata. Preparation is that of RapidOCR 1.4.4 with the same model, but
//! widths are rounded up to a few, because an agent prepares a model once for each shape.

mod alphabet;
mod strip;

use alphabet::Alphabet;
use eyot_raster::{Quad, decode};
use eyot_task::inference::Model;
use eyot_task::prelude::*;

/// Largest file and picture that is read.
const MAX_FILE_BYTES: u64 = 64 << 20;
const MAX_PIXELS: u64 = 16_000_000;

#[eyot_task::data]
pub struct Line {
    /// Which photo it is in, as it was given.
    pub photo: u32,
    pub text: String,
    /// How sure the model is of the characters, 0 to 1.
    pub score: f64,
    /// Where the line is, as it was given.
    pub quad: [[f64; 2]; 4],
}

/// Reads one line of text in a picture.
#[eyot_task::task(name = "read-text/read-line", version = "1.0.0", deterministic, needs("inference"))]
pub fn read_line(
    image: Blob,
    /// Corners of the line: top left, top right, bottom right, bottom left, in pixels of the picture.
    quad: [[f64; 2]; 4],
    /// A text recognition model (ONNX): 1 x 3 x 48 x width in, 1 x columns x characters out, the characters one a line
    /// in its metadata under `character`.
    model: Blob,
    /// Which photo this is; noted on the line.
    #[default]
    photo: u32,
) -> Result<Line, Failure> {
    let bytes = image.read_all(MAX_FILE_BYTES)?;
    let picture = decode(&bytes, MAX_PIXELS).map_err(|e| Failure::invalid_input(e.to_string()))?.image;
    let strip = strip::cut(&picture, &Quad::from_corners(quad))
        .or_invalid_input(format_args!("input `quad`: expected the corners of a line, found {quad:?}"))?;
    drop((bytes, picture));

    let model = Model::load(&model)?;
    let characters = model
        .metadata("character")
        .or_invalid_input("the model's metadata has no entry `character`: it is no reader of text")?;
    let alphabet = Alphabet::new(&characters);
    let output = model.compute_one(vec![strip::tensor(&strip)])?;
    let (text, score) = alphabet.decode(&output.to_f32()?).or_invalid_input(format_args!(
        "the model gave shape {:?} for {} characters",
        output.shape,
        alphabet.len()
    ))?;
    debug!("{text:?} ({score:.3})");
    Ok(Line { photo, text, score, quad })
}
