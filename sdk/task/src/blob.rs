//! Bytes that the agent holds: read in ranges, written as a stream, never copied whole through the task unless it asks.

use crate::sys;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::borrow::Cow;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

/// Bytes moved at a time between task and agent.
const CHUNK: usize = 256 << 10;

/// Why a blob could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The blob is not among the inputs of this attempt.
    #[error("the blob is not among the inputs of this attempt")]
    Denied,
    /// The agent cannot get it now.
    #[error("the blob is not available: {0}")]
    Unavailable(String),
    /// The agent's limit on blobs is reached.
    #[error("limit reached: {0}")]
    Limit(String),
    /// The blob is larger than the task wants to read.
    #[error("the blob has {size} bytes, more than the {max} that this task reads")]
    TooLarge { size: u64, max: u64 },
    /// The blob is not UTF-8 text.
    #[error("the blob is not UTF-8 text")]
    NotText,
}

/// A handle on content-addressed bytes. It is small, whatever it names. Among inputs and outputs it may stand anywhere: in
/// a field, in a list, in a map. Small bytes given for a blob are taken too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob(Source);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Source {
    Held { digest: String, size: u64 },
    Inline(Arc<[u8]>),
}

impl Blob {
    pub(crate) fn held(digest: String, size: u64) -> Self {
        Self(Source::Held { digest, size })
    }

    /// Writes `bytes` as a new blob.
    ///
    /// # Errors
    /// When the agent does not take it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BlobError> {
        let mut writer = BlobWriter::new();
        writer.put(bytes)?;
        writer.finish()
    }

    /// Length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        match &self.0 {
            Source::Held { size, .. } => *size,
            Source::Inline(bytes) => bytes.len() as u64,
        }
    }

    /// `b3:` and the 64 hexadecimal digits of the BLAKE3 hash. None for small bytes that were given for a blob.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        match &self.0 {
            Source::Held { digest, .. } => Some(digest),
            Source::Inline(_) => None,
        }
    }

    /// The whole content, if it has at most `max` bytes.
    ///
    /// # Errors
    /// [`BlobError::TooLarge`] without reading anything, or what reading says.
    pub fn read_all(&self, max: u64) -> Result<Vec<u8>, BlobError> {
        let size = self.size();
        let room = usize::try_from(size).ok().filter(|_| size <= max);
        let room = room.ok_or(BlobError::TooLarge { size, max })?;
        let mut all = vec![0; room];
        let mut reader = self.reader()?;
        let mut filled = 0;
        while filled < room {
            match reader.fetch(&mut all[filled..])? {
                0 => return Err(BlobError::Unavailable(format!("it ended after {filled} of {size} bytes"))),
                n => filled += n,
            }
        }
        Ok(all)
    }

    /// The whole content as text, if it has at most `max` bytes.
    ///
    /// # Errors
    /// As [`Blob::read_all`], and [`BlobError::NotText`].
    pub fn read_to_string(&self, max: u64) -> Result<String, BlobError> {
        String::from_utf8(self.read_all(max)?).map_err(|_| BlobError::NotText)
    }

    /// Reads from the beginning, piece by piece; seeks without cost.
    ///
    /// # Errors
    /// When the agent does not give the blob.
    pub fn reader(&self) -> Result<BlobReader, BlobError> {
        let from = match &self.0 {
            Source::Held { digest, .. } => From::Agent(sys::Blob::open(digest)?),
            Source::Inline(bytes) => From::Memory(Arc::clone(bytes)),
        };
        Ok(BlobReader {
            from,
            size: self.size(),
            position: 0,
            piece: Vec::new(),
            piece_start: 0,
        })
    }

    /// The same bytes, held by the agent.
    fn to_held(&self) -> Result<(String, u64), BlobError> {
        match &self.0 {
            Source::Held { digest, size } => Ok((digest.clone(), *size)),
            Source::Inline(bytes) => Self::from_bytes(bytes)?.to_held(),
        }
    }
}

enum From {
    Agent(sys::Blob),
    Memory(Arc<[u8]>),
}

/// Reads a blob. Errors carry a [`BlobError`].
pub struct BlobReader {
    from: From,
    size: u64,
    position: u64,
    /// What was read ahead, and where in the blob it begins.
    piece: Vec<u8>,
    piece_start: u64,
}

impl BlobReader {
    /// Fills the beginning of `out` and moves on. 0 at the end.
    fn fetch(&mut self, out: &mut [u8]) -> Result<usize, BlobError> {
        if out.is_empty() || self.position >= self.size {
            return Ok(0);
        }
        if self.ahead().is_empty() {
            self.piece = match &self.from {
                From::Agent(blob) => blob.read(self.position, CHUNK as u32)?,
                From::Memory(bytes) => {
                    let rest = usize::try_from(self.position)
                        .ok()
                        .and_then(|at| bytes.get(at..))
                        .unwrap_or_default();
                    rest[..rest.len().min(CHUNK)].to_vec()
                }
            };
            self.piece_start = self.position;
        }
        let ahead = self.ahead();
        let n = ahead.len().min(out.len());
        out[..n].copy_from_slice(&ahead[..n]);
        self.position += n as u64;
        Ok(n)
    }

    fn ahead(&self) -> &[u8] {
        let at = self.position.checked_sub(self.piece_start).and_then(|at| usize::try_from(at).ok());
        at.and_then(|at| self.piece.get(at..)).unwrap_or_default()
    }
}

impl Read for BlobReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.fetch(out).map_err(io::Error::other)
    }
}

impl Seek for BlobReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = position.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before the beginning"))?;
        Ok(self.position)
    }
}

/// Writes a new blob. What was written is a blob only after [`BlobWriter::finish`].
pub struct BlobWriter {
    to: sys::Writer,
    pending: Vec<u8>,
}

impl BlobWriter {
    #[must_use]
    pub fn new() -> Self {
        Self {
            to: sys::Writer::new(),
            pending: Vec::new(),
        }
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BlobError> {
        if self.pending.len() + bytes.len() < CHUNK {
            self.pending.extend_from_slice(bytes);
            return Ok(());
        }
        self.send()?;
        let whole = bytes.len() / CHUNK * CHUNK;
        bytes[..whole].chunks(CHUNK).try_for_each(|piece| self.to.write(piece))?;
        self.pending.extend_from_slice(&bytes[whole..]);
        Ok(())
    }

    fn send(&mut self) -> Result<(), BlobError> {
        if !self.pending.is_empty() {
            self.to.write(&self.pending)?;
            self.pending.clear();
        }
        Ok(())
    }

    /// Makes a blob of what was written.
    ///
    /// # Errors
    /// When the agent does not take it.
    pub fn finish(mut self) -> Result<Blob, BlobError> {
        self.send()?;
        let (digest, size) = self.to.finish()?;
        Ok(Blob::held(digest, size))
    }
}

impl Default for BlobWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for BlobWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.send().map_err(io::Error::other)
    }
}

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        use ser::SerializeStruct;
        let (digest, size) = self.to_held().map_err(ser::Error::custom)?;
        let mut object = s.serialize_struct("Blob", 2)?;
        object.serialize_field("$blob", &digest)?;
        object.serialize_field("size", &size)?;
        object.end()
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_map(BlobVisitor)
    }
}

struct BlobVisitor;

impl<'de> de::Visitor<'de> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a blob")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Blob, A::Error> {
        let (mut digest, mut size, mut bytes) = (None::<String>, None::<u64>, None::<String>);
        while let Some(key) = map.next_key::<Cow<'_, str>>()? {
            match &*key {
                "$blob" => digest = Some(map.next_value()?),
                "size" => size = Some(map.next_value()?),
                "$bytes" => bytes = Some(map.next_value()?),
                _ => drop(map.next_value::<de::IgnoredAny>()?),
            }
        }
        if let Some(hex) = bytes {
            let bytes = crate::bytes::from_hex(&hex).ok_or_else(|| de::Error::custom("`$bytes` is not hexadecimal"))?;
            return Ok(Blob(Source::Inline(bytes.into())));
        }
        match (digest, size) {
            (Some(digest), Some(size)) => Ok(Blob::held(digest, size)),
            (Some(_), None) => Err(de::Error::custom("a blob needs its `size`")),
            (None, _) => Err(de::Error::invalid_type(de::Unexpected::Map, &self)),
        }
    }
}

impl JsonSchema for Blob {
    fn schema_name() -> Cow<'static, str> {
        "Blob".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "object", "format": "blob"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 31 % 251) as u8).collect()
    }

    #[test]
    fn what_was_written_is_read_again_whatever_the_pieces() {
        for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7] {
            for step in [1 << 20, 1000, CHUNK] {
                let bytes = sample(len);
                let mut writer = BlobWriter::new();
                bytes.chunks(step).for_each(|piece| writer.write_all(piece).unwrap());
                let blob = writer.finish().unwrap();
                assert_eq!(blob.size(), len as u64);
                assert_eq!(blob.read_all(len as u64).unwrap(), bytes);
            }
        }
    }

    #[test]
    fn a_reader_seeks_and_ends() {
        let bytes = sample(CHUNK + 100);
        let mut reader = Blob::from_bytes(&bytes).unwrap().reader().unwrap();
        let mut four = [0; 4];
        for at in [CHUNK as u64 - 2, 0, 17, CHUNK as u64 + 90] {
            reader.seek(SeekFrom::Start(at)).unwrap();
            reader.read_exact(&mut four).unwrap();
            assert_eq!(four, bytes[at as usize..][..4]);
        }
        reader.seek(SeekFrom::End(-2)).unwrap();
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, bytes[bytes.len() - 2..]);
        assert!(reader.seek(SeekFrom::Current(i64::MIN)).is_err());
        reader.seek(SeekFrom::Start(u64::MAX)).unwrap();
        assert_eq!(reader.read(&mut four).unwrap(), 0);
    }

    #[test]
    fn the_bound_of_read_all_holds() {
        let blob = Blob::from_bytes(b"12345").unwrap();
        assert_eq!(blob.read_all(4), Err(BlobError::TooLarge { size: 5, max: 4 }));
        assert_eq!(blob.read_all(5).unwrap(), b"12345");
        assert_eq!(Blob::from_bytes(&[0xff]).unwrap().read_to_string(9), Err(BlobError::NotText));
    }

    #[test]
    fn json_names_the_blob_and_small_bytes_are_taken_for_one() {
        let blob = Blob::from_bytes(b"eyot").unwrap();
        let json = serde_json::to_value(&blob).unwrap();
        assert!(json["$blob"].as_str().unwrap().starts_with("b3:"));
        assert_eq!(serde_json::from_value::<Blob>(json).unwrap(), blob);
        let inline: Blob = serde_json::from_str(r#"{"$bytes": "65796f74"}"#).unwrap();
        assert_eq!(inline.read_all(4).unwrap(), b"eyot");
        assert_eq!(serde_json::to_value(&inline).unwrap(), serde_json::to_value(&blob).unwrap());
        for wrong in ["{}", r#"{"$blob": "b3:00"}"#, r#"{"$bytes": "6"}"#, "3", r#""b3:00""#] {
            assert!(serde_json::from_str::<Blob>(wrong).is_err(), "{wrong}");
        }
    }
}
