//! Pixels between pixels.

use crate::{Point, Quad};
use image::{Rgb, RgbImage};

/// Scales by linear interpolation between the nearest pixels, without smoothing what is made smaller: that is how text
/// readers were trained. For pictures that people look at use a filter of the crate `image`.
#[must_use]
pub fn scale_linear(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    if image.dimensions() == (width, height) {
        return image.clone();
    }
    let (columns, rows) = (Axis::new(image.width(), width), Axis::new(image.height(), height));
    let mut scaled = RgbImage::new(width, height);
    let source = image.as_raw();
    let row_bytes = image.width() as usize * 3;
    for (row, out) in rows.0.iter().zip(scaled.chunks_exact_mut((width as usize * 3).max(1))) {
        let above = &source[row.low * row_bytes..][..row_bytes];
        let below = &source[row.high * row_bytes..][..row_bytes];
        for (column, pixel) in columns.0.iter().zip(out.chunks_exact_mut(3)) {
            for (channel, value) in pixel.iter_mut().enumerate() {
                let at = |line: &[u8], x: usize| f32::from(line[x * 3 + channel]);
                let top = at(above, column.low) + (at(above, column.high) - at(above, column.low)) * column.weight;
                let bottom = at(below, column.low) + (at(below, column.high) - at(below, column.low)) * column.weight;
                *value = (top + (bottom - top) * row.weight + 0.5) as u8;
            }
        }
    }
    scaled
}

/// For each new pixel of one axis the two old ones around its centre, and the weight of the second.
struct Axis(Vec<Between>);

struct Between {
    low: usize,
    high: usize,
    weight: f32,
}

impl Axis {
    fn new(from: u32, to: u32) -> Self {
        let step = f64::from(from) / f64::from(to.max(1));
        let last = from.saturating_sub(1) as usize;
        let between = (0..to).map(|i| {
            let centre = ((f64::from(i) + 0.5) * step - 0.5).max(0.0);
            let low = (centre as usize).min(last);
            Between {
                low,
                high: (low + 1).min(last),
                weight: if low == last { 0.0 } else { (centre - low as f64) as f32 },
            }
        });
        Self(between.collect())
    }
}

/// Cuts out what lies in `quad` as a picture of `width` x `height`, by cubic interpolation. Beyond the edge of the picture
/// its outermost pixels go on. None where the corners make no quadrilateral.
#[must_use]
pub fn warp(image: &RgbImage, quad: &Quad, width: u32, height: u32) -> Option<RgbImage> {
    if image.width() == 0 || image.height() == 0 {
        return None;
    }
    let map = quad.map_from_rectangle(f64::from(width), f64::from(height))?;
    Some(RgbImage::from_fn(width, height, |x, y| {
        cubic(image, map.apply(Point::new(f64::from(x), f64::from(y))))
    }))
}

/// Keys, Cubic convolution interpolation (1981), with the parameter -0.75.
fn cubic(image: &RgbImage, at: Point) -> Rgb<u8> {
    // A point near the horizon of the map may be anywhere.
    let bounded = |v: f64, len: u32| v.clamp(-2.0, f64::from(len) + 2.0);
    let (x, y) = (bounded(at.x, image.width()), bounded(at.y, image.height()));
    let (left, top) = (x.floor(), y.floor());
    let (across, down) = (cubic_weights(x - left), cubic_weights(y - top));
    let clamped = |v: f64, len: u32| (v.max(0.0) as u32).min(len - 1);
    let mut sum = [0.0; 3];
    for (j, weight_y) in down.iter().enumerate() {
        let row = clamped(top + j as f64 - 1.0, image.height());
        for (i, weight_x) in across.iter().enumerate() {
            let pixel = image.get_pixel(clamped(left + i as f64 - 1.0, image.width()), row);
            for (total, channel) in sum.iter_mut().zip(pixel.0) {
                *total += weight_x * weight_y * f64::from(channel);
            }
        }
    }
    Rgb(sum.map(|channel: f64| channel.round().clamp(0.0, 255.0) as u8))
}

fn cubic_weights(t: f64) -> [f64; 4] {
    const A: f64 = -0.75;
    let near = |d: f64| ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0;
    let far = |d: f64| ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A;
    [far(1.0 + t), near(t), near(1.0 - t), far(2.0 - t)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 4) as u8, (y * 4) as u8, 7]))
    }

    #[test]
    fn the_same_size_is_the_same_picture() {
        let image = ramp(30, 20);
        assert_eq!(scale_linear(&image, 30, 20), image);
        let whole = Quad::from_corners([[0.0, 0.0], [30.0, 0.0], [30.0, 20.0], [0.0, 20.0]]);
        assert_eq!(warp(&image, &whole, 30, 20).unwrap(), image);
    }

    #[test]
    fn a_ramp_stays_a_ramp() {
        let scaled = scale_linear(&ramp(30, 20), 60, 40);
        for (x, y, pixel) in scaled.enumerate_pixels() {
            let expected = |v: u32, last: u32| ((f64::from(v) - 0.5) / 2.0).clamp(0.0, f64::from(last)) * 4.0;
            assert!((f64::from(pixel[0]) - expected(x, 29)).abs() <= 1.0, "{x}");
            assert!((f64::from(pixel[1]) - expected(y, 19)).abs() <= 1.0, "{y}");
            assert_eq!(pixel[2], 7);
        }
    }

    #[test]
    fn a_turned_box_comes_out_upright() {
        let image = ramp(40, 40);
        // Standing text: its top is on the left, so it reads from the bottom to the top.
        let quad = Quad::from_corners([[10.0, 30.0], [10.0, 10.0], [20.0, 10.0], [20.0, 30.0]]);
        let upright = warp(&image, &quad, 20, 10).unwrap();
        assert_eq!(upright.get_pixel(0, 0), image.get_pixel(10, 30));
        assert_eq!(upright.get_pixel(19, 9), image.get_pixel(19, 11));
    }

    #[test]
    fn beyond_the_edge_the_outermost_pixels_go_on() {
        let image = ramp(8, 8);
        let quad = Quad::from_corners([[-50.0, 0.0], [0.0, 0.0], [0.0, 8.0], [-50.0, 8.0]]);
        let beyond = warp(&image, &quad, 10, 8).unwrap();
        assert!(beyond.pixels().all(|pixel| pixel[0] == 0));
    }

    #[test]
    fn degenerate_sizes_are_no_panic() {
        assert_eq!(scale_linear(&ramp(5, 5), 0, 3).dimensions(), (0, 3));
        assert_eq!(scale_linear(&ramp(1, 1), 4, 3).dimensions(), (4, 3));
        let quad = Quad::from_corners([[0.0, 0.0], [1e308, 0.0], [1e308, 1e308], [0.0, 1e308]]);
        assert!(warp(&ramp(5, 5), &quad, 3, 3).is_none_or(|image| image.dimensions() == (3, 3)));
    }
}
