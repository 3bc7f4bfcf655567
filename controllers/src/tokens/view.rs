//! What controllers look at of secrets that hold the token of an account.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::ByteString;
use serde::Deserialize;

use crate::cache::{Index, Object, null_default};

pub(crate) const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
pub(crate) const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";

/// A secret of the type `kubernetes.io/service-account-token`. Of its token is known only whether it is there.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(from = "Secret")]
pub(crate) struct TokenSecret {
    pub namespace: Box<str>,
    pub name: Box<str>,
    pub uid: Box<str>,
    pub resource_version: Box<str>,
    pub labels: BTreeMap<String, String>,
    pub created: Option<Timestamp>,
    pub deleted: Option<Timestamp>,
    /// The account that it says to be of; the uid may be missing.
    pub account: Box<str>,
    pub account_uid: Box<str>,
    /// The certificates in it.
    pub root_ca: Vec<u8>,
    pub has_namespace: bool,
    pub has_token: bool,
}

#[derive(Deserialize)]
struct Secret {
    metadata: Metadata,
    #[serde(default, deserialize_with = "null_default")]
    data: Data,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    namespace: Box<str>,
    name: Box<str>,
    uid: Box<str>,
    resource_version: Box<str>,
    #[serde(deserialize_with = "null_default")]
    labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "null_default")]
    annotations: Annotations,
    creation_timestamp: Option<Timestamp>,
    deletion_timestamp: Option<Timestamp>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "kubernetes.io/service-account.name")]
    account: Box<str>,
    #[serde(rename = "kubernetes.io/service-account.uid")]
    account_uid: Box<str>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Data {
    #[serde(rename = "ca.crt")]
    root_ca: Option<ByteString>,
    namespace: Option<ByteString>,
    token: Option<ByteString>,
}

impl From<Secret> for TokenSecret {
    fn from(Secret { metadata, data }: Secret) -> Self {
        let is_set = |bytes: Option<ByteString>| bytes.is_some_and(|bytes| !bytes.0.is_empty());
        TokenSecret {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            labels: metadata.labels,
            created: metadata.creation_timestamp,
            deleted: metadata.deletion_timestamp,
            account: metadata.annotations.account,
            account_uid: metadata.annotations.account_uid,
            root_ca: data.root_ca.map(|bytes| bytes.0).unwrap_or_default(),
            has_namespace: is_set(data.namespace),
            has_token: is_set(data.token),
        }
    }
}

impl Object for TokenSecret {
    fn namespace(&self) -> &str {
        &self.namespace
    }
    fn name(&self) -> &str {
        &self.name
    }
    fn uid(&self) -> &str {
        &self.uid
    }
    fn resource_version(&self) -> &str {
        &self.resource_version
    }
    fn controller_uid(&self) -> Option<&str> {
        None
    }
    fn index(&self, add: &mut dyn FnMut(Index, &str)) {
        if !self.account.is_empty() {
            add(Index::ServiceAccount, &format!("{}/{}", self.namespace, self.account));
        }
    }
}
