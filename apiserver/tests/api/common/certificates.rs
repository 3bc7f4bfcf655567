//! A CA and a serving certificate of it, made once for all tests.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

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
