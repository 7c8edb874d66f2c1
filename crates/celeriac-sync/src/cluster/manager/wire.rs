//! Frames: a length of four bytes, the highest first, and so many bytes of `MessagePack`.

use std::io::{self, Read, Write};

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::limits::LARGEST;

fn too_large(length: usize) -> io::Error {
    io::Error::other(format!(
        "a frame of {length} bytes is larger than {LARGEST}"
    ))
}

/// How long a frame is, if it may be.
fn length_of(head: [u8; 4]) -> io::Result<usize> {
    let length = usize::try_from(u32::from_be_bytes(head)).unwrap_or(usize::MAX);
    if length > LARGEST {
        Err(too_large(length))
    } else {
        Ok(length)
    }
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    rmp_serde::encode::write(&mut frame, value).map_err(io::Error::other)?;
    let length = frame.len() - 4;
    let head = u32::try_from(length).ok().filter(|_| length <= LARGEST);
    frame[..4].copy_from_slice(&head.ok_or_else(|| too_large(length))?.to_be_bytes());
    Ok(frame)
}

fn decode<T: DeserializeOwned>(bytes: &[u8], length: usize) -> io::Result<T> {
    if bytes.len() != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    rmp_serde::from_slice(bytes).map_err(io::Error::other)
}

pub(super) fn send<T: Serialize>(stream: &mut impl Write, value: &T) -> io::Result<()> {
    stream.write_all(&encode(value)?)?;
    stream.flush()
}

pub(super) fn receive<T: DeserializeOwned>(stream: &mut impl Read) -> io::Result<T> {
    let mut head = [0; 4];
    stream.read_exact(&mut head)?;
    let length = length_of(head)?;
    let mut bytes = Vec::new();
    stream.take(length as u64).read_to_end(&mut bytes)?;
    decode(&bytes, length)
}

pub(super) async fn send_async<T: Serialize>(
    stream: &mut (impl AsyncWrite + Unpin),
    value: &T,
) -> io::Result<()> {
    stream.write_all(&encode(value)?).await?;
    stream.flush().await
}

/// The length of the next frame; `None` if none comes.
pub(super) async fn head_async(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<usize>> {
    let mut head = [0; 4];
    match stream.read_exact(&mut head).await {
        Ok(_) => length_of(head).map(Some),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The rest of a frame. Room is made for what has come, not for what was promised.
pub(super) async fn body_async<T: DeserializeOwned>(
    stream: &mut (impl AsyncRead + Unpin),
    length: usize,
) -> io::Result<T> {
    let mut bytes = Vec::new();
    stream.take(length as u64).read_to_end(&mut bytes).await?;
    decode(&bytes, length)
}
