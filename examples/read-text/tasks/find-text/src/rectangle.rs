//! The smallest rectangle around a region, at whatever angle.

use eyot_raster::Point;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rectangle {
    centre: Point,
    /// Unit vector along the side whose length is `width`.
    along: Point,
    width: f64,
    height: f64,
}

impl Rectangle {
    /// The rectangle of least area around `points`: one of its sides lies on the convex hull (Freeman and Shapira, 1975).
    pub(crate) fn around(points: &[Point]) -> Option<Self> {
        let hull = convex_hull(points);
        let mut best: Option<Self> = None;
        for (at, from) in hull.iter().enumerate() {
            let to = hull[(at + 1) % hull.len()];
            let length = from.distance(to);
            if length == 0.0 {
                continue;
            }
            let candidate = Self::along_side(&hull, Point::new((to.x - from.x) / length, (to.y - from.y) / length));
            if best.is_none_or(|best| candidate.area() < best.area()) {
                best = Some(candidate);
            }
        }
        best
    }

    fn along_side(hull: &[Point], along: Point) -> Self {
        let extent = |axis: Point| {
            let places = hull.iter().map(|p| p.x * axis.x + p.y * axis.y);
            places.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
        };
        let across = Point::new(-along.y, along.x);
        let ((left, right), (top, bottom)) = (extent(along), extent(across));
        let (middle_along, middle_across) = (f64::midpoint(left, right), f64::midpoint(top, bottom));
        Self {
            centre: Point::new(
                along.x * middle_along + across.x * middle_across,
                along.y * middle_along + across.y * middle_across,
            ),
            along,
            width: right - left,
            height: bottom - top,
        }
    }

    pub(crate) fn area(&self) -> f64 {
        self.width * self.height
    }

    pub(crate) fn circumference(&self) -> f64 {
        2.0 * (self.width + self.height)
    }

    pub(crate) fn short_side(&self) -> f64 {
        self.width.min(self.height)
    }

    /// Moves every side outwards.
    pub(crate) fn grown(&self, by: f64) -> Self {
        Self {
            width: self.width + 2.0 * by,
            height: self.height + 2.0 * by,
            ..*self
        }
    }

    /// Once around.
    pub(crate) fn corners(&self) -> [Point; 4] {
        let (u, v) = (self.width / 2.0, self.height / 2.0);
        let along = self.along;
        [(-u, -v), (u, -v), (u, v), (-u, v)]
            .map(|(a, b)| Point::new(self.centre.x + along.x * a - along.y * b, self.centre.y + along.y * a + along.x * b))
    }

    /// Top left, top right, bottom right, bottom left: of the two leftmost corners the upper one is top left.
    pub(crate) fn upright_corners(&self) -> [Point; 4] {
        let mut corners = self.corners();
        corners.sort_by(|a, b| a.x.total_cmp(&b.x));
        let [mut top_left, mut bottom_left, mut top_right, mut bottom_right] = corners;
        if top_left.y > bottom_left.y {
            std::mem::swap(&mut top_left, &mut bottom_left);
        }
        if top_right.y > bottom_right.y {
            std::mem::swap(&mut top_right, &mut bottom_right);
        }
        [top_left, top_right, bottom_right, bottom_left]
    }
}

/// Andrew, Another efficient algorithm for convex hulls (1979).
fn convex_hull(points: &[Point]) -> Vec<Point> {
    let mut points = points.to_vec();
    points.sort_by(|a, b| a.x.total_cmp(&b.x).then(a.y.total_cmp(&b.y)));
    points.dedup();
    if points.len() < 3 {
        return points;
    }
    let half = |points: &mut dyn Iterator<Item = &Point>| {
        let mut chain: Vec<Point> = Vec::new();
        for point in points {
            while let [.., a, b] = chain[..]
                && (b.x - a.x) * (point.y - a.y) - (b.y - a.y) * (point.x - a.x) <= 0.0
            {
                chain.pop();
            }
            chain.push(*point);
        }
        // The other half begins with this half's last point.
        chain.pop();
        chain
    };
    let mut hull = half(&mut points.iter());
    hull.extend(half(&mut points.iter().rev()));
    hull
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Points on a grid within a rectangle turned by `degrees`.
    fn turned(width: f64, height: f64, degrees: f64) -> Vec<Point> {
        let (sin, cos) = degrees.to_radians().sin_cos();
        let inside = |x: f64, y: f64| {
            let (dx, dy) = (x - 100.0, y - 100.0);
            (dx * cos + dy * sin).abs() <= width / 2.0 && (dy * cos - dx * sin).abs() <= height / 2.0
        };
        (0..200 * 200)
            .map(|i| (f64::from(i % 200), f64::from(i / 200)))
            .filter(|(x, y)| inside(*x, *y))
            .map(|(x, y)| Point::new(x, y))
            .collect()
    }

    #[test]
    fn the_rectangle_is_found_at_any_angle() {
        for degrees in [-80.0, -45.0, -10.0, 0.0, 3.0, 30.0, 90.0] {
            let rectangle = Rectangle::around(&turned(90.0, 20.0, degrees)).unwrap();
            let (long, short) = (rectangle.width.max(rectangle.height), rectangle.short_side());
            assert!((long - 90.0).abs() < 4.0 && (short - 20.0).abs() < 4.0, "{degrees}: {rectangle:?}");
            assert!(rectangle.centre.distance(Point::new(100.0, 100.0)) < 2.0);
        }
    }

    #[test]
    fn every_point_is_within_and_growing_moves_every_side() {
        let points = turned(60.0, 14.0, 20.0);
        let rectangle = Rectangle::around(&points).unwrap();
        let grown = rectangle.grown(5.0);
        assert!((grown.area() - (rectangle.width + 10.0) * (rectangle.height + 10.0)).abs() < 1e-9);
        for point in points {
            let (dx, dy) = (point.x - rectangle.centre.x, point.y - rectangle.centre.y);
            assert!((dx * rectangle.along.x + dy * rectangle.along.y).abs() <= rectangle.width / 2.0 + 1e-9);
            assert!((dy * rectangle.along.x - dx * rectangle.along.y).abs() <= rectangle.height / 2.0 + 1e-9);
        }
    }

    #[test]
    fn corners_are_named_as_they_are_seen() {
        let [top_left, top_right, bottom_right, bottom_left] = Rectangle::around(&turned(90.0, 20.0, 10.0)).unwrap().upright_corners();
        assert!(top_left.x < top_right.x && bottom_left.x < bottom_right.x);
        assert!(top_left.y < bottom_left.y && top_right.y < bottom_right.y);
    }

    #[test]
    fn points_without_area_are_no_panic() {
        assert!(Rectangle::around(&[]).is_none());
        assert!(Rectangle::around(&[Point::new(3.0, 3.0); 4]).is_none());
        let line: Vec<Point> = (0..9).map(|i| Point::new(f64::from(i), 2.0)).collect();
        assert_eq!(Rectangle::around(&line).unwrap().short_side(), 0.0);
    }
}
