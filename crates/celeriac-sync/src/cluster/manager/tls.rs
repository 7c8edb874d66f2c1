//! What a manager shows and its clients trust, where they speak TLS.
//!
//! TLS hides what is said, and proves to a client whom it speaks to. That the client may speak there is proved
//! inside, by the key.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::cluster::Error;

/// Shows the certificate in one file, with those between it and its authority, by the key in another; both in
/// PEM.
pub(super) fn acceptor(certificate: &Path, key: &Path) -> Result<TlsAcceptor, Error> {
    let chain = certificates(certificate)?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|error| unfit(key, pem(error)))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .and_then(|config| {
            let config = config.with_no_client_auth();
            config.with_single_cert(chain, secret)
        });
    // A key that is not the certificate's is told of here too.
    Ok(Arc::new(config.map_err(|error| unfit(key, error))?).into())
}

/// Trusts the authorities in a file, or those that browsers trust.
pub(in crate::cluster) fn trust(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, Error> {
    let mut trusted = RootCertStore::empty();
    let shown = authorities.unwrap_or(Path::new("of this program"));
    if let Some(file) = authorities {
        for certificate in certificates(file)? {
            trusted
                .add(certificate)
                .map_err(|error| unfit(file, error))?;
        }
    } else {
        trusted.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
    }
    let config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| unfit(shown, error))?;
    Ok(Arc::new(
        config.with_root_certificates(trusted).with_no_client_auth(),
    ))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let found: Vec<_> = found.map_err(|error| unfit(path, pem(error)))?;
    if found.is_empty() {
        return Err(unfit(path, "it has no certificate in PEM"));
    }
    Ok(found)
}

/// What the reader of files says, in words.
fn pem(error: PemError) -> Box<dyn std::error::Error + Send + Sync> {
    match error {
        PemError::Io(error) => error.into(),
        PemError::NoItemsFound => "it has no key in PEM".into(),
        other => other.into(),
    }
}

fn unfit(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::TlsFile {
        path: path.display().to_string(),
        source: source.into(),
    }
}
