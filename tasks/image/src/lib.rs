//! The standard task `eyot/image`: decodes a picture, cuts a part out, resizes it, writes it in one format whatever it
//! came in, and measures it.
//!
//! ```yaml
//! uses: eyot/image@1
//! with: {image: "${{ inputs.photo }}", resize: {longest: 960}, statistics: true}
//! ```
//!
//! The order is fixed: crop, resize, statistics. A broken picture is the caller's mistake (`invalid-input`) and says what
//! is wrong with it. It does not draw, and it does not read formats that cameras seldom write.

mod crop;
mod encode;
mod resize;
mod statistics;

pub use crop::Crop;
pub use encode::Format;
pub use resize::{Filter, Fit, Resize};
pub use statistics::{Channel, Statistics};

use eyot_raster::decode;
use eyot_task::prelude::*;

/// Largest file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 128 << 20;

/// The picture as it came in.
#[eyot_task::data]
pub struct Source {
    /// png, jpeg or bmp.
    pub format: String,
    pub width: u32,
    pub height: u32,
}

#[eyot_task::data]
pub struct Pictured {
    /// The new picture.
    pub image: Blob,
    pub format: Format,
    pub width: u32,
    pub height: u32,
    /// The picture as it came in, after it was turned upright.
    pub source: Source,
    /// Of the new picture, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub statistics: Option<Statistics>,
}

/// Decodes, crops, resizes and measures a picture.
#[eyot_task::task(name = "eyot/image", version = "1.0.0", deterministic)]
pub fn image(
    /// A PNG, JPEG or BMP file.
    image: Blob,
    /// The part to cut out, in pixels of the picture as it came in.
    crop: Option<Crop>,
    /// The new size. The shape of the picture is kept unless `fit` says otherwise.
    resize: Option<Resize>,
    /// How the new picture is written.
    #[default]
    format: Format,
    /// Quality of a JPEG, 1 to 100.
    #[default = 85]
    quality: u8,
    /// Whether to measure the new picture.
    #[default]
    statistics: bool,
    /// Largest number of pixels that is decoded. Raise the task's memory along with it.
    #[default = 24_000_000]
    max_pixels: u32,
) -> Result<Pictured, Failure> {
    if !(1..=100).contains(&quality) {
        return Err(Failure::invalid_input(format!(
            "input `quality`: expected 1 to 100, found {quality}"
        )));
    }
    let bytes = image.read_all(MAX_FILE_BYTES)?;
    let decoded = decode(&bytes, u64::from(max_pixels)).map_err(|e| Failure::invalid_input(e.to_string()))?;
    drop(bytes);
    let source = Source {
        format: decoded.format.name().to_owned(),
        width: decoded.image.width(),
        height: decoded.image.height(),
    };
    let mut picture = decoded.image;
    if let Some(crop) = crop {
        picture = crop.apply(picture, u64::from(max_pixels))?;
    }
    if let Some(resize) = resize {
        picture = resize.apply(picture, u64::from(max_pixels))?;
    }
    let statistics = statistics.then(|| Statistics::of(&picture));
    info!(
        "{} picture of {} x {} to {} x {}",
        source.format,
        source.width,
        source.height,
        picture.width(),
        picture.height()
    );
    Ok(Pictured {
        width: picture.width(),
        height: picture.height(),
        image: encode::write(&picture, format, quality)?,
        format,
        source,
        statistics,
    })
}
