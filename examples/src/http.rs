//! A client that can do one thing: GET over HTTP/1.1, without encryption.
//!
//! Programs that fetch from the world use a crate such as `reqwest`; here a page of code shows what
//! goes over the wire, and keeps the gallery quick to build.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Heads of answers are refused above this size.
const MOST_HEAD_BYTES: usize = 16 * 1024;

/// Why a page could not be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The text is not `http://host[:port][/path]`.
    #[error("`{0}` is no URL of the form http://host[:port]/path (https is not spoken here)")]
    BadUrl(String),
    /// The connection could not be made, or broke.
    #[error("the connection to {0} failed")]
    Connection(String, #[source] std::io::Error),
    /// The server says no.
    #[error("the server answered {0}")]
    Status(String),
    /// What came is no HTTP, or ended early.
    #[error("the answer is broken: {0}")]
    Broken(&'static str),
}

/// A URL, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    /// Host and port.
    pub address: String,
    /// What is asked for there, from the first slash.
    pub path: String,
}

impl std::str::FromStr for Url {
    type Err = HttpError;

    fn from_str(text: &str) -> Result<Self, HttpError> {
        let bad = || HttpError::BadUrl(text.to_owned());
        let rest = text.strip_prefix("http://").ok_or_else(bad)?;
        let rest = rest.split('#').next().unwrap_or(rest);
        let (host, path) = rest
            .find(['/', '?'])
            .map_or((rest, ""), |at| rest.split_at(at));
        // A character that ends a line or a word would let a URL add headers of its own.
        if host.is_empty() || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(bad());
        }
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            address: if has_port {
                host.to_owned()
            } else {
                format!("{host}:80")
            },
            path: format!("{slash}{path}"),
        })
    }
}

/// How much of the answer is still to come.
#[derive(Debug, Clone, Copy)]
enum Rest {
    Bytes(u64),
    Chunked { left: u64, first: bool },
    UntilClosed,
    Nothing,
}

/// An answer whose head was read, and whose body is read bit by bit.
#[derive(Debug)]
pub struct Answer {
    /// The status, such as 200 or 404.
    pub status: u16,
    /// Where the body starts in the whole, if a part was asked for and is sent.
    pub start: u64,
    /// The size of the whole in bytes, if the server says it.
    pub total: Option<u64>,
    address: String,
    stream: BufReader<TcpStream>,
    rest: Rest,
}

/// Asks for what `url` names, from byte `from` on if that is not 0.
///
/// # Errors
///
/// [`HttpError`]; any status but 200, 206 and 416 is one.
///
/// # Cancel safety
///
/// Safe: dropping the future closes the connection.
pub async fn get(url: &Url, from: u64) -> Result<Answer, HttpError> {
    let failed = |error| HttpError::Connection(url.address.clone(), error);
    let mut stream = TcpStream::connect(&url.address).await.map_err(failed)?;
    let range = if from > 0 {
        format!("Range: bytes={from}-\r\n")
    } else {
        String::new()
    };
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: celeriac-gallery\r\n{range}Connection: close\r\n\r\n",
        url.path, url.address
    );
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    let mut stream = BufReader::new(stream);

    let mut lines = Vec::new();
    let mut head = (&mut stream).take(MOST_HEAD_BYTES as u64);
    loop {
        let mut line = Vec::new();
        head.read_until(b'\n', &mut line).await.map_err(failed)?;
        if !line.ends_with(b"\n") {
            return Err(HttpError::Broken("its head has no end"));
        }
        let line = String::from_utf8_lossy(&line).trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    Answer::new(url.address.clone(), stream, &lines)
}

impl Answer {
    fn new(
        address: String,
        stream: BufReader<TcpStream>,
        head: &[String],
    ) -> Result<Self, HttpError> {
        let header = |name: &str| {
            head.iter().skip(1).find_map(|line| {
                let (key, value) = line.split_once(':')?;
                key.eq_ignore_ascii_case(name).then(|| value.trim())
            })
        };
        let (version, line) = head
            .first()
            .and_then(|line| line.split_once(' '))
            .unwrap_or_default();
        let status = line.split(' ').next().and_then(|code| code.parse().ok());
        let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
            return Err(HttpError::Broken("it does not start like HTTP/1.1"));
        };
        let length = header("content-length").and_then(|length| length.parse().ok());
        let range = header("content-range").and_then(|range| range.strip_prefix("bytes "));
        let whole = range.and_then(|range| range.rsplit_once('/')?.1.parse().ok());
        let (start, total, rest) = match status {
            200 => (0, length, Rest::UntilClosed),
            206 => {
                let start = range.and_then(|range| range.split_once('-')?.0.parse().ok());
                let start = start.ok_or(HttpError::Broken("it is a part, and says not which"))?;
                (start, whole, Rest::UntilClosed)
            }
            416 => (0, whole, Rest::Nothing),
            _ => return Err(HttpError::Status(line.to_owned())),
        };
        let chunked =
            header("transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked"));
        let rest = match (rest, length) {
            (Rest::Nothing, _) => Rest::Nothing,
            _ if chunked => Rest::Chunked {
                left: 0,
                first: true,
            },
            (_, Some(length)) => Rest::Bytes(length),
            _ => Rest::UntilClosed,
        };
        Ok(Self {
            status,
            start,
            total,
            address,
            stream,
            rest,
        })
    }

    /// Waits for the next bytes of the body; `None` after the last.
    ///
    /// # Errors
    ///
    /// [`HttpError::Broken`] if it ends before its time, [`HttpError::Connection`].
    ///
    /// # Cancel safety
    ///
    /// None: after a dropped call, drop the answer.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        if let Rest::Chunked { left: 0, first } = self.rest {
            self.rest = self.next_chunk(first).await?;
        }
        let most = match self.rest {
            Rest::Nothing | Rest::Bytes(0) => return Ok(None),
            Rest::Bytes(left) | Rest::Chunked { left, .. } => left,
            Rest::UntilClosed => u64::MAX,
        };
        let failed = |error| HttpError::Connection(self.address.clone(), error);
        let came = self.stream.fill_buf().await.map_err(failed)?;
        let length = came.len().min(usize::try_from(most).unwrap_or(usize::MAX));
        let bytes = came[..length].to_vec();
        self.stream.consume(length);
        match &mut self.rest {
            Rest::UntilClosed if length == 0 => return Ok(None),
            _ if length == 0 => return Err(HttpError::Broken("it ends before its time")),
            Rest::Bytes(left) | Rest::Chunked { left, .. } => *left -= length as u64,
            Rest::UntilClosed | Rest::Nothing => {}
        }
        Ok(Some(bytes))
    }

    /// Reads the line that says how long the next chunk is.
    async fn next_chunk(&mut self, first: bool) -> Result<Rest, HttpError> {
        let mut line = String::new();
        // A chunk ends with an empty line, which is not part of it.
        for _ in 0..if first { 1 } else { 2 } {
            line.clear();
            let mut limited = (&mut self.stream).take(1024);
            let read = limited.read_line(&mut line).await;
            read.map_err(|error| HttpError::Connection(self.address.clone(), error))?;
        }
        let size = line.split(';').next().unwrap_or_default().trim();
        match u64::from_str_radix(size, 16) {
            Ok(0) => Ok(Rest::Nothing),
            Ok(left) => Ok(Rest::Chunked { left, first: false }),
            Err(_) => Err(HttpError::Broken("a chunk does not say how long it is")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        for (text, address, path) in [
            ("http://a.example", "a.example:80", "/"),
            (
                "http://a.example:8080/x/y?z=1#top",
                "a.example:8080",
                "/x/y?z=1",
            ),
            ("http://a.example?q", "a.example:80", "/?q"),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.address.as_str(), url.path.as_str()), (address, path));
        }
    }

    #[test]
    fn what_is_no_plain_url_is_refused() {
        for text in [
            "https://a.example/",
            "a.example",
            "http://",
            "http://a b/",
            "http://a/\r\nX: y",
        ] {
            assert!(
                matches!(text.parse::<Url>(), Err(HttpError::BadUrl(_))),
                "{text}"
            );
        }
    }
}
