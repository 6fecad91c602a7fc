//! The map that the model makes, and the regions of text in it.

use eyot_raster::Point;

/// How likely each pixel is text.
pub(crate) struct Map {
    pub(crate) width: usize,
    pub(crate) height: usize,
    values: Vec<f32>,
}

impl Map {
    /// None where there are not as many values as pixels.
    pub(crate) fn new(width: usize, height: usize, values: Vec<f32>) -> Option<Self> {
        (values.len() == width * height).then_some(Self { width, height, values })
    }

    /// The mean over all pixels within a convex polygon, its edge included.
    pub(crate) fn mean_within(&self, corners: &[Point; 4]) -> f64 {
        // The reference draws the polygon with its corners cut to whole pixels.
        let corners = corners.map(|p| Point::new(p.x.floor(), p.y.floor()));
        let bound = |v: f64, len: usize| (v.max(0.0) as usize).min(len - 1);
        let range = |values: [f64; 4], len: usize| {
            let (low, high) = values
                .iter()
                .fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(*v), high.max(*v)));
            bound(low, len)..=bound(high, len)
        };
        let (mut sum, mut count) = (0.0, 0u32);
        for y in range(corners.map(|p| p.y), self.height) {
            for x in range(corners.map(|p| p.x), self.width) {
                if within(&corners, Point::new(x as f64, y as f64)) {
                    sum += f64::from(self.values[y * self.width + x]);
                    count += 1;
                }
            }
        }
        if count == 0 { 0.0 } else { sum / f64::from(count) }
    }

    /// Which pixels are above the threshold, or have such a neighbour above, to the left, or above to the left: that
    /// joins letters that nearly touch.
    fn mask(&self, threshold: f32) -> Vec<bool> {
        let mut mask = vec![false; self.values.len()];
        for (at, _) in self.values.iter().enumerate().filter(|(_, value)| **value > threshold) {
            let (right, below) = (at % self.width + 1 < self.width, at + self.width < mask.len());
            mask[at] = true;
            if right {
                mask[at + 1] = true;
            }
            if below {
                mask[at + self.width] = true;
            }
            if right && below {
                mask[at + self.width + 1] = true;
            }
        }
        mask
    }
}

/// Whether `point` is on the same side of all edges, or nearer than half a pixel to one: as a polygon is drawn, its edge
/// included.
fn within(corners: &[Point; 4], point: Point) -> bool {
    let side = |i: usize| {
        let (a, b) = (corners[i], corners[(i + 1) % 4]);
        let (dx, dy) = (b.x - a.x, b.y - a.y);
        let half_a_pixel = dx.abs().max(dy.abs()) / 2.0;
        (dx * (point.y - a.y) - dy * (point.x - a.x), half_a_pixel)
    };
    (0..4).map(side).all(|(cross, half)| cross >= -half) || (0..4).map(side).all(|(cross, half)| cross <= half)
}

/// The regions of pixels that touch each other, by side or by corner: for each the leftmost and the rightmost pixel of
/// every row, which is all that its outline needs.
pub(crate) fn regions(map: &Map, threshold: f32) -> Vec<Vec<Point>> {
    let mut open = map.mask(threshold);
    let mut regions = Vec::new();
    let mut pending = Vec::new();
    for start in 0..open.len() {
        if !open[start] {
            continue;
        }
        let mut rows: Vec<(usize, usize)> = Vec::new();
        let first_row = start / map.width;
        open[start] = false;
        pending.push(start);
        while let Some(at) = pending.pop() {
            let (x, y) = (at % map.width, at / map.width);
            // Pixels are met from the top, so no row is above the first.
            if rows.len() <= y - first_row {
                rows.resize(y - first_row + 1, (usize::MAX, 0));
            }
            let row = &mut rows[y - first_row];
            *row = (row.0.min(x), row.1.max(x));
            for near_y in y.saturating_sub(1)..=(y + 1).min(map.height - 1) {
                for near_x in x.saturating_sub(1)..=(x + 1).min(map.width - 1) {
                    let near = near_y * map.width + near_x;
                    if open[near] {
                        open[near] = false;
                        pending.push(near);
                    }
                }
            }
        }
        let outline = rows.iter().enumerate().flat_map(|(row, (left, right))| {
            let y = (first_row + row) as f64;
            [Point::new(*left as f64, y), Point::new(*right as f64, y)]
        });
        regions.push(outline.collect());
    }
    regions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_touch_by_corners_and_not_across_gaps() {
        let rows = ["#....", ".....", "..#..", "...#.", ".....", "....."];
        let values = rows
            .iter()
            .flat_map(|row| row.chars().map(|c| if c == '#' { 1.0 } else { 0.0 }))
            .collect();
        let map = Map::new(5, 6, values).unwrap();
        // With its right and lower neighbours the first pixel reaches the second group by a corner.
        let found = regions(&map, 0.5);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].first(), Some(&Point::new(0.0, 0.0)));
        assert_eq!(found[0].last(), Some(&Point::new(4.0, 4.0)));
        let rows = ["#....", ".....", ".....", "...#.", ".....", "....."];
        let values = rows
            .iter()
            .flat_map(|row| row.chars().map(|c| if c == '#' { 1.0 } else { 0.0 }))
            .collect();
        assert_eq!(regions(&Map::new(5, 6, values).unwrap(), 0.5).len(), 2);
    }

    #[test]
    fn the_mean_counts_the_edge_and_nothing_outside() {
        let values = (0..100).map(|i| if i % 10 < 5 { 1.0 } else { 0.0 }).collect();
        let map = Map::new(10, 10, values).unwrap();
        let square = |left: f64, right: f64| [(left, 2.0), (right, 2.0), (right, 6.0), (left, 6.0)].map(|(x, y)| Point::new(x, y));
        assert_eq!(map.mean_within(&square(1.0, 4.9)), 1.0);
        let slanted = [(0.0, 0.0), (3.0, 1.0), (3.0, 4.0), (0.0, 3.0)].map(|(x, y)| Point::new(x, y));
        assert_eq!(map.mean_within(&slanted), 1.0);
        assert_eq!(map.mean_within(&square(4.0, 5.0)), 0.5);
        assert!(map.mean_within(&square(-30.0, -20.0)) <= 1.0);
        assert_eq!(map.mean_within(&square(-1e9, 1e9)), 0.5);
    }
}
