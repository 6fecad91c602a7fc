//! Quadrilaterals, and how the plane is mapped from one to a rectangle.

/// A point in pixels, from the top left corner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    pub x: f64,
    pub y: f64,
}

impl Point {
    #[must_use]
    pub fn new(x: f64, y: f64) -> Self {
        Self { x, y }
    }

    #[must_use]
    pub fn distance(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }
}

/// Four corners: top left, top right, bottom right, bottom left, as seen by whoever looks at what is inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quad(pub [Point; 4]);

impl Quad {
    /// From `[x, y]` for each corner.
    #[must_use]
    pub fn from_corners(corners: [[f64; 2]; 4]) -> Self {
        Self(corners.map(|[x, y]| Point::new(x, y)))
    }

    #[must_use]
    pub fn corners(&self) -> [[f64; 2]; 4] {
        self.0.map(|point| [point.x, point.y])
    }

    /// Length of the longer one of top and bottom.
    #[must_use]
    pub fn width(&self) -> f64 {
        self.0[0].distance(self.0[1]).max(self.0[2].distance(self.0[3]))
    }

    /// Length of the longer one of left and right.
    #[must_use]
    pub fn height(&self) -> f64 {
        self.0[0].distance(self.0[3]).max(self.0[1].distance(self.0[2]))
    }

    /// Whether all corners are numbers and the corners go once around: convex, none on the line of its neighbours.
    #[must_use]
    pub fn is_convex(&self) -> bool {
        let turn = |i: usize| {
            let [a, b, c] = [self.0[i], self.0[(i + 1) % 4], self.0[(i + 2) % 4]];
            (b.x - a.x) * (c.y - b.y) - (b.y - a.y) * (c.x - b.x)
        };
        let turns: Vec<f64> = (0..4).map(turn).collect();
        let finite = self.0.iter().all(|p| p.x.is_finite() && p.y.is_finite());
        finite && (turns.iter().all(|t| *t > 1e-9) || turns.iter().all(|t| *t < -1e-9))
    }

    /// The projective map that takes the rectangle (0, 0) to (`width`, `height`) onto this quadrilateral. None where the
    /// corners make no quadrilateral.
    pub(crate) fn map_from_rectangle(&self, width: f64, height: f64) -> Option<Projection> {
        if !self.is_convex() || width <= 0.0 || height <= 0.0 {
            return None;
        }
        // Heckbert, Fundamentals of Texture Mapping and Image Warping (1989): from the unit square in closed form.
        let [p0, p1, p2, p3] = self.0;
        let sum = Point::new(p0.x - p1.x + p2.x - p3.x, p0.y - p1.y + p2.y - p3.y);
        let (d1, d2) = (Point::new(p1.x - p2.x, p1.y - p2.y), Point::new(p3.x - p2.x, p3.y - p2.y));
        let determinant = d1.x * d2.y - d2.x * d1.y;
        let g = (sum.x * d2.y - d2.x * sum.y) / determinant;
        let h = (d1.x * sum.y - sum.x * d1.y) / determinant;
        let (a, b) = (p1.x - p0.x + g * p1.x, p3.x - p0.x + h * p3.x);
        let (d, e) = (p1.y - p0.y + g * p1.y, p3.y - p0.y + h * p3.y);
        Some(Projection {
            x: [a / width, b / height, p0.x],
            y: [d / width, e / height, p0.y],
            w: [g / width, h / height, 1.0],
        })
    }
}

/// A projective map of the plane.
pub(crate) struct Projection {
    x: [f64; 3],
    y: [f64; 3],
    w: [f64; 3],
}

impl Projection {
    pub(crate) fn apply(&self, at: Point) -> Point {
        let row = |[a, b, c]: [f64; 3]| a * at.x + b * at.y + c;
        let w = row(self.w);
        Point::new(row(self.x) / w, row(self.y) / w)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn corners_go_to_corners_and_lines_stay_straight() {
        let quad = Quad::from_corners([[10.0, 20.0], [110.0, 30.0], [120.0, 90.0], [0.0, 70.0]]);
        let map = quad.map_from_rectangle(50.0, 25.0).unwrap();
        for (corner, at) in quad.0.iter().zip([(0.0, 0.0), (50.0, 0.0), (50.0, 25.0), (0.0, 25.0)]) {
            assert!(map.apply(Point::new(at.0, at.1)).distance(*corner) < 1e-9);
        }
        let [a, b, c] = [0.0, 20.0, 50.0].map(|x| map.apply(Point::new(x, 12.0)));
        assert!(((b.x - a.x) * (c.y - a.y) - (b.y - a.y) * (c.x - a.x)).abs() < 1e-6);
    }

    #[test]
    fn what_is_no_quadrilateral_is_refused() {
        for corners in [
            [[0.0, 0.0], [1.0, 1.0], [1.0, 0.0], [0.0, 1.0]],
            [[0.0, 0.0], [1.0, 0.0], [2.0, 0.0], [0.0, 1.0]],
            [[0.0, 0.0]; 4],
            [[f64::NAN, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]],
        ] {
            assert!(!Quad::from_corners(corners).is_convex(), "{corners:?}");
        }
    }
}
