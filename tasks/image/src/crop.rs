//! The part of a picture that is cut out.

use eyot_raster::{Quad, RgbImage, warp};
use eyot_task::prelude::*;

/// A box, or the four corners of anything flat that is seen at an angle.
#[eyot_task::data]
#[derive(Clone, Copy, Debug)]
#[serde(
    untagged,
    expecting = "expected a box {x, y, width, height} or corners {quad: [[x, y], [x, y], [x, y], [x, y]]}"
)]
pub enum Crop {
    Box(BoxCrop),
    Quad(QuadCrop),
}

/// An upright box. It must lie within the picture.
#[eyot_task::data]
#[derive(Clone, Copy, Debug)]
#[serde(deny_unknown_fields)]
pub struct BoxCrop {
    /// From the left edge to the box.
    pub x: u32,
    /// From the top edge to the box.
    pub y: u32,
    pub width: u32,
    pub height: u32,
}

/// Four corners, which become those of the new picture. They may lie outside of the picture: its edge goes on there.
#[eyot_task::data]
#[derive(Clone, Copy, Debug)]
#[serde(deny_unknown_fields)]
pub struct QuadCrop {
    /// Top left, top right, bottom right, bottom left, each `[x, y]`.
    pub quad: [[f64; 2]; 4],
}

impl Crop {
    /// # Errors
    /// `invalid-input` where the part is empty, not in the picture, or no quadrilateral.
    pub fn apply(self, picture: RgbImage, max_pixels: u64) -> Result<RgbImage, Failure> {
        match self {
            Self::Box(part) => part.apply(&picture),
            Self::Quad(part) => part.apply(&picture, max_pixels),
        }
    }
}

impl BoxCrop {
    fn apply(self, picture: &RgbImage) -> Result<RgbImage, Failure> {
        let Self { x, y, width, height } = self;
        let within = |from: u32, len: u32, all: u32| len > 0 && from.checked_add(len).is_some_and(|end| end <= all);
        if !within(x, width, picture.width()) || !within(y, height, picture.height()) {
            return Err(Failure::invalid_input(format!(
                "input `crop`: expected a box within {} x {} pixels, found {width} x {height} at ({x}, {y})",
                picture.width(),
                picture.height()
            )));
        }
        Ok(image::imageops::crop_imm(picture, x, y, width, height).to_image())
    }
}

impl QuadCrop {
    fn apply(self, picture: &RgbImage, max_pixels: u64) -> Result<RgbImage, Failure> {
        let quad = Quad::from_corners(self.quad);
        let refused = |what: &str| Failure::invalid_input(format!("input `crop`: {what}, found {:?}", self.quad));
        let (width, height) = (quad.width().round(), quad.height().round());
        // Casts saturate, so what is no number or too large is caught by the bound.
        if !(width >= 1.0 && height >= 1.0) || width * height > max_pixels as f64 {
            return Err(refused(&format!("expected corners around 1 to {max_pixels} pixels")));
        }
        warp(picture, &quad, width as u32, height as u32)
            .ok_or_else(|| refused("expected the corners of a convex shape in the order top left, top right, bottom right, bottom left"))
    }
}
