//! How alike two readings of a picture are.

use crate::Line;

/// What came of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Comparison {
    pub ours: usize,
    pub reference: usize,
    /// Lines that overlap one of the other reading.
    pub matched: usize,
    /// Sum over the matched lines of how alike their characters are, 0 to 1 each.
    similarity: f64,
    /// Sum over the matched lines of the overlap of their boxes, 0 to 1 each.
    overlap: f64,
}

impl Comparison {
    /// Mean likeness of characters over the matched lines: 1 less the edit distance by the longer text.
    #[must_use]
    pub fn mean_similarity(&self) -> f64 {
        mean(self.similarity, self.matched)
    }

    /// Mean overlap of the boxes of matched lines: shared area by joint area.
    #[must_use]
    pub fn mean_overlap(&self) -> f64 {
        mean(self.overlap, self.matched)
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            ours: self.ours + other.ours,
            reference: self.reference + other.reference,
            matched: self.matched + other.matched,
            similarity: self.similarity + other.similarity,
            overlap: self.overlap + other.overlap,
        }
    }
}

fn mean(sum: f64, count: usize) -> f64 {
    if count == 0 { 1.0 } else { sum / count as f64 }
}

/// Pairs each line with the line of the reference that it overlaps most, each at most once.
#[must_use]
pub fn compare(ours: &[Line], reference: &[Line]) -> Comparison {
    let mut free: Vec<&Line> = reference.iter().collect();
    let mut result = Comparison {
        ours: ours.len(),
        reference: reference.len(),
        ..Comparison::default()
    };
    for line in ours {
        let best = free
            .iter()
            .enumerate()
            .map(|(at, other)| (at, overlap(line, other)))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        if let Some((at, shared)) = best.filter(|(_, shared)| *shared > 0.3) {
            let other = free.swap_remove(at);
            result.matched += 1;
            result.overlap += shared;
            result.similarity += strsim::normalized_levenshtein(&line.text, &other.text);
        }
    }
    result
}

/// Shared area by joint area of the upright rectangles around two lines.
fn overlap(a: &Line, b: &Line) -> f64 {
    let bounds = |line: &Line, axis: usize| {
        let places = line.quad.iter().map(|corner| corner[axis]);
        places.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)))
    };
    let (mut shared, mut areas) = (1.0, [1.0, 1.0]);
    for axis in [0, 1] {
        let ((a_low, a_high), (b_low, b_high)) = (bounds(a, axis), bounds(b, axis));
        shared *= (a_high.min(b_high) - a_low.max(b_low)).max(0.0);
        areas[0] *= a_high - a_low;
        areas[1] *= b_high - b_low;
    }
    let joint = areas[0] + areas[1] - shared;
    if joint > 0.0 { shared / joint } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, x: f64) -> Line {
        Line {
            text: text.to_owned(),
            score: 1.0,
            quad: [[x, 0.0], [x + 10.0, 0.0], [x + 10.0, 5.0], [x, 5.0]],
        }
    }

    #[test]
    fn lines_are_matched_by_place_and_compared_by_characters() {
        let same = compare(&[line("abcd", 0.0), line("x", 50.0)], &[line("x", 50.0), line("abcd", 0.0)]);
        assert_eq!((same.matched, same.mean_similarity(), same.mean_overlap()), (2, 1.0, 1.0));
        let near = compare(&[line("abcd", 0.0)], &[line("abxd", 2.0), line("q", 90.0)]);
        assert_eq!((near.ours, near.reference, near.matched, near.mean_similarity()), (1, 2, 1, 0.75));
        assert_eq!(compare(&[line("a", 0.0)], &[line("a", 30.0)]).matched, 0);
    }
}
