//! What the controller looks at of ServiceCIDRs and IPAddresses.

use std::net::IpAddr;

use api_types::kinds::addresses::{Cidr, parse_cidr};
use jiff::Timestamp;
use serde::Deserialize;

use crate::cache::{
    Meta, Object, null_default,
    views::{Condition, view_object},
};

/// A ServiceCIDR.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceCidr {
    pub metadata: Meta,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(deserialize_with = "null_default")]
    cidrs: Vec<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(deserialize_with = "null_default")]
    conditions: Vec<Ready>,
}

/// A condition with its message.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Ready {
    #[serde(flatten)]
    pub condition: Condition,
    #[serde(default, deserialize_with = "null_default")]
    pub message: String,
}

impl ServiceCidr {
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Its ranges; they were validated when they were written.
    pub fn ranges(&self) -> Vec<Cidr> {
        self.spec.cidrs.iter().filter_map(|text| parse_cidr(text)).collect()
    }

    pub fn deleted(&self) -> Option<Timestamp> {
        self.metadata.deletion_timestamp
    }

    /// The condition `Ready`, if there is one.
    pub fn ready(&self) -> Option<&Ready> {
        self.status.conditions.iter().find(|ready| &*ready.condition.type_ == "Ready")
    }
}

/// An IPAddress of which only the name matters: the informer asks for those that allocators manage.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct IpAddress {
    metadata: Named,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    name: Box<str>,
    uid: Box<str>,
    resource_version: Box<str>,
}

impl IpAddress {
    /// The address; the name was validated to be one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.metadata.name.parse().ok()
    }
}

view_object!(ServiceCidr);

impl Object for IpAddress {
    fn namespace(&self) -> &str {
        ""
    }
    fn name(&self) -> &str {
        &self.metadata.name
    }
    fn uid(&self) -> &str {
        &self.metadata.uid
    }
    fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }
    fn controller_uid(&self) -> Option<&str> {
        None
    }
}
