//! The new size of a picture.

use eyot_raster::RgbImage;
use eyot_task::prelude::*;
use image::imageops::{self, FilterType};

/// A new size. With `width` or `height` alone the other one follows; with `longest` alone, small pictures stay as they are.
#[eyot_task::data]
#[derive(Clone, Copy, Debug, Default)]
#[serde(deny_unknown_fields, default)]
pub struct Resize {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// The longest side has at most this many pixels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest: Option<u32>,
    /// What happens to the shape where both `width` and `height` are given.
    pub fit: Fit,
    pub filter: Filter,
}

#[eyot_task::data]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Fit {
    /// As large as fits into the size; the shape is kept.
    #[default]
    Contain,
    /// Fills the size; the shape is kept and what is over is cut off on both sides.
    Cover,
    /// Fills the size; the shape is not kept.
    Stretch,
}

#[eyot_task::data]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Filter {
    /// Sharp and slow.
    #[default]
    Lanczos,
    Cubic,
    /// Quick and good for making pictures smaller.
    Linear,
    /// No new colours.
    Nearest,
}

impl Resize {
    /// # Errors
    /// `invalid-input` where no size is given, sizes contradict each other, or the new picture would be empty or larger
    /// than `max_pixels`.
    pub fn apply(self, picture: RgbImage, max_pixels: u64) -> Result<RgbImage, Failure> {
        let filter = match self.filter {
            Filter::Lanczos => FilterType::Lanczos3,
            Filter::Cubic => FilterType::CatmullRom,
            Filter::Linear => FilterType::Triangle,
            Filter::Nearest => FilterType::Nearest,
        };
        let (picture, (width, height)) = match self.covered()? {
            Some(wanted) => (cut_to_shape(picture, wanted), wanted),
            None => {
                let size = self.size(picture.dimensions())?;
                (picture, size)
            }
        };
        if width == 0 || height == 0 || u64::from(width) * u64::from(height) > max_pixels {
            return Err(Failure::invalid_input(format!(
                "input `resize`: expected 1 to {max_pixels} pixels, found {width} x {height}"
            )));
        }
        if picture.dimensions() == (width, height) {
            return Ok(picture);
        }
        Ok(imageops::resize(&picture, width, height, filter))
    }

    /// The size that is to be covered.
    fn covered(self) -> Result<Option<(u32, u32)>, Failure> {
        match (self.fit, self.width, self.height) {
            (Fit::Cover, Some(width), Some(height)) if width > 0 && height > 0 => Ok(Some((width, height))),
            (Fit::Contain, ..) | (Fit::Stretch, Some(_), Some(_)) => Ok(None),
            (Fit::Cover | Fit::Stretch, ..) => Err(Failure::invalid_input("input `resize`: `fit` needs `width` and `height`")),
        }
    }

    fn size(self, (width, height): (u32, u32)) -> Result<(u32, u32), Failure> {
        let (w, h) = (f64::from(width), f64::from(height));
        let scaled = |by: f64| ((w * by).round().max(1.0) as u32, (h * by).round().max(1.0) as u32);
        let size = match (self.width, self.height, self.longest) {
            (Some(width), Some(height), None) if self.fit == Fit::Stretch => (width, height),
            (Some(width), Some(height), None) => {
                let (across, down) = (f64::from(width) / w, f64::from(height) / h);
                if width == 0 || height == 0 {
                    (0, 0)
                } else {
                    scaled(across.min(down))
                }
            }
            (Some(width), None, None) => (width, scaled(f64::from(width) / w).1),
            (None, Some(height), None) => (scaled(f64::from(height) / h).0, height),
            (None, None, Some(0)) => (0, 0),
            (None, None, Some(longest)) => scaled((f64::from(longest) / w.max(h)).min(1.0)),
            (None, None, None) => return Err(Failure::invalid_input("input `resize`: expected `width`, `height` or `longest`")),
            (_, _, Some(_)) => {
                return Err(Failure::invalid_input(
                    "input `resize`: `longest` stands alone, found `width` or `height` beside it",
                ));
            }
        };
        Ok(size)
    }
}

/// Cuts the middle out, in the shape of `width` x `height`.
fn cut_to_shape(picture: RgbImage, (width, height): (u32, u32)) -> RgbImage {
    let (w, h) = (u64::from(picture.width()), u64::from(picture.height()));
    let (wanted_w, wanted_h) = (u64::from(width), u64::from(height));
    let (cut_w, cut_h) = if w * wanted_h > h * wanted_w {
        ((h * wanted_w / wanted_h).max(1), h)
    } else {
        (w, (w * wanted_h / wanted_w).max(1))
    };
    // Both are at most what they were cut from, so they fit.
    let (x, y) = (((w - cut_w) / 2) as u32, ((h - cut_h) / 2) as u32);
    imageops::crop_imm(&picture, x, y, cut_w as u32, cut_h as u32).to_image()
}
