//! Room on the device's disk: marks, and a reserve to finish with when it runs out.

use crate::disk::Disk;
use eyot_model::DiskState;
use std::io;
use std::sync::Arc;

const RESERVE_NAME: &str = "reserve";

/// When a disk is in which state, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskMarks {
    /// Below this much free room the state is [`DiskState::High`].
    pub high_free: u64,
    /// Below this much it is [`DiskState::Critical`].
    pub critical_free: u64,
    /// Set aside at the start and given up when the disk is full, so that results which nobody else has can still be written.
    pub reserve: u64,
}

impl DiskMarks {
    /// Marks for a disk of `total` bytes: the default ones, and less on a small disk.
    #[must_use]
    pub fn for_disk(total: u64) -> Self {
        let usual = Self::default();
        Self {
            high_free: usual.high_free.min(total / 10),
            critical_free: usual.critical_free.min(total / 40),
            reserve: usual.reserve.min(total / 64),
        }
    }
}

impl Default for DiskMarks {
    fn default() -> Self {
        Self {
            high_free: 512 << 20,
            critical_free: 64 << 20,
            reserve: 16 << 20,
        }
    }
}

/// The room on one disk.
#[derive(Debug)]
pub(crate) struct Space {
    disk: Arc<dyn Disk>,
    marks: DiskMarks,
    reserved: bool,
    full: bool,
    state: DiskState,
}

impl Space {
    /// Sets the reserve aside where there is room for it.
    pub(crate) fn open(disk: Arc<dyn Disk>, marks: DiskMarks) -> Self {
        let mut space = Self {
            disk,
            marks,
            reserved: false,
            full: false,
            state: DiskState::Normal,
        };
        space.reserved = space.marks.reserve == 0 || space.holds_reserve();
        space.refresh();
        space
    }

    fn holds_reserve(&self) -> bool {
        self.disk
            .open(RESERVE_NAME)
            .and_then(|file| file.len())
            .is_ok_and(|len| len >= self.marks.reserve)
    }

    pub(crate) fn state(&self) -> DiskState {
        self.state
    }

    /// Looks at the disk again, and sets the reserve aside anew once there is room for it beyond the critical mark.
    pub(crate) fn refresh(&mut self) -> DiskState {
        let free = match self.disk.available() {
            Ok(free) => free,
            Err(error) => {
                tracing::warn!(%error, "free room on the disk is not known");
                return self.state;
            }
        };
        if !self.reserved
            && free >= self.marks.critical_free.saturating_add(self.marks.reserve)
            && let Err(error) = self.set_aside()
        {
            tracing::warn!(%error, "no room can be set aside on the disk");
        }
        self.state = if self.full {
            DiskState::Full
        } else if !self.reserved || free < self.marks.critical_free {
            DiskState::Critical
        } else if free < self.marks.high_free {
            DiskState::High
        } else {
            DiskState::Normal
        };
        self.state
    }

    fn set_aside(&mut self) -> io::Result<()> {
        match self.disk.remove(RESERVE_NAME) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let made = self.disk.create(RESERVE_NAME).and_then(|file| file.preallocate(self.marks.reserve));
        if made.is_err() {
            // A part of a reserve is room taken for nothing.
            let _ = self.disk.remove(RESERVE_NAME);
        }
        made?;
        self.reserved = true;
        Ok(())
    }

    /// Gives the reserve up; false where there was none.
    pub(crate) fn release(&mut self) -> bool {
        if self.marks.reserve == 0 || !std::mem::replace(&mut self.reserved, false) {
            return false;
        }
        let released = self.disk.remove(RESERVE_NAME).and_then(|()| self.disk.sync_dir());
        tracing::warn!(bytes = self.marks.reserve, "the disk is full; the reserve is given up");
        self.refresh_after_release();
        released.is_ok()
    }

    fn refresh_after_release(&mut self) {
        self.state = self.state.max(DiskState::Critical);
    }

    /// Takes note of how an append went.
    pub(crate) fn note(&mut self, full: bool) {
        if self.full != full {
            self.full = full;
            self.refresh();
        }
    }
}
