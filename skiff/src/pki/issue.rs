//! Issues one certificate.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::paths::write_private;

/// The CA lives ten years, as kubeadm's does.
const CA_DAYS: i64 = 3650;
/// A leaf lives one year and is renewed at a start in its last three months.
const LEAF_DAYS: i64 = 365;
const RENEW_DAYS: i64 = 90;

/// What a certificate is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Usage {
    /// TLS servers.
    Server,
    /// TLS clients.
    Client,
}

/// A certificate to issue.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Common name: the user.
    pub name: &'a str,
    /// Organization: the user's group.
    pub group: Option<&'a str>,
    /// What it is good for.
    pub usage: Usage,
    /// Names and addresses it serves.
    pub alt: Vec<String>,
}

/// The cluster's CA.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

fn validity(params: &mut CertificateParams, days: i64) {
    let now = OffsetDateTime::now_utc();
    // Clocks of other machines may be a little behind.
    params.not_before = now - Duration::hours(1);
    params.not_after = now + Duration::days(days);
}

impl Authority {
    /// Reads the CA, or makes it.
    pub fn ensure(cert: &Path, key: &Path) -> Result<Self> {
        if !cert.exists() || !key.exists() {
            let pair = KeyPair::generate().context("making the CA's key")?;
            let mut params = CertificateParams::default();
            params.distinguished_name = DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, "kubernetes");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![
                KeyUsagePurpose::DigitalSignature,
                KeyUsagePurpose::KeyCertSign,
                KeyUsagePurpose::CrlSign,
            ];
            validity(&mut params, CA_DAYS);
            let made = params.self_signed(&pair).context("signing the CA's certificate")?;
            // The key first: a certificate without its key would never be replaced.
            write_private(key, pair.serialize_pem().as_bytes()).context("writing the CA's key")?;
            write_private(cert, made.pem().as_bytes()).context("writing the CA's certificate")?;
        }
        let pair =
            KeyPair::from_pem(&super::read(key)?).with_context(|| format!("reading {}", key.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&super::read(cert)?, pair)
            .with_context(|| format!("reading {}", cert.display()))?;
        Ok(Self { issuer })
    }

    /// Keeps a certificate that is still right, or issues it.
    pub fn ensure_leaf(&self, cert: &Path, key: &Path, request: &Request<'_>) -> Result<()> {
        if key.exists() && still_right(cert, request) {
            return Ok(());
        }
        let pair = KeyPair::generate().context("making a key")?;
        let mut params = CertificateParams::new(request.alt.clone())
            .map_err(|e| anyhow!("the names {:?}: {e}", request.alt))?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, request.name);
        if let Some(group) = request.group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![match request.usage {
            Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
        }];
        params.use_authority_key_identifier_extension = true;
        validity(&mut params, LEAF_DAYS);
        let made = params.signed_by(&pair, &self.issuer).context("signing")?;
        write_private(key, pair.serialize_pem().as_bytes())?;
        write_private(cert, made.pem().as_bytes())?;
        Ok(())
    }
}

/// Makes a key that has no certificate, where there is none: what it has signed must stay good over restarts.
pub fn ensure_key(key: &Path) -> Result<()> {
    if key.exists() {
        return Ok(());
    }
    let pair = KeyPair::generate().context("making a key")?;
    write_private(key, pair.serialize_pem().as_bytes()).with_context(|| format!("writing {}", key.display()))
}

/// Whether a certificate is there, has time left and says the right names.
fn still_right(cert: &Path, request: &Request<'_>) -> bool {
    let Ok(bytes) = std::fs::read(cert) else { return false };
    let Ok((_, pem)) = x509_parser::pem::parse_x509_pem(&bytes) else { return false };
    let Ok((_, parsed)) = X509Certificate::from_der(&pem.contents) else { return false };
    let renew_at = (OffsetDateTime::now_utc() + Duration::days(RENEW_DAYS)).unix_timestamp();
    if parsed.validity().not_after.timestamp() < renew_at {
        return false;
    }
    let name = parsed.subject().iter_common_name().next().and_then(|n| n.as_str().ok());
    if name != Some(request.name) {
        return false;
    }
    let Ok(alt) = parsed.subject_alternative_name() else { return false };
    let mut said: Vec<String> =
        alt.map(|a| a.value.general_names.iter().filter_map(text).collect()).unwrap_or_default();
    let mut wanted = request.alt.clone();
    said.sort();
    wanted.sort();
    said.dedup();
    wanted.dedup();
    said == wanted
}

fn text(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(n) => Some((*n).to_owned()),
        GeneralName::IPAddress(b) => match b.len() {
            4 => <[u8; 4]>::try_from(*b).ok().map(|b| std::net::IpAddr::from(b).to_string()),
            16 => <[u8; 16]>::try_from(*b).ok().map(|b| std::net::IpAddr::from(b).to_string()),
            _ => None,
        },
        _ => None,
    }
}
