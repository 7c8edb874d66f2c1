//! Items as bytes in shared memory: MessagePack with field names, as between a pool and its children.
//!
//! What holds a large piece of bytes is written twice: first to know its size, without that piece, then to
//! its place. So such a piece is copied once.

use std::cell::Cell;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{PutError, SyncError};

/// How many bytes an item takes at most.
pub(super) const MOST: usize = 1 << 30;

/// A piece of so many bytes is written to its place only.
const LARGE: usize = 32 * 1024;

/// How much memory a thread keeps for the next item.
const KEPT: usize = 1 << 20;

/// What is read into the stack.
const SMALL: usize = 32;

thread_local! {
    static BYTES: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static WORDS: Cell<Vec<u64>> = const { Cell::new(Vec::new()) };
}

/// An item that is about to be put, and how many bytes that takes.
pub(super) struct Encoded<T> {
    item: T,
    sink: Sink,
}

/// Takes bytes, and no more than counts them once there is a large piece.
#[derive(Default)]
struct Sink {
    bytes: Vec<u8>,
    len: usize,
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() < LARGE && self.bytes.len() == self.len {
            self.bytes.extend_from_slice(bytes);
        }
        self.len += bytes.len();
        if self.len > MOST {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write<T: Serialize>(item: &T, to: impl Write) -> Result<(), SyncError> {
    let mut serializer = rmp_serde::Serializer::new(to).with_struct_map();
    item.serialize(&mut serializer)
        .map_err(|_| SyncError::Encoding)
}

impl<T: Serialize> Encoded<T> {
    pub(super) fn of(item: T) -> Result<Self, PutError<T>> {
        let mut bytes = BYTES.take();
        bytes.clear();
        let mut sink = Sink { bytes, len: 0 };
        match write(&item, &mut sink) {
            Ok(()) => Ok(Self { item, sink }),
            Err(_) if sink.len > MOST => {
                let why = SyncError::TooLarge { most: MOST };
                Err(PutError { item, why })
            }
            Err(why) => Err(PutError { item, why }),
        }
    }

    pub(super) fn into_item(self) -> T {
        self.item
    }

    /// How many bytes it takes.
    pub(super) fn len(&self) -> usize {
        self.sink.len
    }

    /// All bytes, of what has no large piece.
    pub(super) fn bytes(&self) -> Option<&[u8]> {
        (self.sink.bytes.len() == self.sink.len).then_some(&self.sink.bytes)
    }

    /// Writes it to its place.
    pub(super) fn write_to(&self, place: &[AtomicU64]) -> Result<(), SyncError> {
        if let Some(bytes) = self.bytes() {
            store(place, bytes);
            return Ok(());
        }
        let mut writer = Writer::new(place);
        write(&self.item, &mut writer)?;
        // A type that is not written the same twice has no bytes that could be read.
        let whole = writer.finish() == self.sink.len;
        whole.then_some(()).ok_or(SyncError::Encoding)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        if bytes.capacity() <= KEPT {
            bytes.clear();
            BYTES.set(bytes);
        }
    }
}

/// Writes bytes to words one after another.
struct Writer<'a> {
    place: &'a [AtomicU64],
    /// The bytes of a word that is not full.
    part: [u8; 8],
    len: usize,
}

impl<'a> Writer<'a> {
    fn new(place: &'a [AtomicU64]) -> Self {
        Self {
            place,
            part: [0; 8],
            len: 0,
        }
    }

    /// Writes the rest: how many bytes came.
    fn finish(self) -> usize {
        if let Some(word) = self.place.get(self.len / 8) {
            word.store(u64::from_ne_bytes(self.part), Ordering::Relaxed);
        }
        self.len
    }
}

impl Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.len + bytes.len() > self.place.len() * 8 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let all = bytes.len();
        let filled = self.len % 8;
        let missing = if filled == 0 { 0 } else { 8 - filled };
        let (first, rest) = bytes.split_at(missing.min(all));
        self.part[filled..filled + first.len()].copy_from_slice(first);
        let mut word = self.len / 8;
        if filled + first.len() == 8 {
            self.place[word].store(u64::from_ne_bytes(self.part), Ordering::Relaxed);
            word += 1;
        }
        let whole = rest.len() / 8 * 8;
        store(&self.place[word..], &rest[..whole]);
        let last = &rest[whole..];
        self.part[..last.len()].copy_from_slice(last);
        self.len += all;
        Ok(all)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Copies bytes to words.
pub(super) fn store(place: &[AtomicU64], bytes: &[u8]) {
    let (whole, last) = bytes.as_chunks::<8>();
    for (word, bytes) in place.iter().zip(whole) {
        word.store(u64::from_ne_bytes(*bytes), Ordering::Relaxed);
    }
    if let (Some(word), false) = (place.get(whole.len()), last.is_empty()) {
        let mut bytes = [0; 8];
        bytes[..last.len()].copy_from_slice(last);
        word.store(u64::from_ne_bytes(bytes), Ordering::Relaxed);
    }
}

/// Whether words hold just these bytes.
pub(super) fn holds(place: &[AtomicU64], bytes: &[u8]) -> bool {
    let same = |word: &AtomicU64, bytes: &[u8]| {
        word.load(Ordering::Relaxed).to_ne_bytes()[..bytes.len()] == *bytes
    };
    bytes.len() <= place.len() * 8
        && place
            .iter()
            .zip(bytes.chunks(8))
            .all(|(word, bytes)| same(word, bytes))
}

/// Reads an item of `len` bytes.
pub(super) fn read<T: DeserializeOwned>(place: &[AtomicU64], len: usize) -> Result<T, SyncError> {
    let words = place.get(..len.div_ceil(8)).ok_or(SyncError::Encoding)?;
    if words.len() <= SMALL {
        let mut copy = [0; SMALL];
        for (copy, word) in copy.iter_mut().zip(words) {
            *copy = word.load(Ordering::Relaxed);
        }
        return decode(&copy, len);
    }
    let mut copy = WORDS.take();
    copy.clear();
    copy.extend(words.iter().map(|word| word.load(Ordering::Relaxed)));
    let item = decode(&copy, len);
    if copy.capacity() * 8 <= KEPT * 2 {
        WORDS.set(copy);
    }
    item
}

fn decode<T: DeserializeOwned>(words: &[u64], len: usize) -> Result<T, SyncError> {
    let bytes: &[u8] = bytemuck::cast_slice(words);
    rmp_serde::from_slice(&bytes[..len]).map_err(|_| SyncError::Encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(bytes: usize) -> Vec<AtomicU64> {
        (0..bytes.div_ceil(8)).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn what_is_written_is_read_whatever_its_size() {
        let piece = |len: usize| {
            let text: String = ('a'..='z').cycle().take(len).collect();
            (7_u8, text.clone(), text, 1.5)
        };
        for len in [0, 1, 7, 8, 100, LARGE - 1, LARGE, LARGE + 3, 300_000] {
            let item = piece(len);
            let encoded = Encoded::of(&item).unwrap();
            assert_eq!(encoded.bytes().is_some(), len < LARGE);
            let place = place(encoded.len());
            encoded.write_to(&place).unwrap();
            let copy: (u8, String, String, f64) = read(&place, encoded.len()).unwrap();
            assert_eq!(copy, item);
        }
    }

    #[test]
    fn what_is_no_such_item_is_told() {
        let encoded = Encoded::of(&"word").unwrap();
        let place = place(8);
        encoded.write_to(&place).unwrap();
        assert_eq!(read::<u32>(&place, encoded.len()), Err(SyncError::Encoding));
        assert_eq!(read::<String>(&place, 9), Err(SyncError::Encoding));
        assert!(holds(&place, encoded.bytes().unwrap()));
        assert!(!holds(&place, b"else"));
    }

    #[test]
    fn what_is_not_written_the_same_twice_is_refused() {
        struct Fickle(Cell<usize>);
        impl Serialize for Fickle {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.set(self.0.get() - 1);
                serializer.serialize_bytes(&vec![0; LARGE + self.0.get()])
            }
        }
        let item = Fickle(Cell::new(20));
        let encoded = Encoded::of(&item).unwrap();
        let wrong = encoded.write_to(&place(encoded.len()));
        assert_eq!(wrong, Err(SyncError::Encoding));
    }
}
