//! The keys tokens are signed with and verified by, read from PEM files as upstream's flags name them.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey};
use rcgen::{KeyPair, PublicKeyData};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

/// A public key tokens may be signed with.
pub struct VerificationKey {
    /// Upstream's key id: the base64url of the SHA-256 of the key's DER form.
    pub id: String,
    /// How it signs.
    pub algorithm: Algorithm,
    /// The key.
    pub key: DecodingKey,
    /// As the key set shows it.
    pub jwk: Value,
}

/// The private key tokens are signed with.
pub struct SigningKey {
    /// The key.
    pub key: EncodingKey,
    /// Its public half.
    pub public: VerificationKey,
}

/// Reads the private key of a PEM file.
pub fn signing(path: &Path) -> Result<SigningKey, String> {
    let text = read(path)?;
    let pair = KeyPair::from_pem(&text).map_err(|e| format!("no private key: {e}"))?;
    let public = from_spki(&pair.subject_public_key_info())?;
    let key = match public.algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(text.as_bytes()),
        _ => EncodingKey::from_ec_pem(text.as_bytes()),
    };
    Ok(SigningKey { key: key.map_err(|e| format!("no key tokens can be signed with: {e}"))?, public })
}

/// Reads all keys of a PEM file: public ones, or the public halves of private ones.
pub fn verification(path: &Path) -> Result<Vec<VerificationKey>, String> {
    let text = read(path)?;
    let mut keys = Vec::new();
    for pem in Pem::iter_from_buffer(text.as_bytes()) {
        let pem = pem.map_err(|e| e.to_string())?;
        if pem.label == "PUBLIC KEY" {
            keys.push(from_spki(&pem.contents)?);
        }
    }
    if keys.is_empty() {
        keys.push(signing(path)?.public);
    }
    Ok(keys)
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| e.to_string())
}

fn from_spki(der: &[u8]) -> Result<VerificationKey, String> {
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let id = encode(&Sha256::digest(der));
    let (_, info) = SubjectPublicKeyInfo::from_der(der).map_err(|e| e.to_string())?;
    let parsed = info.parsed().map_err(|e| e.to_string())?;
    let failed = |e: jsonwebtoken::errors::Error| e.to_string();
    match parsed {
        PublicKey::RSA(rsa) => {
            let trim = |b: &[u8]| b.iter().position(|x| *x != 0).map_or(Vec::new(), |i| b[i..].to_vec());
            let (n, e) = (encode(&trim(rsa.modulus)), encode(&trim(rsa.exponent)));
            let key = DecodingKey::from_rsa_components(&n, &e).map_err(failed)?;
            let jwk = json!({"use": "sig", "kty": "RSA", "kid": id, "alg": "RS256", "n": n, "e": e});
            Ok(VerificationKey { id, algorithm: Algorithm::RS256, key, jwk })
        }
        PublicKey::EC(point) => {
            // An uncompressed point: 4, x, y.
            let data = point.data();
            let (algorithm, curve, name) = match data.len() {
                65 => (Algorithm::ES256, "P-256", "ES256"),
                97 => (Algorithm::ES384, "P-384", "ES384"),
                _ => return Err("only the curves P-256 and P-384 are supported".into()),
            };
            let (x, y) = data[1..].split_at((data.len() - 1) / 2);
            let (x, y) = (encode(x), encode(y));
            let key = DecodingKey::from_ec_components(&x, &y).map_err(failed)?;
            let jwk =
                json!({"use": "sig", "kty": "EC", "kid": id, "crv": curve, "alg": name, "x": x, "y": y});
            Ok(VerificationKey { id, algorithm, key, jwk })
        }
        _ => Err("only RSA and elliptic curve keys are supported".into()),
    }
}
