//! A small HTTP server to fetch from, for when no URL is given: slow, broken and silent on demand.
//!
//! It stands for the world outside, so it is written on tokio's own tasks, not on celeriac.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// In how many pieces a slow page is sent.
const PIECES: usize = 40;

/// What the server does when a path is asked for. Other paths are answered with a 404.
#[derive(Debug, Clone)]
pub enum Page {
    /// Sends these bytes, spread over the time.
    Slow(Vec<u8>, Duration),
    /// Sends so many of the bytes it announced, and then nothing more, without hanging up.
    Stalls(Vec<u8>, usize),
    /// Sends these bytes in chunks, without saying how many.
    Chunked(Vec<u8>),
    /// Takes the question and never answers.
    Silent,
}

/// A server on a free port of this machine, closed when dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Starts to serve `pages` by their paths, which begin with a slash.
    ///
    /// # Errors
    ///
    /// If there is no port to listen on.
    pub async fn start<P: Into<String>>(
        pages: impl IntoIterator<Item = (P, Page)>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let requests = Arc::<Mutex<Vec<_>>>::default();
        let pages = pages.into_iter().map(|(path, page)| (path.into(), page));
        let pages: Arc<HashMap<String, Page>> = Arc::new(pages.collect());
        let seen = requests.clone();
        let accepting = tokio::spawn(async move {
            // Dropping the set, with this task, ends the connections too.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (pages, seen) = (pages.clone(), seen.clone());
                // A client that hangs up is its own affair.
                connections.spawn(async move { drop(serve(stream, &pages, &seen).await) });
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self {
            address,
            requests,
            accepting,
        })
    }

    /// The URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What was asked for so far: paths, each with its range if it had one, as in `/a bytes=10-`.
    pub fn requests(&self) -> Vec<String> {
        self.requests
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    stream: TcpStream,
    pages: &HashMap<String, Page>,
    seen: &Mutex<Vec<String>>,
) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut path, mut range) = (String::new(), None);
    loop {
        let mut line = String::new();
        (&mut stream).take(8 * 1024).read_line(&mut line).await?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(asked) = line.strip_prefix("GET ") {
            asked
                .split(' ')
                .next()
                .unwrap_or_default()
                .clone_into(&mut path);
        } else if let Some(asked) = line.strip_prefix("Range: ") {
            range = Some(asked.trim().to_owned());
        }
    }
    let request = [&path]
        .into_iter()
        .chain(&range)
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join(" ");
    seen.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(request);
    match pages.get(&path) {
        None => {
            stream
                .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                .await
        }
        Some(Page::Silent) => std::future::pending().await,
        Some(Page::Chunked(bytes)) => chunked(&mut stream, bytes).await,
        Some(Page::Slow(bytes, time)) => {
            let bytes = head(&mut stream, bytes, range.as_deref()).await?;
            for piece in bytes.chunks(bytes.len().div_ceil(PIECES).max(1)) {
                stream.write_all(piece).await?;
                sleep(*time / u32::try_from(PIECES).expect("it is small")).await;
            }
            Ok(())
        }
        Some(Page::Stalls(bytes, sent)) => {
            let rest = head(&mut stream, bytes, range.as_deref()).await?;
            stream.write_all(&rest[..rest.len().min(*sent)]).await?;
            std::future::pending().await
        }
    }
}

/// Sends the head of an answer, and gives the part of `bytes` that has to follow.
async fn head<'a>(
    stream: &mut BufReader<TcpStream>,
    bytes: &'a [u8],
    range: Option<&str>,
) -> io::Result<&'a [u8]> {
    let total = bytes.len();
    let from = range.and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    });
    let (status, range, from) = match from {
        None => ("200 OK", String::new(), 0),
        Some(from) if from < total => {
            let range = format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1);
            ("206 Partial Content", range, from)
        }
        Some(_) => {
            let range = format!("Content-Range: bytes */{total}\r\n");
            ("416 Range Not Satisfiable", range, total)
        }
    };
    let length = total - from;
    let head = format!("HTTP/1.1 {status}\r\n{range}Content-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    Ok(&bytes[from..])
}

async fn chunked(stream: &mut BufReader<TcpStream>, bytes: &[u8]) -> io::Result<()> {
    stream
        .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    for chunk in bytes.chunks(1000) {
        stream
            .write_all(format!("{:x}\r\n", chunk.len()).as_bytes())
            .await?;
        stream.write_all(chunk).await?;
        stream.write_all(b"\r\n").await?;
    }
    stream.write_all(b"0\r\n\r\n").await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::get;

    #[tokio::test]
    async fn a_chunked_answer_is_put_together() {
        let bytes: Vec<u8> = (0..=255).cycle().take(2500).collect();
        let server = Server::start([("/a", Page::Chunked(bytes.clone()))])
            .await
            .unwrap();
        let mut answer = get(&server.url("/a").parse().unwrap(), 0).await.unwrap();
        let mut body = Vec::new();
        while let Some(more) = answer.next().await.unwrap() {
            body.extend(more);
        }
        assert_eq!(body, bytes);
    }

    #[tokio::test]
    async fn a_part_says_where_it_starts() {
        let page = Page::Slow(b"0123456789".to_vec(), Duration::ZERO);
        let server = Server::start([("/a", page)]).await.unwrap();
        let mut answer = get(&server.url("/a").parse().unwrap(), 6).await.unwrap();
        assert_eq!(
            (answer.status, answer.start, answer.total),
            (206, 6, Some(10))
        );
        let mut body = Vec::new();
        while let Some(more) = answer.next().await.unwrap() {
            body.extend(more);
        }
        assert_eq!(body, b"6789");
        assert_eq!(server.requests(), ["/a bytes=6-"]);
    }

    #[tokio::test]
    async fn an_answer_that_ends_early_is_an_error() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap())
            .parse()
            .unwrap();
        let server = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc")
                .await
                .unwrap();
            stream.shutdown().await.unwrap();
            stream
        };
        let client = async {
            let mut answer = get(&url, 0).await.unwrap();
            assert_eq!(answer.next().await.unwrap().unwrap(), b"abc");
            answer.next().await.unwrap_err().to_string()
        };
        let (_stream, error) = tokio::join!(server, client);
        assert!(error.contains("ends before its time"), "{error}");
    }
}
