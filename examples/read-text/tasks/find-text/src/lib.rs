//! Finds lines of text in a picture with a model of the DB family (Liao et al., Real-time Scene Text Detection with
//! Differentiable Binarization, AAAI 2020).
//!
//! The model says for each pixel how likely it lies in text. What is likely is gathered into connected regions
//! ([`region`]); each region becomes the smallest rectangle around it ([`rectangle`]), which is grown again because the
//! model learned shrunken text; and rectangles are put in reading order. Preparation and thresholds are those that
//! RapidOCR 1.4.4 uses with the same model.

mod prepare;
mod rectangle;
mod region;

use eyot_raster::{Quad, decode};
use eyot_task::inference::Model;
use eyot_task::prelude::*;
use prepare::Prepared;
use rectangle::Rectangle;
use region::{Map, regions};

/// Largest file and picture that is read.
const MAX_FILE_BYTES: u64 = 64 << 20;
const MAX_PIXELS: u64 = 16_000_000;
/// Pixels that are more likely text than this make regions.
const PIXEL_THRESHOLD: f32 = 0.3;
/// Rectangles that are on average less likely text than this are dropped.
const BOX_THRESHOLD: f64 = 0.5;
/// How much a rectangle grows: by its area times this, divided by its circumference, on every side.
const GROWTH: f64 = 1.6;
/// Shorter sides are no text, in pixels of the map; before growth and after it.
const MIN_SIDE: f64 = 3.0;
const MIN_GROWN_SIDE: f64 = 5.0;
/// Most boxes of one picture.
const MAX_BOXES: usize = 1_000;
/// Boxes whose tops differ by less than this are on one line, in pixels of the picture.
const SAME_LINE: f64 = 10.0;

/// A line of text that was found.
#[eyot_task::data]
#[derive(Clone, Debug)]
pub struct Found {
    /// Which photo it is in, as it was given.
    pub photo: u32,
    /// The picture that it was found in.
    pub image: Blob,
    /// Top left, top right, bottom right, bottom left, in pixels of the picture.
    pub quad: [[f64; 2]; 4],
    /// How likely it is text, 0 to 1.
    pub score: f64,
}

#[eyot_task::data]
pub struct FoundText {
    /// In reading order.
    pub lines: Vec<Found>,
}

/// Finds lines of text in a picture.
#[eyot_task::task(name = "read-text/find-text", version = "1.0.0", deterministic, needs("inference"))]
pub fn find_text(
    image: Blob,
    /// A text detection model (ONNX): 1 x 3 x height x width in, 1 x 1 x height x width out.
    model: Blob,
    /// Which photo this is; noted on every line.
    #[default]
    photo: u32,
) -> Result<FoundText, Failure> {
    let bytes = image.read_all(MAX_FILE_BYTES)?;
    let picture = decode(&bytes, MAX_PIXELS).map_err(|e| Failure::invalid_input(e.to_string()))?.image;
    let size = picture.dimensions();
    let prepared = Prepared::of(&picture).or_invalid_input(format_args!("a picture of {} x {} pixels is too small", size.0, size.1))?;
    drop((bytes, picture));

    let (width, height) = (prepared.width as usize, prepared.height as usize);
    let output = Model::load(&model)?.compute_one(vec![prepared.tensor])?;
    let map = Map::new(width, height, output.to_f32()?).or_invalid_input(format_args!(
        "the model gave shape {:?} for {width} x {height} pixels",
        output.shape
    ))?;
    let boxes = boxes(&map, size);
    info!(
        "{} lines in {} x {} pixels, seen as {width} x {height}",
        boxes.len(),
        size.0,
        size.1
    );
    let lines = boxes.into_iter().map(|(quad, score)| Found {
        photo,
        image: image.clone(),
        quad: quad.corners(),
        score,
    });
    Ok(FoundText { lines: lines.collect() })
}

/// The boxes of text in the map of a picture of `size`, in reading order, with their scores.
fn boxes(map: &Map, size: (u32, u32)) -> Vec<(Quad, f64)> {
    let mut found = Vec::new();
    for region in regions(map, PIXEL_THRESHOLD) {
        let Some(rectangle) = Rectangle::around(&region).filter(|r| r.short_side() >= MIN_SIDE) else {
            continue;
        };
        let score = map.mean_within(&rectangle.corners());
        if score < BOX_THRESHOLD {
            continue;
        }
        let grown = rectangle.grown(rectangle.area() * GROWTH / rectangle.circumference());
        if grown.short_side() >= MIN_GROWN_SIDE
            && let Some(quad) = in_picture(&grown, map, size)
        {
            found.push((quad, score));
        }
        if found.len() == MAX_BOXES {
            break;
        }
    }
    reading_order(&mut found);
    found
}

/// From the map to whole pixels of the picture. None where less than a few pixels are left.
fn in_picture(rectangle: &Rectangle, map: &Map, (width, height): (u32, u32)) -> Option<Quad> {
    let place = |v: f64, from: usize, to: u32| {
        (v / from as f64 * f64::from(to))
            .round()
            .clamp(0.0, f64::from(to.saturating_sub(1)))
    };
    let corners = rectangle
        .upright_corners()
        .map(|p| [place(p.x, map.width, width), place(p.y, map.height, height)]);
    let quad = Quad::from_corners(corners);
    let [top_left, top_right, _, bottom_left] = quad.0;
    (top_left.distance(top_right) >= 4.0 && top_left.distance(bottom_left) >= 4.0 && quad.is_convex()).then_some(quad)
}

/// From top to bottom, and from left to right where boxes are on one line.
fn reading_order(boxes: &mut [(Quad, f64)]) {
    let top_left = |entry: &(Quad, f64)| entry.0.0[0];
    boxes.sort_by(|a, b| {
        let (a, b) = (top_left(a), top_left(b));
        a.y.total_cmp(&b.y).then(a.x.total_cmp(&b.x))
    });
    for end in 1..boxes.len() {
        for at in (1..=end).rev() {
            let (before, after) = (top_left(&boxes[at - 1]), top_left(&boxes[at]));
            if (after.y - before.y).abs() >= SAME_LINE || after.x >= before.x {
                break;
            }
            boxes.swap(at - 1, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map_with(boxes: &[(usize, usize, usize, usize)]) -> Map {
        let (width, height) = (320, 160);
        let mut values = vec![0.05; width * height];
        for (x, y, w, h) in boxes {
            for row in *y..y + h {
                values[row * width + x..][..*w].fill(0.9);
            }
        }
        Map::new(width, height, values).unwrap()
    }

    #[test]
    fn lines_come_in_reading_order_and_grown() {
        let map = map_with(&[(200, 22, 80, 10), (20, 20, 100, 10), (20, 90, 60, 12)]);
        let found = boxes(&map, (640, 320));
        let lefts: Vec<f64> = found.iter().map(|(quad, _)| quad.0[0].x).collect();
        assert_eq!(found.len(), 3);
        assert!(lefts[0] < 40.0 && lefts[1] > 300.0 && lefts[2] < 40.0, "{lefts:?}");
        let (quad, score) = &found[0];
        assert!(*score > 0.8, "{score}");
        // 100 x 10 pixels of the map, grown by area * 1.6 / circumference on each side, at twice the size.
        let growth = 99.0 * 10.0 * 1.6 / 218.0;
        assert!((quad.width() - 2.0 * (100.0 + 2.0 * growth)).abs() < 5.0, "{quad:?}");
        assert!((quad.height() - 2.0 * (10.0 + 2.0 * growth)).abs() < 5.0, "{quad:?}");
    }

    #[test]
    fn specks_and_faint_regions_are_no_text() {
        assert!(boxes(&map_with(&[(10, 10, 2, 2)]), (320, 160)).is_empty());
        let mut values = vec![0.0; 320 * 160];
        for row in 40..60 {
            values[row * 320 + 40..][..200].fill(0.4);
        }
        assert!(boxes(&Map::new(320, 160, values).unwrap(), (320, 160)).is_empty());
    }

    #[test]
    fn a_picture_without_text_has_no_boxes() {
        assert!(boxes(&map_with(&[]), (320, 160)).is_empty());
    }
}
