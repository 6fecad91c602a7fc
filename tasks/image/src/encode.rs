//! How a picture is written.

use eyot_raster::RgbImage;
use eyot_task::prelude::*;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};
use std::io::Write;

#[eyot_task::data]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Png,
    Jpeg,
    /// No file format: three bytes for each pixel (red, green, blue), row by row.
    Rgb,
}

pub(crate) fn write(picture: &RgbImage, format: Format, quality: u8) -> Result<Blob, Failure> {
    let (width, height) = picture.dimensions();
    let mut writer = BlobWriter::new();
    let written = match format {
        Format::Png => PngEncoder::new(&mut writer).write_image(picture.as_raw(), width, height, ExtendedColorType::Rgb8),
        Format::Jpeg => {
            JpegEncoder::new_with_quality(&mut writer, quality).write_image(picture.as_raw(), width, height, ExtendedColorType::Rgb8)
        }
        Format::Rgb => writer.write_all(picture.as_raw()).map_err(ImageError::IoError),
    };
    match written {
        Ok(()) => Ok(writer.finish()?),
        Err(ImageError::IoError(error)) => Err(error.into()),
        Err(error) => Err(Failure::permanent(format!("the picture could not be written: {error}"))),
    }
}
