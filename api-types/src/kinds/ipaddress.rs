//! IP addresses that services have: the name of each is the address.

use serde_json::Value;

use super::addresses;
use super::fields::{self, below, set, text};
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::{meta, names};

/// The strategy of IP addresses.
pub struct IpAddress;

impl Strategy for IpAddress {
    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        let path = Path::new("spec").child("parentRef");
        let Some(parent) = set(below(object, "spec"), "parentRef") else {
            errors.required(&path, "");
            return;
        };
        let group = text(parent, "group");
        if !group.is_empty() {
            errors.invalid_all(&path.child("group"), group, names::dns1123_subdomain(group));
        }
        fields::required_name(parent, "resource", names::path_segment, &path, errors);
        fields::required_name(parent, "name", names::path_segment, &path, errors);
        let namespace = text(parent, "namespace");
        errors.invalid_all(&path.child("namespace"), namespace, names::path_segment(namespace));
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let path = Path::new("spec").child("parentRef");
        fields::unchanged(below(new, "spec"), below(old, "spec"), "parentRef", &path, errors);
    }

    fn validate_name(&self, name: &str) -> Vec<String> {
        addresses::canonical_ip(name)
    }

    fn row(&self, o: &Value, _now: jiff::Timestamp) -> Vec<Value> {
        let parent = set(below(o, "spec"), "parentRef").map_or("<none>".into(), |p| {
            let of = |field: &str, separator: &str| match text(p, field) {
                "" => String::new(),
                t => format!("{separator}{t}"),
            };
            let resource = format!("{}{}", text(p, "resource"), of("group", ".")).to_lowercase();
            format!("{resource}{}/{}", of("namespace", "/"), text(p, "name"))
        });
        vec![meta::name(o).into(), parent.into()]
    }
}
