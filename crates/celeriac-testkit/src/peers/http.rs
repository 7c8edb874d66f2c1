//! A client that asks a server of this machine for a page.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

/// The status and the body that the server at `address`, a host and a port, gives for `path`; its head
/// and body in full if it does not speak HTTP.
///
/// # Panics
///
/// If it cannot be reached, or does not answer within 30 s.
pub fn http_get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    let patience = Some(Duration::from_secs(30));
    stream.set_read_timeout(patience).expect("it is not zero");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    // A server that refuses may not read it all.
    let _ = stream.write_all(request.as_bytes());
    let mut answer = String::new();
    stream
        .read_to_string(&mut answer)
        .expect("it answers in time");
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    match (status, answer.split_once("\r\n\r\n")) {
        (Some(status), Some((_, body))) => (status, body.to_owned()),
        _ => (0, answer),
    }
}
