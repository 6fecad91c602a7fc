//! From a picture to what the model takes.

use eyot_raster::{RgbImage, scale_linear};
use eyot_task::inference::Tensor;

/// The shorter side is made at least this long.
const SHORT_SIDE: f64 = 736.0;
/// The model halves its input five times.
const MULTIPLE: f64 = 32.0;
/// No side is made longer than this, however narrow the picture is.
const LONGEST_SIDE: u32 = 4_096;

pub(crate) struct Prepared {
    pub(crate) tensor: Tensor,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Prepared {
    /// None where nothing of the picture is left.
    pub(crate) fn of(picture: &RgbImage) -> Option<Self> {
        let (width, height) = size_for(picture.width(), picture.height())?;
        let scaled = scale_linear(picture, width, height);
        Some(Self {
            tensor: normalised(&scaled),
            width,
            height,
        })
    }
}

fn size_for(width: u32, height: u32) -> Option<(u32, u32)> {
    let shorter = f64::from(width.min(height));
    if shorter < 1.0 {
        return None;
    }
    let ratio = (SHORT_SIDE / shorter).max(1.0);
    // Halves go to the even number, as in the reference.
    let side = |len: u32| ((f64::from(len) * ratio).floor() / MULTIPLE).round_ties_even() * MULTIPLE;
    let (width, height) = (side(width) as u32, side(height) as u32);
    (width > 0 && height > 0 && width.max(height) <= LONGEST_SIDE).then_some((width, height))
}

/// -1 to 1, planes of blue, green and red: the order that the model learned.
fn normalised(picture: &RgbImage) -> Tensor {
    let plane = |channel: usize| picture.pixels().map(move |pixel| f32::from(pixel[channel]) / 127.5 - 1.0);
    let values: Vec<f32> = plane(2).chain(plane(1)).chain(plane(0)).collect();
    Tensor::f32(&[1, 3, picture.height(), picture.width()], &values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_multiples_and_keep_the_shape_roughly() {
        for (given, wanted) in [
            ((384, 191), Some((1472, 736))),
            ((448, 172), Some((1920, 736))),
            ((600, 400), Some((1088, 736))),
            ((1411, 1411), Some((1408, 1408))),
            ((0, 5), None),
            ((10_000, 10), None),
        ] {
            assert_eq!(size_for(given.0, given.1), wanted, "{given:?}");
        }
    }
}
