//! Telling a device from a copy of its disk.
//!
//! An agent draws a number at each start, syncs it, and presents it with those before it: the one that the control plane
//! is known to have taken, and those of which that is not known. The control plane takes a number if the last one that
//! it took is among them, and only the new one counts from then on. So each number is taken as a predecessor once: of two
//! devices with the same disk, or a disk and its older copy, the second finds its numbers passed.

/// What an agent presents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim<'a> {
    /// The number of this start.
    pub new: u64,
    /// Numbers that the control plane may have taken last, by the agent's own disk.
    pub before: &'a [u64],
}

/// Whether a control plane that took `last` takes this claim. With None it takes any: the agent is new, or it was let in
/// again by an operator.
#[must_use]
pub fn admits(last: Option<u64>, claim: Claim<'_>) -> bool {
    last.is_none_or(|last| last == claim.new || claim.before.contains(&last))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A device's disk: the number taken, as far as it knows, and those that may have been.
    #[derive(Clone, Default)]
    struct Disk(Vec<u64>);

    impl Disk {
        /// A start: whether it is taken, and whether the device hears of it.
        fn starts(&mut self, cloud: &mut Option<u64>, new: u64, presented: bool, heard: bool) -> bool {
            let before = self.0.clone();
            if presented {
                self.0.push(new);
            }
            let taken = presented && admits(*cloud, Claim { new, before: &before });
            if taken {
                *cloud = Some(new);
                if heard {
                    self.0 = vec![new];
                }
            }
            taken
        }
    }

    #[test]
    fn a_device_is_taken_whatever_it_hears_and_its_copy_is_not() {
        let (mut cloud, mut disk) = (None, Disk::default());
        assert!(disk.starts(&mut cloud, 1, true, true));
        assert!(disk.starts(&mut cloud, 2, true, false), "taken, and the answer is lost");
        assert!(!disk.starts(&mut cloud, 3, false, false), "a start that never reaches the cloud");
        assert!(disk.starts(&mut cloud, 4, true, false));
        let mut copy = disk.clone();
        assert!(disk.starts(&mut cloud, 5, true, true));
        assert!(!copy.starts(&mut cloud, 6, true, true), "its numbers have passed");
        assert!(!copy.starts(&mut cloud, 7, true, true));
        assert!(disk.starts(&mut cloud, 8, true, true), "the device itself is not disturbed");
        assert!(
            admits(cloud, Claim { new: 8, before: &[5] }),
            "the same start links up again and again"
        );
        cloud = None;
        assert!(copy.starts(&mut cloud, 9, true, true), "an operator let it in again");
        assert!(
            !disk.starts(&mut cloud, 10, true, true),
            "and now it is the device's turn to be refused"
        );
    }
}
