//! Whether a private key belongs to a certificate, in the words of Go's `crypto/tls`.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1_SIGNING,
    EcdsaKeyPair, Ed25519KeyPair, KeyPair,
};
use x509_parser::der_parser::ber::BerObject;
use x509_parser::der_parser::parse_der;
use x509_parser::pem::Pem;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;

const RSA: &str = "1.2.840.113549.1.1.1";
const ED25519: &str = "1.3.101.112";
/// Parts of an RSA private key: its version, the modulus and seven more numbers.
const RSA_PARTS: usize = 9;

/// What of a key says to which other it belongs.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    /// The modulus.
    Rsa(Vec<u8>),
    /// The point.
    Ecdsa(Vec<u8>),
    /// The public key.
    Ed25519(Vec<u8>),
}

/// What is wrong with a certificate (the first of its chain) and its private key, both in PEM.
pub fn problem(certificate: &[u8], key: &[u8]) -> Option<String> {
    check(certificate, key).err()
}

fn check(certificate: &[u8], key: &[u8]) -> Result<(), String> {
    let leaf = first_certificate(certificate)?;
    let key = first_key(key)?;
    let (_, leaf) = X509Certificate::from_der(&leaf).map_err(|_| "x509: malformed certificate".to_owned())?;
    let private = private_key(&key).ok_or("tls: failed to parse private key")?;
    let public = public_key(&leaf).ok_or("tls: unknown public key algorithm")?;
    if std::mem::discriminant(&public) != std::mem::discriminant(&private) {
        return Err("tls: private key type does not match public key type".into());
    }
    if public != private {
        return Err("tls: private key does not match public key".into());
    }
    Ok(())
}

fn blocks(pem: &[u8]) -> impl Iterator<Item = Pem> {
    // What is no block is passed over, as by Go.
    Pem::iter_from_buffer(pem).filter_map(Result::ok)
}

fn first_certificate(pem: &[u8]) -> Result<Vec<u8>, String> {
    let mut passed = Vec::new();
    for block in blocks(pem) {
        if block.label == "CERTIFICATE" {
            return Ok(block.contents);
        }
        passed.push(block.label);
    }
    Err(match passed.as_slice() {
        [] => "tls: failed to find any PEM data in certificate input".into(),
        [one] if one.ends_with("PRIVATE KEY") => "tls: failed to find certificate PEM data in certificate input, but did find a private key; PEM inputs may have been switched".into(),
        all => format!("tls: failed to find \"CERTIFICATE\" PEM block in certificate input after skipping PEM blocks of the following types: [{}]", all.join(" ")),
    })
}

fn first_key(pem: &[u8]) -> Result<Vec<u8>, String> {
    let mut passed = Vec::new();
    for block in blocks(pem) {
        if block.label == "PRIVATE KEY" || block.label.ends_with(" PRIVATE KEY") {
            return Ok(block.contents);
        }
        passed.push(block.label);
    }
    Err(match passed.as_slice() {
        [] => "tls: failed to find any PEM data in key input".into(),
        [one] if one == "CERTIFICATE" => {
            "tls: found a certificate rather than a key in the PEM for the private key".into()
        }
        all => format!(
            "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input after skipping PEM blocks of the following types: [{}]",
            all.join(" ")
        ),
    })
}

fn public_key(certificate: &X509Certificate<'_>) -> Option<Key> {
    let info = certificate.public_key();
    let bits = info.subject_public_key.data.to_vec();
    match info.parsed() {
        Ok(PublicKey::RSA(key)) => Some(Key::Rsa(number(key.modulus))),
        Ok(PublicKey::EC(_)) => Some(Key::Ecdsa(bits)),
        _ if info.algorithm.algorithm.to_id_string() == ED25519 => Some(Key::Ed25519(bits)),
        _ => None,
    }
}

/// Keys are read as PKCS #1, PKCS #8 and SEC 1, whatever their label says.
fn private_key(der: &[u8]) -> Option<Key> {
    rsa_modulus(der)
        .or_else(|| wrapped_rsa_modulus(der))
        .map(Key::Rsa)
        .or_else(|| ed25519(der).map(Key::Ed25519))
        .or_else(|| ecdsa(der).map(Key::Ecdsa))
}

/// Only read, not computed with: however short, it is compared.
fn rsa_modulus(der: &[u8]) -> Option<Vec<u8>> {
    let (_, key) = parse_der(der).ok()?;
    let parts = parts(&key).filter(|p| p.len() >= RSA_PARTS)?;
    Some(number(parts[1].as_slice().ok()?))
}

fn wrapped_rsa_modulus(der: &[u8]) -> Option<Vec<u8>> {
    let (_, wrapping) = parse_der(der).ok()?;
    let [_, algorithm, key, ..] = parts(&wrapping)? else { return None };
    let algorithm = parts(algorithm)?.first()?.as_oid().ok()?;
    if algorithm.to_id_string() != RSA {
        return None;
    }
    rsa_modulus(key.as_slice().ok()?)
}

fn parts<'o>(object: &'o BerObject<'_>) -> Option<&'o [BerObject<'o>]> {
    object.as_sequence().ok().map(Vec::as_slice)
}

fn ed25519(der: &[u8]) -> Option<Vec<u8>> {
    let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).ok()?;
    Some(pair.public_key().as_ref().to_vec())
}

fn ecdsa(der: &[u8]) -> Option<Vec<u8>> {
    let curves =
        [&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P521_SHA512_ASN1_SIGNING];
    let pair = curves.into_iter().find_map(|c| EcdsaKeyPair::from_private_key_der(c, der).ok())?;
    Some(pair.public_key().as_ref().to_vec())
}

/// A number without the zeros before it.
fn number(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|b| *b == 0).collect()
}
