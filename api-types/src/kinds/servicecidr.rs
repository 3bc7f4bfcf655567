//! Service CIDRs: the ranges that addresses of services come from.

use serde_json::Value;

use super::fields::{self, below, list};
use super::{addresses, drop_status, keep_status};
use crate::catalog::{Strategy, keep_all_but_status};
use crate::field::{ErrorList, Path};
use crate::{meta, table};

/// The strategy of service CIDRs.
pub struct ServiceCidr;

const ONE_A_FAMILY: &str =
    "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";

fn path() -> Path {
    Path::new("spec").child("cidrs")
}

impl Strategy for ServiceCidr {
    fn prepare_for_create(&self, object: &mut Value) {
        drop_status(object);
    }

    fn prepare_for_update(&self, new: &mut Value, old: &Value) {
        keep_status(new, old);
    }

    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_all_but_status(new, old);
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        let spec = below(object, "spec");
        let ranges = fields::texts(spec, "cidrs");
        match ranges.len() {
            0 => return errors.required(&path(), "at least one CIDR required"),
            1 | 2 => {}
            _ => return errors.invalid(&path(), spec.clone(), "may only hold up to 2 values"),
        }
        for (i, range) in ranges.iter().enumerate() {
            errors.invalid_all(&path().index(i), range, addresses::canonical_cidr(range));
        }
        let families: Vec<bool> =
            ranges.iter().filter_map(|r| addresses::parse_cidr(r)).map(|r| r.ip.is_ipv4()).collect();
        if families.len() == 2 && families[0] == families[1] {
            errors.invalid(&path(), fields::shown(spec, "cidrs"), ONE_A_FAMILY);
        }
    }

    /// A second range may be added, for the other family; nothing else changes.
    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        let ranges = |o| list(below(o, "spec"), "cidrs");
        let (after, before) = (ranges(new), ranges(old));
        let added = before.len() == 1 && after.len() == 2;
        if after.len() != before.len() && !added {
            errors.invalid(&path(), after.to_vec(), "field is immutable");
            return;
        }
        for (i, (a, b)) in after.iter().zip(before).enumerate() {
            if a != b {
                errors.invalid(&path().index(i), a.clone(), "field is immutable");
            }
        }
        if added {
            self.validate_create(new, errors);
        }
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let ranges = fields::texts(below(o, "spec"), "cidrs").join(",");
        vec![meta::name(o).into(), ranges.into(), table::age(o, now).into()]
    }
}
