//! When the cores of one agent are taken, and where work still fits: the end of each lane, and the gaps before it.

/// Gaps remembered for insertion on one agent. Beyond it the one that ends first is given up, because work is placed
/// in order of rank, which is roughly that of time.
const MAX_GAPS: usize = 32;

/// Times in milliseconds from the start of the run.
#[derive(Clone, Debug)]
pub(crate) struct Lanes {
    /// From when on each lane is free for good, ascending. Never empty.
    free_from: Vec<f64>,
    gaps: Vec<Gap>,
    /// Length of the longest gap and end of the latest one: most searches stop here.
    longest: f64,
    latest: f64,
}

#[derive(Clone, Copy, Debug)]
struct Gap {
    start: f64,
    end: f64,
}

impl Lanes {
    /// Lanes that are free from the given times on.
    pub(crate) fn new(mut free_from: Vec<f64>) -> Self {
        free_from.sort_by(f64::total_cmp);
        if free_from.is_empty() {
            free_from.push(0.0);
        }
        Self {
            free_from,
            gaps: Vec::new(),
            longest: 0.0,
            latest: 0.0,
        }
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.free_from.len()).unwrap_or(u32::MAX)
    }

    /// The earliest start, not before `ready`, of work that takes `width` lanes for `duration`. Work of one lane may go
    /// into a gap, wider work comes after what is there.
    #[inline]
    pub(crate) fn earliest(&self, ready: f64, duration: f64, width: u32) -> f64 {
        let last = (width.max(1) as usize).min(self.free_from.len()) - 1;
        let mut best = self.free_from[last].max(ready);
        if width > 1 || best <= ready || duration > self.longest || ready + duration > self.latest {
            return best;
        }
        for gap in &self.gaps {
            let start = gap.start.max(ready);
            if start < best && start + duration <= gap.end {
                best = start;
            }
        }
        best
    }

    /// Takes `width` lanes from `start` for `duration`, as [`Self::earliest`] found them.
    pub(crate) fn take(&mut self, start: f64, duration: f64, width: u32) {
        let finish = start + duration;
        if width <= 1 && self.take_gap(start, finish) {
            return;
        }
        let width = (width.max(1) as usize).min(self.free_from.len());
        // The lanes that are free last before the start leave the smallest gaps.
        let free = self.free_from.partition_point(|t| *t <= start).max(width);
        let taken = free - width..free;
        for lane in taken.clone() {
            let from = self.free_from[lane];
            if from < start {
                self.add_gap(Gap { start: from, end: start });
            }
        }
        self.free_from.drain(taken);
        let at = self.free_from.partition_point(|t| *t <= finish);
        self.free_from.splice(at..at, std::iter::repeat_n(finish, width));
    }

    /// Into the shortest gap that has room.
    fn take_gap(&mut self, start: f64, finish: f64) -> bool {
        let fits = |gap: &Gap| gap.start <= start && finish <= gap.end;
        let Some((found, _)) = self
            .gaps
            .iter()
            .enumerate()
            .filter(|(_, gap)| fits(gap))
            .min_by(|(_, a), (_, b)| (a.end - a.start).total_cmp(&(b.end - b.start)))
        else {
            return false;
        };
        let gap = self.gaps.swap_remove(found);
        if gap.start < start {
            self.gaps.push(Gap { end: start, ..gap });
        }
        if finish < gap.end {
            self.gaps.push(Gap { start: finish, ..gap });
        }
        self.bound_gaps();
        true
    }

    fn add_gap(&mut self, gap: Gap) {
        self.gaps.push(gap);
        self.bound_gaps();
    }

    fn bound_gaps(&mut self) {
        while self.gaps.len() > MAX_GAPS {
            let first = (0..self.gaps.len()).min_by(|&a, &b| self.gaps[a].end.total_cmp(&self.gaps[b].end));
            if let Some(first) = first {
                self.gaps.swap_remove(first);
            }
        }
        self.longest = self.gaps.iter().map(|g| g.end - g.start).fold(0.0, f64::max);
        self.latest = self.gaps.iter().map(|g| g.end).fold(0.0, f64::max);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn work_goes_into_the_first_gap_that_holds_it() {
        let mut lanes = Lanes::new(vec![0.0]);
        lanes.take(10.0, 5.0, 1);
        assert_eq!(lanes.earliest(0.0, 10.0, 1), 0.0);
        assert_eq!(lanes.earliest(0.0, 11.0, 1), 15.0);
        assert_eq!(lanes.earliest(8.0, 2.0, 1), 8.0);
        assert_eq!(lanes.earliest(9.0, 2.0, 1), 15.0);
        lanes.take(2.0, 3.0, 1);
        assert_eq!(lanes.earliest(0.0, 2.0, 1), 0.0);
        assert_eq!(lanes.earliest(0.0, 5.0, 1), 5.0);
        assert_eq!(lanes.earliest(0.0, 6.0, 1), 15.0);
    }

    #[test]
    fn wide_work_waits_for_as_many_lanes() {
        let mut lanes = Lanes::new(vec![4.0, 0.0, 2.0]);
        assert_eq!(lanes.earliest(1.0, 5.0, 2), 2.0);
        assert_eq!(lanes.earliest(1.0, 5.0, 9), 4.0);
        lanes.take(2.0, 5.0, 2);
        assert_eq!(lanes.earliest(0.0, 2.0, 1), 0.0);
        assert_eq!(lanes.earliest(0.0, 3.0, 1), 4.0);
        assert_eq!(lanes.earliest(0.0, 3.0, 3), 7.0);
    }

    proptest! {
        /// Never more at a time than there are lanes, never before it is ready, whatever is placed.
        #[test]
        fn no_lane_is_taken_twice(
            backlog in proptest::collection::vec(0u32..20, 1..5),
            work in proptest::collection::vec((0u32..100, 0u32..20, 1u32..4), 1..200),
        ) {
            let mut lanes = Lanes::new(backlog.iter().map(|t| f64::from(*t)).collect());
            let mut taken: Vec<(f64, f64, u32)> = backlog.iter().map(|t| (0.0, f64::from(*t), 1)).collect();
            for (ready, duration, width) in work {
                let (ready, duration) = (f64::from(ready), f64::from(duration) + 0.5);
                let width = width.min(lanes.count());
                let start = lanes.earliest(ready, duration, width);
                prop_assert!(start >= ready);
                lanes.take(start, duration, width);
                taken.push((start, start + duration, width));
                prop_assert_eq!(lanes.count() as usize, backlog.len());
            }
            for &(at, _, _) in &taken {
                let at_once: u32 = taken.iter().filter(|(s, f, _)| *s <= at && at < *f).map(|t| t.2).sum();
                prop_assert!(at_once as usize <= backlog.len(), "{at_once} at {at}");
            }
        }
    }
}
