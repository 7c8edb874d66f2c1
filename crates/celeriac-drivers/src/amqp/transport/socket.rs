//! The way to a server: a TCP stream, encrypted or not.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::LinkError;
use crate::amqp::settings::Target;

/// Bytes both ways.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

pub(super) type Socket = Box<dyn Duplex>;

/// Connects to `target`.
pub(super) async fn open(target: &Target) -> Result<Socket, LinkError> {
    // An address of IPv6 stands in brackets in a URL, and nowhere else.
    let host = target.host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, target.port)).await?;
    // What is said is said at once: it is gathered before it gets here.
    stream.set_nodelay(true)?;
    if !target.tls {
        return Ok(Box::new(stream));
    }
    let name = ServerName::try_from(host.to_owned()).map_err(untrusted)?;
    let config = config(target.authorities.as_deref())?;
    let encrypted = TlsConnector::from(Arc::new(config)).connect(name, stream);
    Ok(Box::new(encrypted.await.map_err(refused)?))
}

/// Trusts the authorities in a file, or those that browsers trust.
fn config(authorities: Option<&Path>) -> Result<ClientConfig, LinkError> {
    let mut trusted = RootCertStore::empty();
    if let Some(file) = authorities {
        let unread = |error| LinkError::Untrusted(format!("{}: {error}", file.display()));
        for certificate in CertificateDer::pem_file_iter(file).map_err(unread)? {
            trusted
                .add(certificate.map_err(unread)?)
                .map_err(untrusted)?;
        }
    } else {
        trusted.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(untrusted)?;
    Ok(config.with_root_certificates(trusted).with_no_client_auth())
}

fn untrusted(error: impl std::error::Error) -> LinkError {
    LinkError::Untrusted(error.to_string())
}

/// A certificate that is not trusted stays so; anything else may pass.
fn refused(error: io::Error) -> LinkError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(rustls::Error::InvalidCertificate(_)) => untrusted(error),
        _ => error.into(),
    }
}
