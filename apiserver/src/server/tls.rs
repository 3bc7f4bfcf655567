//! TLS configurations: serving clients, and speaking to node agents.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::BuildError;
use crate::authn::ClientCertVerifier;

/// The cryptography of the whole server.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The certificates of a PEM file.
pub fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, BuildError> {
    let read =
        |e: rustls_pki_types::pem::Error| BuildError::Pem { path: path.to_owned(), why: e.to_string() };
    let all: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(read)?.collect::<Result<_, _>>().map_err(read)?;
    if all.is_empty() {
        return Err(BuildError::Pem { path: path.to_owned(), why: "it holds no certificate".into() });
    }
    Ok(all)
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, BuildError> {
    PrivateKeyDer::from_pem_file(path)
        .map_err(|e| BuildError::Pem { path: path.to_owned(), why: e.to_string() })
}

/// For the listener: a client certificate is asked for, and judged at request time.
pub fn server(
    cert: &Path,
    key_file: &Path,
    client_roots: &[CertificateDer<'static>],
) -> Result<ServerConfig, BuildError> {
    let bad = |why: String| BuildError::Tls { why };
    let verifier =
        ClientCertVerifier::new(client_roots, provider()).map_err(|e| bad(format!("the client CA: {e}")))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(e.to_string()))?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_single_cert(certificates(cert)?, key(key_file)?)
        .map_err(|e| bad(format!("the serving certificate: {e}")))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// For connections to node agents.
pub fn client(
    cert: &Path,
    key_file: &Path,
    roots: &[CertificateDer<'static>],
) -> Result<ClientConfig, BuildError> {
    let bad = |why: String| BuildError::Tls { why };
    let mut store = RootCertStore::empty();
    for r in roots {
        store.add(r.clone()).map_err(|e| bad(format!("the cluster CA: {e}")))?;
    }
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|e| bad(e.to_string()))?
        .with_root_certificates(store)
        .with_client_auth_cert(certificates(cert)?, key(key_file)?)
        .map_err(|e| bad(format!("the certificate for node agents: {e}")))
}
