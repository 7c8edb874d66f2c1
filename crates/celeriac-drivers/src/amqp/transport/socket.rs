//! The way to a server: a TCP stream, encrypted or not.

use std::io;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::amqp::settings::Target;

/// Bytes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(super) type Socket = Box<dyn Duplex>;

/// Connects to `target`.
pub(super) async fn open(target: &Target) -> io::Result<Socket> {
    // An address of IPv6 stands in brackets in a URL, and nowhere else.
    let host = target.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, target.port)).await?;
    // What is said is said at once: it is gathered before it gets here.
    stream.set_nodelay(true)?;
    if !target.tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let connector = TlsConnector::from(Arc::new(config()?));
    Ok(Box::new(connector.connect(name, stream).await?))
}

/// Trusts the certificate authorities that browsers trust.
fn config() -> io::Result<ClientConfig> {
    let mut authorities = RootCertStore::empty();
    let known = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned();
    authorities.add_parsable_certificates(known);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config
        .with_root_certificates(authorities)
        .with_no_client_auth())
}
