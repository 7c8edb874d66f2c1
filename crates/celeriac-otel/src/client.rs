//! Sends batches of spans: one request on one connection each, on the thread that exports them.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use opentelemetry_http::{HttpClient, HttpError};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::TracesError;
use crate::environment::Settings;

/// The longest answer that is read, in bytes: a collector has little to say.
const ANSWER_BYTES: usize = 64 * 1024;

/// Sends requests, and blocks until they are answered.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    tls: Arc<ClientConfig>,
    timeout: Duration,
    /// Whether the last one failed.
    fails: AtomicBool,
}

/// Bytes both ways.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Result<Self, TracesError> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let tls = tls(settings.authorities.as_deref()).map_err(TracesError::Certificate)?;
        Ok(Self {
            runtime: runtime.map_err(TracesError::Start)?,
            tls: Arc::new(tls),
            timeout: settings.timeout,
            fails: AtomicBool::new(false),
        })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (mut head, body) = request.into_parts();
        let stream = self.connect(&head.uri).await?;
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with the request, or with the runtime.
        let connection = tokio::spawn(connection);
        if let Some(authority) = head.uri.authority() {
            let host = HeaderValue::from_str(authority.as_str())?;
            head.headers.insert(HOST, host);
        }
        let path = head.uri.path_and_query().map(PathAndQuery::as_str);
        head.uri = path.unwrap_or("/").parse()?;
        let answer = requests
            .send_request(Request::from_parts(head, Full::new(body)))
            .await?;
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await?;
        connection.abort();
        if !head.status.is_success() {
            return Err(format!("the collector answered {}", head.status).into());
        }
        Ok(Response::from_parts(head, body.to_bytes()))
    }

    async fn connect(&self, uri: &hyper::Uri) -> Result<Box<dyn Duplex>, HttpError> {
        let host = uri.host().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let is_encrypted = uri.scheme_str() == Some("https");
        let port = uri
            .port_u16()
            .unwrap_or(if is_encrypted { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        if !is_encrypted {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host.to_owned())?;
        let encrypted = TlsConnector::from(self.tls.clone()).connect(name, stream);
        Ok(Box::new(encrypted.await?))
    }

    /// Tells the first failure, and that it works again.
    fn tell(&self, error: Option<&HttpError>) {
        let failed_before = self.fails.swap(error.is_some(), Ordering::Relaxed);
        match error {
            Some(error) if !failed_before => {
                tracing::warn!(%error, "traces cannot be exported, their spans are dropped");
            }
            None if failed_before => tracing::warn!("traces are exported again"),
            _ => {}
        }
    }
}

impl HttpClient for Client {
    fn send_bytes<'client, 'sending>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sending>>
    where
        'client: 'sending,
        Self: 'sending,
    {
        Box::pin(async move {
            // The exporter's thread has no runtime, and nothing else to do.
            let sent = self.runtime.block_on(async {
                let sent = timeout(self.timeout, self.send(request)).await;
                sent.unwrap_or_else(|_| Err("the collector does not answer".into()))
            });
            self.tell(sent.as_ref().err());
            sent
        })
    }
}

/// Trusts the authorities in a file, or those that browsers trust.
fn tls(authorities: Option<&Path>) -> io::Result<ClientConfig> {
    let mut trusted = RootCertStore::empty();
    if let Some(file) = authorities {
        for certificate in CertificateDer::pem_file_iter(file).map_err(io::Error::other)? {
            let certificate = certificate.map_err(io::Error::other)?;
            trusted.add(certificate).map_err(io::Error::other)?;
        }
    } else {
        trusted.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(config.with_root_certificates(trusted).with_no_client_auth())
}
