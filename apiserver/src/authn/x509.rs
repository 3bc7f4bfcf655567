//! Client certificates: the TLS handshake takes any, the request is judged.
//!
//! The handshake proves possession of the key and nothing else ([`ClientCertVerifier`]). Whether the
//! certificate is of our CA, in its time and meant for clients is asked by [`ConnectionIdentity`] at the
//! first request, kept for the connection, and asked again once the certificate has run out.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerified;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest, Sha256};
use x509_parser::der_parser::{Oid, oid};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::user::UserInfo;

/// Attribute of the subject that carries the user's uid.
const UID_OID: Oid<'static> = oid!(1.3.6.1.4.1.57683.2);
/// Where upstream tells which credential was used.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// Why a certificate does not identify anybody.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum CertError {
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired,
    /// Its time has not come.
    #[error("the certificate is not valid yet")]
    NotYetValid,
    /// No client CA signed it.
    #[error("the certificate is not signed by a known authority")]
    UnknownIssuer,
    /// It is not meant for clients.
    #[error("the certificate is not for client authentication")]
    WrongUsage,
    /// Something else is wrong with it.
    #[error("the certificate is invalid: {0}")]
    Invalid(String),
}

/// Verifies chains against the client CAs.
#[derive(Debug)]
pub struct ClientCertAuthenticator {
    chain: Arc<dyn rustls::server::danger::ClientCertVerifier>,
}

impl ClientCertAuthenticator {
    /// Trusts these CA certificates.
    pub fn new(roots: &[CertificateDer<'_>], provider: Arc<CryptoProvider>) -> Result<Self, CertError> {
        let invalid = |e: &dyn fmt::Display| CertError::Invalid(e.to_string());
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone().into_owned()).map_err(|e| invalid(&e))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(store.into(), provider);
        Ok(Self { chain: verifier.build().map_err(|e| invalid(&e))? })
    }

    /// Who the certificate says it is, if it may say so at `now`. `None` if it names nobody (no CN).
    pub fn authenticate(
        &self,
        chain: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<Option<UserInfo>, CertError> {
        let (leaf, intermediates) =
            chain.split_first().ok_or_else(|| CertError::Invalid("no certificate".into()))?;
        let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        self.chain
            .verify_client_cert(leaf, intermediates, UnixTime::since_unix_epoch(since))
            .map_err(|error| name(&error))?;
        subject(leaf)
    }
}

fn name(error: &rustls::Error) -> CertError {
    let rustls::Error::InvalidCertificate(error) = error else {
        return CertError::Invalid(error.to_string());
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => CertError::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => CertError::NotYetValid,
        CertificateError::UnknownIssuer => CertError::UnknownIssuer,
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            CertError::WrongUsage
        }
        other => CertError::Invalid(format!("{other:?}")),
    }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CertError> {
    X509Certificate::from_der(der).map(|(_, cert)| cert).map_err(|e| CertError::Invalid(e.to_string()))
}

/// CN is the name, every O a group, as upstream reads them.
fn subject(der: &CertificateDer<'_>) -> Result<Option<UserInfo>, CertError> {
    let cert = parse(der)?;
    let text =
        |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| attribute.as_str().ok().map(str::to_owned);
    // The last one counts, as in Go's pkix.Name.
    let Some(common) = cert.subject().iter_common_name().filter_map(text).last().filter(|cn| !cn.is_empty())
    else {
        return Ok(None);
    };
    let groups = cert.subject().iter_organization().filter_map(text).collect();
    let mut user = UserInfo::authenticated(common, groups);
    user.uid = cert.subject().iter_by_oid(&UID_OID).filter_map(text).last().unwrap_or_default();
    let digest: String = Sha256::digest(der).iter().map(|byte| format!("{byte:02x}")).collect();
    user.extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={digest}")]);
    Ok(Some(user))
}

/// The end of the leaf's time.
fn not_after(der: &CertificateDer<'_>) -> Option<SystemTime> {
    let end = parse(der).ok()?.validity().not_after.timestamp();
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(end).ok()?))
}

#[derive(Debug, Clone)]
struct Known {
    user: Arc<UserInfo>,
    until: SystemTime,
}

/// The client certificate of one connection, and who it turned out to be.
#[derive(Debug)]
pub struct ConnectionIdentity {
    chain: Vec<CertificateDer<'static>>,
    known: Mutex<Option<Known>>,
}

impl ConnectionIdentity {
    /// Of what the TLS session says its peer showed; `None` if it showed nothing.
    #[must_use]
    pub fn new(peer: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let chain: Vec<_> = peer?.iter().map(|cert| cert.clone().into_owned()).collect();
        (!chain.is_empty()).then(|| Self { chain, known: Mutex::new(None) })
    }

    /// Who the peer is; verified once, and again when the certificate's time is over.
    pub fn authenticate(
        &self,
        authenticator: &ClientCertAuthenticator,
        now: SystemTime,
    ) -> Result<Option<Arc<UserInfo>>, CertError> {
        if let Some(known) = self.known.lock().as_ref().filter(|known| now <= known.until) {
            return Ok(Some(known.user.clone()));
        }
        let Some(user) = authenticator.authenticate(&self.chain, now)?.map(Arc::new) else { return Ok(None) };
        // An intermediate may end sooner: then the connection outlives it, as upstream's would.
        let until = self.chain.first().and_then(not_after).unwrap_or(now);
        *self.known.lock() = Some(Known { user: user.clone(), until });
        Ok(Some(user))
    }
}

/// For the TLS configuration: asks for a certificate, checks that the peer has its key, and leaves the
/// rest to the request.
#[derive(Debug)]
pub struct ClientCertVerifier {
    provider: Arc<CryptoProvider>,
    hints: Vec<DistinguishedName>,
}

impl ClientCertVerifier {
    /// `roots` are named to the peer, so that it can choose the right certificate.
    pub fn new(roots: &[CertificateDer<'_>], provider: Arc<CryptoProvider>) -> Result<Self, CertError> {
        let mut store = RootCertStore::empty();
        for root in roots {
            store.add(root.clone().into_owned()).map_err(|e| CertError::Invalid(e.to_string()))?;
        }
        Ok(Self { provider, hints: store.subjects() })
    }
}

impl rustls::server::danger::ClientCertVerifier for ClientCertVerifier {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // Deferred: see the module's description.
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    };

    use super::*;

    struct Ca {
        issuer: Issuer<'static, KeyPair>,
        der: CertificateDer<'static>,
    }

    fn at(days: i64) -> time::OffsetDateTime {
        time::OffsetDateTime::now_utc() + time::Duration::days(days)
    }

    fn ca() -> Ca {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test-ca");
        let der = params.self_signed(&key).unwrap().der().clone();
        Ca { issuer: Issuer::new(params, key), der }
    }

    fn leaf(ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> CertificateDer<'static> {
        leaf_of(ca, &KeyPair::generate().unwrap(), change)
    }

    fn provider() -> Arc<CryptoProvider> {
        Arc::new(rustls::crypto::aws_lc_rs::default_provider())
    }

    fn judge(ca: &Ca, cert: CertificateDer<'static>) -> Result<Option<Arc<UserInfo>>, CertError> {
        let authenticator = ClientCertAuthenticator::new(std::slice::from_ref(&ca.der), provider()).unwrap();
        ConnectionIdentity::new(Some(&[cert])).unwrap().authenticate(&authenticator, SystemTime::now())
    }

    #[test]
    fn subject_becomes_user() {
        let ca = ca();
        let user = judge(&ca, leaf(&ca, |_| {})).unwrap().unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("jane", ""));
        assert_eq!(user.groups, ["dev", "system:authenticated"]);
        assert!(user.extra[CREDENTIAL_ID][0].starts_with("X509SHA256="));
    }

    #[test]
    fn a_certificate_without_a_name_is_nobody() {
        let ca = ca();
        let cert = leaf(&ca, |params| params.distinguished_name = rcgen::DistinguishedName::new());
        assert_eq!(judge(&ca, cert), Ok(None));
    }

    #[test]
    fn bad_certificates_are_named() {
        let ca = ca();
        let judged = |change: fn(&mut CertificateParams)| judge(&ca, leaf(&ca, change)).unwrap_err();
        assert_eq!(judged(|p| p.not_after = at(-1)), CertError::Expired);
        assert_eq!(judged(|p| p.not_before = at(1)), CertError::NotYetValid);
        assert_eq!(
            judged(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]),
            CertError::WrongUsage
        );
        let other = self::ca();
        let stranger = judge(&ca, leaf(&other, |_| {})).unwrap_err();
        assert!(matches!(stranger, CertError::UnknownIssuer | CertError::Invalid(_)), "{stranger:?}");
    }

    #[test]
    fn a_connection_is_judged_again_when_its_certificate_ends() {
        let ca = ca();
        let authenticator = ClientCertAuthenticator::new(std::slice::from_ref(&ca.der), provider()).unwrap();
        let connection = ConnectionIdentity::new(Some(&[leaf(&ca, |_| {})])).unwrap();
        let now = SystemTime::now();
        assert!(connection.authenticate(&authenticator, now).unwrap().is_some());
        let later = now + Duration::from_secs(3 * 86_400);
        assert_eq!(connection.authenticate(&authenticator, later), Err(CertError::Expired));
    }

    /// Shakes hands with a client that shows `cert` and has `key`; what the server then knows.
    async fn shake(
        ca: &Ca,
        cert: CertificateDer<'static>,
        key: &KeyPair,
    ) -> std::io::Result<Option<ConnectionIdentity>> {
        let server_key = KeyPair::generate().unwrap();
        let server_cert = CertificateParams::new(vec!["localhost".into()]).unwrap();
        let server_cert = server_cert.signed_by(&server_key, &ca.issuer).unwrap().der().clone();
        let der = |key: &KeyPair| rustls_pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let verifier = ClientCertVerifier::new(std::slice::from_ref(&ca.der), provider()).unwrap();
        let server = rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(vec![server_cert], der(&server_key))
            .unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(ca.der.clone()).unwrap();
        let client = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![cert], der(key))
            .unwrap();
        let (near, far) = tokio::io::duplex(64 << 10);
        let connect =
            tokio_rustls::TlsConnector::from(Arc::new(client)).connect("localhost".try_into().unwrap(), near);
        let accept = tokio_rustls::TlsAcceptor::from(Arc::new(server)).accept(far);
        let (client, server) = tokio::join!(connect, accept);
        client?;
        Ok(ConnectionIdentity::new(server?.get_ref().1.peer_certificates()))
    }

    fn leaf_of(
        ca: &Ca,
        key: &KeyPair,
        change: impl FnOnce(&mut CertificateParams),
    ) -> CertificateDer<'static> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "jane");
        params.distinguished_name.push(DnType::OrganizationName, "dev");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = (at(-2), at(2));
        change(&mut params);
        params.signed_by(key, &ca.issuer).unwrap().der().clone()
    }

    #[tokio::test]
    async fn a_bad_certificate_does_not_break_the_handshake() {
        let ca = ca();
        let authenticator = ClientCertAuthenticator::new(std::slice::from_ref(&ca.der), provider()).unwrap();
        let key = KeyPair::generate().unwrap();
        let good = shake(&ca, leaf_of(&ca, &key, |_| {}), &key).await.unwrap().unwrap();
        assert!(good.authenticate(&authenticator, SystemTime::now()).unwrap().is_some());
        let expired = shake(&ca, leaf_of(&ca, &key, |p| p.not_after = at(-1)), &key).await.unwrap().unwrap();
        assert_eq!(expired.authenticate(&authenticator, SystemTime::now()), Err(CertError::Expired));
    }

    #[tokio::test]
    async fn nobody_shows_a_certificate_without_its_key() {
        let ca = ca();
        let (own, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        // The client library may notice first; either way there is no connection.
        let cert = leaf_of(&ca, &own, |_| {});
        let shaken = tokio::spawn(async move { shake(&ca, cert, &other).await });
        assert!(!matches!(shaken.await, Ok(Ok(Some(_)))));
    }

    #[test]
    fn no_certificate_is_no_identity() {
        assert!(ConnectionIdentity::new(None).is_none());
        assert!(ConnectionIdentity::new(Some(&[])).is_none());
    }
}
