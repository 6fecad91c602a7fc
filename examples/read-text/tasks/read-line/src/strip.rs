//! A line of text as the model takes it.

use eyot_raster::{Quad, RgbImage, scale_linear, warp};
use eyot_task::inference::Tensor;

/// Height of all lines, in pixels.
const HEIGHT: u32 = 48;
/// The least width that the model was trained with.
const MIN_WIDTH: u32 = 320;
/// Widths are rounded up to multiples of this, so that the agent prepares the model for a few shapes only.
const STEP: u32 = 160;
/// Longer lines are pressed together.
const MAX_WIDTH: u32 = 3_200;
/// A part this much taller than wide is text that stands on its side.
const STANDING: f64 = 1.5;

/// Cuts a line out and lays it down. None where the corners make no quadrilateral.
pub(crate) fn cut(picture: &RgbImage, quad: &Quad) -> Option<RgbImage> {
    let (width, height) = (quad.width().floor(), quad.height().floor());
    let fits = |len: f64| (1.0..=16_384.0).contains(&len);
    if !fits(width) || !fits(height) || width * height > 16e6 {
        return None;
    }
    if height / width < STANDING {
        return warp(picture, quad, width as u32, height as u32);
    }
    // Read from the bottom to the top: what was on the right is the new top.
    let [a, b, c, d] = quad.0;
    let upright = warp(picture, &Quad([a, b, c, d]), width as u32, height as u32)?;
    let last = upright.width() - 1;
    Some(RgbImage::from_fn(upright.height(), upright.width(), |x, y| {
        *upright.get_pixel(last - y, x)
    }))
}

/// Scaled to the model's height, -1 to 1, planes of blue, green and red, grey behind the end of the line.
pub(crate) fn tensor(strip: &RgbImage) -> Tensor {
    let ratio = f64::from(strip.width()) / f64::from(strip.height().max(1));
    let scaled_width = ((f64::from(HEIGHT) * ratio).ceil() as u32).clamp(1, MAX_WIDTH);
    let width = padded_width(scaled_width);
    let scaled = scale_linear(strip, scaled_width, HEIGHT);
    let plane = (HEIGHT * width) as usize;
    let mut values = vec![0.0; 3 * plane];
    for (x, y, pixel) in scaled.enumerate_pixels() {
        let at = (y * width + x) as usize;
        for (channel, place) in [(2, at), (1, plane + at), (0, 2 * plane + at)] {
            values[place] = f32::from(pixel[channel]) / 127.5 - 1.0;
        }
    }
    Tensor::f32(&[1, 3, HEIGHT, width], &values)
}

fn padded_width(width: u32) -> u32 {
    width.max(MIN_WIDTH).div_ceil(STEP) * STEP
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_few() {
        for (width, padded) in [(1, 320), (320, 320), (321, 480), (480, 480), (900, 960), (MAX_WIDTH, MAX_WIDTH)] {
            assert_eq!(padded_width(width), padded);
        }
    }

    #[test]
    fn standing_text_is_laid_down() {
        let mut picture = RgbImage::new(40, 100);
        // The end of the line, at the top when it reads upwards.
        picture.put_pixel(12, 11, [255, 0, 0].into());
        let quad = Quad::from_corners([[10.0, 10.0], [20.0, 10.0], [20.0, 90.0], [10.0, 90.0]]);
        let strip = cut(&picture, &quad).unwrap();
        assert_eq!(strip.dimensions(), (80, 10));
        // Turned against the clock: the top is on the left now.
        assert_eq!(strip.get_pixel(1, 7).0, [255, 0, 0]);
    }

    #[test]
    fn the_tensor_has_the_picture_on_its_left_and_grey_behind_it() {
        let strip = RgbImage::from_pixel(96, 24, [255, 0, 127].into());
        let tensor = tensor(&strip);
        assert_eq!(tensor.shape, [1, 3, 48, 320]);
        let values = tensor.to_f32().unwrap();
        let plane = 48 * 320;
        assert_eq!((values[plane], values[2 * plane], values[2 * plane + 191]), (-1.0, 1.0, 1.0));
        assert_eq!((values[192], values[plane + 192], values[2 * plane + 319]), (0.0, 0.0, 0.0));
    }

    #[test]
    fn what_is_no_line_is_refused() {
        let picture = RgbImage::new(10, 10);
        for corners in [
            [[0.0, 0.0]; 4],
            [[0.0, 0.0], [1e9, 0.0], [1e9, 1e9], [0.0, 1e9]],
            [[f64::NAN; 2]; 4],
        ] {
            assert!(cut(&picture, &Quad::from_corners(corners)).is_none(), "{corners:?}");
        }
    }
}
