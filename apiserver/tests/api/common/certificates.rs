//! A CA and a serving certificate of it, made once for all tests.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use apiserver::{ServiceAccountConfig, Signer};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

struct Pem {
    ca: String,
    cert: String,
    key: String,
}

static PEM: LazyLock<Pem> = LazyLock::new(|| {
    let ca_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "test-ca");
    let ca = params.self_signed(&ca_key).unwrap().pem();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let cert = leaf.signed_by(&key, &issuer).unwrap().pem();
    Pem { ca, cert, key: key.serialize_pem() }
});

/// Writes CA, certificate and key; gives their paths.
pub fn write(dir: &Path) -> (PathBuf, PathBuf, PathBuf) {
    let put = |name: &str, text: &str| {
        let path = dir.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    (put("ca.crt", &PEM.ca), put("server.crt", &PEM.cert), put("server.key", &PEM.key))
}

/// The issuer of the tests' tokens.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

static TOKEN_KEY: LazyLock<String> = LazyLock::new(|| KeyPair::generate().unwrap().serialize_pem());

/// Signs with the key that tests' servers sign with.
pub fn signer(dir: &Path) -> Signer {
    Signer::read(&service_accounts(dir).signing_key).unwrap()
}

/// Writes a key that service account tokens are signed with.
pub fn service_accounts(dir: &Path) -> ServiceAccountConfig {
    let signing_key = dir.join("service-account.key");
    std::fs::write(&signing_key, &*TOKEN_KEY).unwrap();
    ServiceAccountConfig { signing_key, keys: vec![], issuers: vec![ISSUER.into()], audiences: vec![] }
}
