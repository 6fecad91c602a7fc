//! `disk` in `agent.json`: how much of the device's disk the agent may fill, and what of it is a cache.

use eyot_checkpoint::DiskMarks;
use serde::{Deserialize, Serialize};

/// Most bytes of blobs that nothing names, unless the configuration says otherwise.
const CACHE: u64 = 8 << 30;
/// Most bytes of compiled code, unless the configuration says otherwise.
const COMPILED: u64 = 1 << 30;
/// Longest journal that is kept before old segments go, on a disk that is large enough.
const JOURNAL: u64 = 48 << 20;
/// Longest checkpoint store that is never looked at for waste, on a disk that is large enough.
const CHECKPOINT: u64 = 64 << 20;
/// Length of a segment of the journal, on a disk that is large enough.
const SEGMENT: u64 = 4 << 20;

/// As it stands in the file; what is left out follows from the size of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct DiskConfig {
    /// With less than this free, no new work is taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_free_bytes: Option<u64>,
    /// With less than this free, no attempts are started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub critical_free_bytes: Option<u64>,
    /// Set aside to finish with when the disk is full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reserve_bytes: Option<u64>,
    /// Most bytes of blobs that nothing names any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache_bytes: Option<u64>,
    /// Most bytes of compiled components.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compiled_bytes: Option<u64>,
}

/// What holds on this device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskLimits {
    pub marks: DiskMarks,
    pub cache_bytes: u64,
    pub compiled_bytes: u64,
    pub journal_bytes: u64,
    pub segment_bytes: u64,
    /// Length from which the checkpoint store is written anew when most of it is waste.
    pub checkpoint_bytes: u64,
}

impl DiskConfig {
    /// On a disk of `total` bytes. A critical mark above the high one counts as the high one.
    #[must_use]
    pub fn on(&self, total: u64) -> DiskLimits {
        let usual = DiskMarks::for_disk(total);
        let high_free = self.high_free_bytes.unwrap_or(usual.high_free);
        DiskLimits {
            marks: DiskMarks {
                high_free,
                critical_free: self.critical_free_bytes.unwrap_or(usual.critical_free).min(high_free),
                reserve: self.reserve_bytes.unwrap_or(usual.reserve),
            },
            cache_bytes: self.cache_bytes.unwrap_or(CACHE.min(total / 10)),
            compiled_bytes: self.compiled_bytes.unwrap_or(COMPILED.min(total / 10)),
            journal_bytes: JOURNAL.min(total / 8),
            checkpoint_bytes: CHECKPOINT.min(total / 16),
            segment_bytes: SEGMENT.min((total / 64).max(64 << 10)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_disk_gets_small_marks_and_the_file_wins() {
        let large = DiskConfig::default().on(1 << 40);
        assert_eq!(large.marks, DiskMarks::default());
        assert_eq!((large.journal_bytes, large.segment_bytes), (JOURNAL, SEGMENT));
        let small = DiskConfig::default().on(64 << 20);
        assert!(small.marks.high_free < 8 << 20 && small.marks.critical_free < small.marks.high_free);
        assert!(small.journal_bytes <= 8 << 20 && small.segment_bytes <= 1 << 20);
        let told = DiskConfig {
            high_free_bytes: Some(10),
            critical_free_bytes: Some(20),
            ..DiskConfig::default()
        };
        assert_eq!(told.on(1 << 40).marks.critical_free, 10);
    }
}
