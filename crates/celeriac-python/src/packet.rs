//! Records, and the packets they travel in, as `spec/child.md` has them.

/// A packet of more bytes than this travels as a file.
pub(crate) const PACKET_LIMIT: usize = 64 * 1024;

/// What a record has before its payload.
pub(crate) const HEAD: usize = 13;

/// The record that stands for a packet in a file.
pub(crate) const IN_FILE: u8 = 255;

/// What the worker sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    Run = 1,
    Call = 2,
    Cancel = 3,
    Soft = 4,
    Leave = 5,
}

/// What a process sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    Hello,
    Started,
    Store,
    Done,
    Answer,
    Fault,
}

impl Word {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Hello,
            2 => Self::Started,
            3 => Self::Store,
            4 => Self::Done,
            5 => Self::Answer,
            6 => Self::Fault,
            _ => return None,
        })
    }
}

/// What no process that keeps to the contract sends, in words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Junk(pub(crate) String);

impl Junk {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// Writes a record of which the payload is `head` in JSON and `body`.
///
/// # Panics
///
/// If the record has 4 GiB or more, which no body has that a broker delivers.
pub(crate) fn put(
    packet: &mut Vec<u8>,
    order: Order,
    seq: u64,
    head: impl FnOnce(&mut Vec<u8>),
    body: &[u8],
) {
    let start = packet.len();
    put_short(packet, order, seq);
    packet.extend_from_slice(&[0; 4]);
    let head_start = packet.len();
    head(packet);
    let head_size = size(packet.len() - head_start);
    packet[head_start - 4..head_start].copy_from_slice(&head_size);
    packet.extend_from_slice(body);
    let payload = size(packet.len() - start - HEAD);
    packet[start + 9..start + HEAD].copy_from_slice(&payload);
}

/// Writes a record without a payload.
pub(crate) fn put_short(packet: &mut Vec<u8>, order: Order, seq: u64) {
    packet.push(order as u8);
    packet.extend_from_slice(&seq.to_le_bytes());
    packet.extend_from_slice(&[0; 4]);
}

fn size(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes)
        .expect("no record has 4 GiB")
        .to_le_bytes()
}

/// The kind and number of the first record of a packet, if it has one.
pub(crate) fn label(packet: &[u8]) -> Option<(u8, u64)> {
    let head = packet.first_chunk::<HEAD>()?;
    let seq = head[1..9].first_chunk().expect("it is of 8 bytes");
    Some((head[0], u64::from_le_bytes(*seq)))
}

/// A record from a process.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) word: Word,
    pub(crate) seq: u64,
    pub(crate) payload: &'a [u8],
}

/// The records of a packet, one after another.
pub(crate) fn records(mut packet: &[u8]) -> impl Iterator<Item = Result<Record<'_>, Junk>> {
    std::iter::from_fn(move || {
        if packet.is_empty() {
            return None;
        }
        let record = split(&mut packet);
        if record.is_err() {
            packet = &[];
        }
        Some(record)
    })
}

fn split<'a>(packet: &mut &'a [u8]) -> Result<Record<'a>, Junk> {
    let (kind, seq) = label(packet).ok_or_else(|| Junk::new("a record is cut off"))?;
    let word = Word::from_byte(kind).ok_or_else(|| Junk::new(format!("record of kind {kind}")))?;
    let size = packet[9..HEAD].first_chunk().expect("it is of 4 bytes");
    let rest = &packet[HEAD..];
    let payload = usize::try_from(u32::from_le_bytes(*size))
        .ok()
        .and_then(|size| rest.get(..size))
        .ok_or_else(|| Junk::new("a record is longer than its packet"))?;
    *packet = &rest[payload.len()..];
    Ok(Record { word, seq, payload })
}

/// The JSON that a payload begins with, and what follows it.
pub(crate) fn split_head(payload: &[u8]) -> Result<(&[u8], &[u8]), Junk> {
    let cut = || Junk::new("a head is longer than its record");
    let (size, rest) = payload.split_first_chunk().ok_or_else(cut)?;
    let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| cut())?;
    rest.split_at_checked(size).ok_or_else(cut)
}

/// A payload that is text, whatever its bytes.
pub(crate) fn text(payload: &[u8]) -> String {
    String::from_utf8_lossy(payload).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_written_as_the_contract_says() {
        let mut packet = Vec::new();
        let head = |packet: &mut Vec<u8>| packet.extend_from_slice(b"{}");
        put(&mut packet, Order::Run, 7, head, b"body");
        let expected = b"\x01\x07\0\0\0\0\0\0\0\x0a\0\0\0\x02\0\0\0{}body";
        assert_eq!(packet, expected);
        assert_eq!(label(&packet), Some((1, 7)));
        assert_eq!(split_head(&packet[HEAD..]), Ok((&b"{}"[..], &b"body"[..])));
    }

    #[test]
    fn a_packet_holds_records_one_after_another() {
        let packet = b"\x04\x01\0\0\0\0\0\0\0\x02\0\0\0{}\x02\x02\0\0\0\0\0\0\0\0\0\0\0";
        let read: Vec<_> = records(packet).map(Result::unwrap).collect();
        assert_eq!(read[0].word, Word::Done);
        assert_eq!(read[0].payload, b"{}");
        assert_eq!((read[1].word, read[1].seq), (Word::Started, 2));
    }

    #[test]
    fn junk_ends_a_packet() {
        for junk in [
            &b"\x04"[..],
            b"\x09\x01\0\0\0\0\0\0\0\0\0\0\0",
            b"\x04\x01\0\0\0\0\0\0\0\xff\xff\xff\xff{}",
        ] {
            let read: Vec<_> = records(junk).collect();
            assert!(matches!(&read[..], [Err(_)]), "{read:?}");
        }
        assert!(split_head(b"\xff\0\0\0{}").is_err());
        assert!(split_head(b"\xff").is_err());
    }
}
