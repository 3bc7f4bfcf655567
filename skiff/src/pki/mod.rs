//! The cluster's certificates: made at the first start, kept, renewed when they run out.
//!
//! One CA signs everything. Keys are ECDSA P-256 and readable by root alone.

mod issue;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::paths::{self, Paths};
use issue::{Authority, Request, Usage};

/// Who a client certificate is for.
#[derive(Clone, Copy, Debug)]
struct Client {
    file: &'static str,
    name: &'static str,
    group: Option<&'static str>,
}

const CLIENTS: [Client; 4] = [
    Client { file: "admin", name: "kubernetes-admin", group: Some("system:masters") },
    Client { file: "controller-manager", name: "system:kube-controller-manager", group: None },
    Client { file: "scheduler", name: "system:kube-scheduler", group: None },
    Client {
        file: "apiserver-kubelet-client",
        name: "kube-apiserver-kubelet-client",
        group: Some("system:masters"),
    },
];

/// The key service account tokens are signed with.
pub const SERVICE_ACCOUNT: &str = "service-account";

/// What the certificates must say.
#[derive(Clone, Debug)]
pub struct Names {
    /// The node's name.
    pub node: String,
    /// Its address.
    pub address: IpAddr,
    /// The first address of the service network.
    pub service_ip: IpAddr,
    /// The cluster domain.
    pub domain: String,
    /// Further names of the API server.
    pub extra: Vec<String>,
}

/// The certificates of a cluster.
#[derive(Clone, Debug)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Makes what is missing, renews what runs out or no longer says the right names.
    pub fn ensure(paths: &Paths, names: &Names) -> Result<Self> {
        let pki = Self { dir: paths.pki() };
        paths::private_dir(&pki.dir).with_context(|| format!("making {}", pki.dir.display()))?;
        let ca = Authority::ensure(&pki.ca(), &pki.key("ca"))?;
        let domain = &names.domain;
        let mut apiserver = vec![
            "localhost".to_owned(),
            names.node.clone(),
            "kubernetes".into(),
            "kubernetes.default".into(),
            "kubernetes.default.svc".into(),
            format!("kubernetes.default.svc.{domain}"),
            "127.0.0.1".into(),
            "::1".into(),
            names.address.to_string(),
            names.service_ip.to_string(),
        ];
        apiserver.extend(names.extra.iter().cloned());
        pki.issue(
            &ca,
            "apiserver",
            &Request { name: "kube-apiserver", group: None, usage: Usage::Server, alt: apiserver },
        )?;
        for c in CLIENTS {
            pki.issue(
                &ca,
                c.file,
                &Request { name: c.name, group: c.group, usage: Usage::Client, alt: Vec::new() },
            )?;
        }
        let node = format!("system:node:{}", names.node);
        let group = Some("system:nodes");
        pki.issue(&ca, "node", &Request { name: &node, group, usage: Usage::Client, alt: Vec::new() })?;
        let alt = vec![names.node.clone(), names.address.to_string(), "127.0.0.1".into(), "localhost".into()];
        pki.issue(&ca, "node-serving", &Request { name: &node, group, usage: Usage::Server, alt })?;
        issue::ensure_key(&pki.key(SERVICE_ACCOUNT))?;
        Ok(pki)
    }

    /// The certificates as they are.
    pub fn existing(paths: &Paths) -> Self {
        Self { dir: paths.pki() }
    }

    fn issue(&self, ca: &Authority, file: &str, request: &Request<'_>) -> Result<()> {
        ca.ensure_leaf(&self.cert(file), &self.key(file), request)
            .with_context(|| format!("issuing the certificate {file}"))
    }

    /// The CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.cert("ca")
    }

    /// A certificate.
    pub fn cert(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.crt"))
    }

    /// A key.
    pub fn key(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.key"))
    }
}

/// Reads a file of certificates or keys.
pub fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn certificates_are_made_once_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let paths = Paths { data: dir.path().into(), run: dir.path().into() };
        let mut names = Names {
            node: "n".into(),
            address: "10.0.0.1".parse().unwrap(),
            service_ip: "10.96.0.1".parse().unwrap(),
            domain: "cluster.local".into(),
            extra: vec![],
        };
        let pki = Pki::ensure(&paths, &names).unwrap();
        let before = (
            read(&pki.ca()).unwrap(),
            read(&pki.cert("apiserver")).unwrap(),
            read(&pki.cert("admin")).unwrap(),
            read(&pki.key(SERVICE_ACCOUNT)).unwrap(),
        );
        for name in ["ca", "admin", "node", "node-serving", "apiserver", SERVICE_ACCOUNT] {
            let mode = std::fs::metadata(pki.key(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        Pki::ensure(&paths, &names).unwrap();
        assert_eq!(before.1, read(&pki.cert("apiserver")).unwrap());
        names.extra = vec!["api.example.com".into()];
        Pki::ensure(&paths, &names).unwrap();
        assert_ne!(before.1, read(&pki.cert("apiserver")).unwrap());
        assert_eq!(before.0, read(&pki.ca()).unwrap());
        assert_eq!(before.2, read(&pki.cert("admin")).unwrap());
        assert_eq!(before.3, read(&pki.key(SERVICE_ACCOUNT)).unwrap());
    }
}
