//! What a certificate request and its answer carry: PEM around DER, as Go's parsers judge it.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA1_ASN1, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1,
    ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA1_ASN1,
    ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, EcdsaVerificationAlgorithm,
    UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";
const SHA1: &str = "1.2.840.10045.4.1";
const SHA256: &str = "1.2.840.10045.4.3.2";
const SHA384: &str = "1.2.840.10045.4.3.3";
const SHA512: &str = "1.2.840.10045.4.3.4";

/// Why a request cannot be signed; `encoded` is the base64 of its PEM.
pub fn request(encoded: &str) -> Result<(), String> {
    let pem = STANDARD.decode(encoded).unwrap_or_default();
    let block = Pem::iter_from_buffer(&pem).next().and_then(Result::ok);
    let block = block
        .filter(|b| b.label == "CERTIFICATE REQUEST")
        .ok_or("PEM block type must be CERTIFICATE REQUEST")?;
    let (rest, request) = X509CertificationRequest::from_der(&block.contents)
        .map_err(|e| format!("asn1: structure error: {e}"))?;
    if !rest.is_empty() {
        return Err("asn1: syntax error: trailing data".into());
    }
    let verified = match ecdsa(&request) {
        Some(algorithm) => verify(&request, algorithm),
        None => request.verify_signature().is_ok(),
    };
    if verified { Ok(()) } else { Err(signature_error(&request).to_owned()) }
}

/// How a signature by a key on one of Go's curves is verified: upstream takes any hash with any curve.
fn ecdsa(request: &X509CertificationRequest<'_>) -> Option<&'static EcdsaVerificationAlgorithm> {
    let key = &request.certification_request_info.subject_pki.algorithm;
    let curve = key.parameters.as_ref()?.as_oid().ok()?.to_id_string();
    let signature = request.signature_algorithm.algorithm.to_id_string();
    Some(match (curve.as_str(), signature.as_str()) {
        (P256, SHA1) => &ECDSA_P256_SHA1_ASN1,
        (P256, SHA256) => &ECDSA_P256_SHA256_ASN1,
        (P256, SHA384) => &ECDSA_P256_SHA384_ASN1,
        (P256, SHA512) => &ECDSA_P256_SHA512_ASN1,
        (P384, SHA256) => &ECDSA_P384_SHA256_ASN1,
        (P384, SHA384) => &ECDSA_P384_SHA384_ASN1,
        (P384, SHA512) => &ECDSA_P384_SHA512_ASN1,
        (P521, SHA1) => &ECDSA_P521_SHA1_ASN1,
        (P521, SHA256) => &ECDSA_P521_SHA256_ASN1,
        (P521, SHA384) => &ECDSA_P521_SHA384_ASN1,
        (P521, SHA512) => &ECDSA_P521_SHA512_ASN1,
        _ => return None,
    })
}

fn verify(request: &X509CertificationRequest<'_>, algorithm: &'static EcdsaVerificationAlgorithm) -> bool {
    let info = &request.certification_request_info;
    let key = UnparsedPublicKey::new(algorithm, &info.subject_pki.subject_public_key.data);
    key.verify(info.raw, &request.signature_value.data).is_ok()
}

/// Go's words for a wrong signature, which depend on the kind of key.
fn signature_error(request: &X509CertificationRequest<'_>) -> &'static str {
    use x509_parser::public_key::PublicKey;
    match request.certification_request_info.subject_pki.parsed() {
        Ok(PublicKey::RSA(_)) => "crypto/rsa: verification error",
        Ok(PublicKey::EC(_)) => "x509: ECDSA verification failure",
        _ => "x509: Ed25519 verification failure",
    }
}

/// Why an issued certificate is none; `encoded` is the base64 of its PEM, empty where there is none yet.
pub fn certificate(encoded: &str) -> Result<(), String> {
    let pem = STANDARD.decode(encoded).unwrap_or_default();
    if pem.is_empty() {
        return Ok(());
    }
    if has_headers(&pem) {
        return Err("no PEM block headers are permitted".into());
    }
    let mut blocks = 0;
    for block in Pem::iter_from_buffer(&pem) {
        let Ok(block) = block else { break };
        if block.label != "CERTIFICATE" {
            return Err(format!("only CERTIFICATE PEM blocks are allowed, found {:?}", block.label));
        }
        blocks += 1;
        block.parse_x509().map_err(|_| "x509: malformed certificate".to_owned())?;
    }
    if blocks == 0 {
        return Err("must contain at least one CERTIFICATE PEM block".into());
    }
    Ok(())
}

/// Whether a block says more of itself than its label.
fn has_headers(pem: &[u8]) -> bool {
    let mut inside = false;
    String::from_utf8_lossy(pem).lines().any(|line| {
        match line {
            l if l.starts_with("-----BEGIN ") => inside = true,
            l if l.starts_with("-----END ") => inside = false,
            _ => {}
        }
        inside && line.contains(':')
    })
}
