//! Client certificates: what they say of their subject, and what somebody made of one.

use std::sync::Arc;
use std::time::SystemTime;

use apiserver::authn::x509::ClientCertAuthenticator;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair,
};
use rustls_pki_types::CertificateDer;

use crate::runner::{Corpus, run_with};

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    key: KeyPair,
    judge: ClientCertAuthenticator,
}

fn authority() -> Authority {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let judge = ClientCertAuthenticator::new(&[root.der().clone()], provider).unwrap();
    Authority { issuer: Issuer::new(params, key), key: KeyPair::generate().unwrap(), judge }
}

impl Authority {
    fn issue(&self, name: &str, group: &str) -> Option<Vec<u8>> {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, group);
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.signed_by(&self.key, &self.issuer).ok().map(|cert| cert.der().to_vec())
    }
}

#[test]
fn subjects() {
    let authority = authority();
    let seeds: &[&[u8]] =
        &[b"jane\nsystem:masters", b"system:node:n1\nsystem:nodes", b"\n", b"a=b,O=system:masters\nx"];
    let words = ["system:", "masters", ",O=", "CN=", "\\", "+", "\"", ";", "#", " "];
    run_with(&Corpus { name: "subjects", seeds, words: &words }, 300, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return };
        let (name, group) = text.split_once('\n').unwrap_or((text, "g"));
        let Some(der) = authority.issue(name, group) else { return };
        // Strict parsers refuse what is empty or too long for its attribute; nobody is made somebody else.
        let Ok(user) = authority.judge.authenticate(&[CertificateDer::from(der)], SystemTime::now()) else {
            return;
        };
        match user {
            None => assert!(name.is_empty(), "{name:?} is nobody"),
            Some(user) => {
                assert_eq!(user.name, name);
                let others: Vec<_> = user.groups.iter().filter(|g| *g != "system:authenticated").collect();
                assert!(others.iter().all(|g| *g == group), "{others:?} of {group:?}");
            }
        }
    });
}

#[test]
fn altered_certificates() {
    let authority = authority();
    let genuine = authority.issue("jane", "users").unwrap();
    let seeds: &[&[u8]] = &[&genuine, b"", b"\x30\x82\xff\xff"];
    run_with(
        &Corpus { name: "altered certificates", seeds, words: &["jane", "root", "system:masters"] },
        2_000,
        |input| {
            let user =
                authority.judge.authenticate(&[CertificateDer::from(input.to_vec())], SystemTime::now());
            if let Ok(user) = user {
                assert_eq!(
                    user.map(|u| u.name).as_deref(),
                    Some("jane"),
                    "an altered certificate is believed"
                );
            }
        },
    );
}
