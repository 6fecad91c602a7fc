//! SQLite's write-ahead log, read by its file format before SQLite reads it.
//!
//! SQLite takes a frame that does not check for the end of the log, because a power cut leaves such frames behind. So one bit
//! that flips in the middle would silently take everything behind it away. The two can be told apart: each commit is synced
//! before a frame of the next is written, so a bad frame with a commit and a further frame behind it was once good. A
//! power cut replaces whole sectors, so neither does it leave a frame behind that is one bit away from a good one: that one is
//! found in the last commit too. (Frames of a transaction that never was, over which another was written, might look like it
//! if the two hardly differ; so the log is emptied at each start.)
//!
//! The format is in <https://sqlite.org/fileformat2.html#the_write_ahead_log>: a header of 32 bytes, then frames of a header of
//! 24 bytes and a page. Numbers are big endian. Each frame has the header's salts and a checksum over all frames up to it; what
//! an earlier use of the file left behind has other salts.

use std::io::{self, Read};

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
/// The checksums are over little-endian words, or with the lowest bit set, over big-endian ones.
const MAGIC: u32 = 0x377f_0682;

/// What is wrong with a log, so that what was committed is not all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("the header of its write-ahead log is wrong, and frames follow it")]
    Header,
    /// Frames count from 1.
    #[error("frame {0} of its write-ahead log is wrong, and what was committed in it or behind it would be lost")]
    Frame(u64),
}

/// Reads a log from its beginning. A log that a power cut or a kill left unfinished is no damage.
///
/// # Errors
/// When it cannot be read.
pub(super) fn scan(mut log: impl Read) -> io::Result<Option<Damage>> {
    let mut bytes = [0; HEADER];
    if !fill(&mut log, &mut bytes)? {
        return Ok(None);
    }
    let Some(header) = Header::read(&bytes) else {
        // The header is synced before the first frame is written.
        return Ok(anything(&mut log)?.then_some(Damage::Header));
    };
    let mut frame = vec![0; FRAME_HEADER + header.page];
    let mut sum = header.sum;
    let mut n = 0;
    while fill(&mut log, &mut frame)? {
        n += 1;
        let found = Frame::read(&header, sum, &frame);
        if !found.is_good() {
            return Ok(proof(&header, sum, found, &mut log, &mut frame)?.then_some(Damage::Frame(n)));
        }
        sum = found.stored;
    }
    Ok(None)
}

/// Whether something behind a bad frame says that it was good once.
fn proof(header: &Header, before: Sum, bad: Frame, log: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    let flipped = bad.with_one_bit(header, before, bytes);
    if flipped == Some(true) {
        return Ok(true);
    }
    let bad = Frame {
        commits: flipped.unwrap_or(bad.commits),
        ..bad
    };
    let (mut last, mut first) = (bad, true);
    // The frames from the bad one up to here follow each other.
    let mut unbroken = true;
    while fill(log, bytes)? {
        let mut frame = Frame::read(header, last.stored, bytes);
        if first && !frame.is_good() {
            // Where the bad frame's own checksum is what flipped.
            let other = Frame::read(header, last.computed, bytes);
            frame = if other.is_good() { other } else { frame };
        }
        if frame.is_good() && (last.salted || first) && last.commits {
            return Ok(true);
        }
        unbroken &= frame.is_good();
        if flipped.is_some() && unbroken && frame.commits {
            return Ok(true);
        }
        (last, first) = (frame, false);
    }
    Ok(false)
}

/// Two running sums over pairs of words.
type Sum = (u32, u32);

struct Header {
    big_endian: bool,
    /// Bytes in a page.
    page: usize,
    salts: u64,
    sum: Sum,
}

impl Header {
    /// None where it does not check: SQLite takes the log for empty then.
    fn read(bytes: &[u8; HEADER]) -> Option<Self> {
        let (magic, page) = (word(bytes, 0), word(bytes, 8));
        let big_endian = magic & 1 != 0;
        let sum = checksum(big_endian, (0, 0), &bytes[..24]);
        let sound =
            magic & !1 == MAGIC && page.is_power_of_two() && (512..=65_536).contains(&page) && sum == (word(bytes, 24), word(bytes, 28));
        sound.then_some(Self {
            big_endian,
            page: usize::try_from(page).ok()?,
            salts: long(bytes, 16),
            sum,
        })
    }
}

#[derive(Clone, Copy)]
struct Frame {
    /// The last one of a commit.
    commits: bool,
    salts: u64,
    /// Its salts are the header's.
    salted: bool,
    stored: Sum,
    computed: Sum,
}

impl Frame {
    /// As it is after a frame with the checksum `before`.
    fn read(header: &Header, before: Sum, bytes: &[u8]) -> Self {
        let begun = checksum(header.big_endian, before, &bytes[..8]);
        let salts = long(bytes, 8);
        Self {
            commits: word(bytes, 4) != 0,
            salts,
            salted: salts == header.salts,
            stored: (word(bytes, 16), word(bytes, 20)),
            computed: checksum(header.big_endian, begun, &bytes[FRAME_HEADER..]),
        }
    }

    fn is_good(&self) -> bool {
        self.salted && self.stored == self.computed
    }

    /// Whether it would end a commit, if it is good but for one bit.
    fn with_one_bit(&self, header: &Header, before: Sum, bytes: &[u8]) -> Option<bool> {
        if !self.salted {
            let off = self.stored == self.computed && (self.salts ^ header.salts).is_power_of_two();
            return off.then_some(self.commits);
        }
        for bit in 0..32 {
            let commits = word(bytes, 4) ^ 1 << bit;
            let begun = [word(bytes, 0).to_be_bytes(), commits.to_be_bytes()].concat();
            let sum = checksum(
                header.big_endian,
                checksum(header.big_endian, before, &begun),
                &bytes[FRAME_HEADER..],
            );
            if sum == self.stored {
                return Some(commits != 0);
            }
        }
        self.is_one_bit_off(bytes.len() - FRAME_HEADER + 8).then_some(self.commits)
    }

    /// Whether a change of one bit in `length` bytes, or in the checksum, explains the difference.
    fn is_one_bit_off(&self, length: usize) -> bool {
        let one = |a: u32, b: u32| (a ^ b).is_power_of_two();
        let same = (self.stored.0 == self.computed.0, self.stored.1 == self.computed.1);
        if same.0 && one(self.stored.1, self.computed.1) || same.1 && one(self.stored.0, self.computed.0) {
            return true;
        }
        // A change of a word changes the sums by a multiple that depends on the word's place alone: from the last pair
        // of words to the first, what one more in either of them does to the sums.
        let off = (
            self.stored.0.wrapping_sub(self.computed.0),
            self.stored.1.wrapping_sub(self.computed.1),
        );
        let (mut even, mut odd): (Sum, Sum) = ((1, 1), (0, 1));
        let further = |(a, b): Sum| (a.wrapping_add(b), a.wrapping_add(b.wrapping_mul(2)));
        for _ in 0..length / 8 {
            for (a, b) in [even, odd] {
                for change in (0..32).map(|bit| 1_u32 << bit).flat_map(|bit| [bit, bit.wrapping_neg()]) {
                    if (a.wrapping_mul(change), b.wrapping_mul(change)) == off {
                        return true;
                    }
                }
            }
            (even, odd) = (further(even), further(odd));
        }
        false
    }
}

fn checksum(big_endian: bool, mut sum: Sum, bytes: &[u8]) -> Sum {
    let read = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    for pair in bytes.chunks_exact(8) {
        let (x, y) = (
            read([pair[0], pair[1], pair[2], pair[3]]),
            read([pair[4], pair[5], pair[6], pair[7]]),
        );
        sum.0 = sum.0.wrapping_add(x).wrapping_add(sum.1);
        sum.1 = sum.1.wrapping_add(y).wrapping_add(sum.0);
    }
    sum
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(word(bytes, at)) << 32 | u64::from(word(bytes, at + 4))
}

/// False where the log ends before the buffer is full.
fn fill(log: &mut impl Read, bytes: &mut [u8]) -> io::Result<bool> {
    match log.read_exact(bytes) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Whether anything but zeros is left.
fn anything(log: &mut impl Read) -> io::Result<bool> {
    let mut bytes = [0; 4_096];
    loop {
        match log.read(&mut bytes)? {
            0 => return Ok(false),
            n if bytes[..n].iter().any(|byte| *byte != 0) => return Ok(true),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
