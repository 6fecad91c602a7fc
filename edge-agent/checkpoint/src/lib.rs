//! What an agent has made durable: an append-only journal, which is the commit point, and the checkpoint store that
//! it is folded into.
//!
//! Records are opaque bytes here; what they mean and how they become changes of the store is the caller's [`Fold`].
//! The crate reads no clock and draws no random numbers, and knows neither tokio nor the network. It cannot tell a disk that was
//! restored whole from an older copy of itself: the agent presents a nonce to the cloud for that.
//!
//! [`Checkpoint`] is the machine, single-threaded and deterministic over a [`Disk`]; [`Service`] runs it for many threads, with a
//! thread that syncs and one that folds.
//!
//! Words: *appended* survives the death of the process, *synced* survives a power cut, *folded* is in the store. A position's
//! number never repeats on a disk, over all generations; it may skip numbers after a crash, because those may have been given
//! to records that were never synced.

mod checkpoint;
pub mod disk;
mod ends;
mod fold;
mod journal;
mod record;
mod service;
mod space;
pub mod store;

pub use checkpoint::{Checkpoint, Config, Loss, OpenError, Recovered, Report};
pub use disk::{Disk, OsDisk, SimDisk};
pub use eyot_model::DiskState;
pub use fold::{FoldError, StoreOpening, StoreView};
pub use journal::{BATCH_LIMIT, Damage, DamageKind, JournalError};
pub use record::{Entry, Keep, LiveKey, RECORD_LIMIT, Record};
pub use service::{Handle, Health, News, Service, Timing};
pub use space::DiskMarks;
pub use store::{Batch, CheckpointStore, Fold, MemorySource, MemoryStore, SledSource, StoreError, StoreSource};
