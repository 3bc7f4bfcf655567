//! What a certificate request and its answer carry: PEM around DER, as Go's parsers judge it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::pem::Pem;
use x509_parser::prelude::FromDer;

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
    request.verify_signature().map_err(|_| signature_error(&request).to_owned())
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
