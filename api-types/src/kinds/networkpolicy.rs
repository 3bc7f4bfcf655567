//! Network policies: who may speak with pods.

use serde_json::{Value, json};

use super::addresses::{self, parse_cidr};
use super::fields::{self, below, int, list, set, text};
use super::pod_defaults::objects;
use crate::catalog::Strategy;
use crate::field::{ErrorList, Path};
use crate::meta::{self, default_to, object_mut};
use crate::{names, table};

/// The strategy of network policies.
pub struct NetworkPolicy;

const TYPES: &[&str] = &["Ingress", "Egress"];
/// The lists of rules, and where their peers are.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

impl Strategy for NetworkPolicy {
    fn default(&self, object: &mut Value) {
        let Value::Object(root) = object else { return };
        let spec = object_mut(root, "spec");
        object_mut(spec, "podSelector");
        for (rules, _) in DIRECTIONS {
            for rule in objects(spec.get_mut(rules)) {
                for port in objects(rule.get_mut("ports")) {
                    default_to(port, "protocol", "TCP");
                }
            }
        }
        let has = |f: &str| spec.get(f).and_then(Value::as_array).is_some_and(|l| !l.is_empty());
        if !has("policyTypes") {
            let types = if has("egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
            spec.insert("policyTypes".into(), types);
        }
    }

    fn validate(&self, object: &Value, errors: &mut ErrorList) {
        validate(below(object, "spec"), errors);
    }

    fn validate_create(&self, object: &Value, errors: &mut ErrorList) {
        new_ranges(object, &Value::Null, errors);
    }

    fn validate_update(&self, new: &Value, old: &Value, errors: &mut ErrorList) {
        new_ranges(new, old, errors);
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let spec = below(object, "spec");
        let blocks = each_block(spec);
        blocks
            .flat_map(|(block, path)| {
                let mut all = addresses::cidr_warnings(&path.child("cidr"), text(block, "cidr"));
                for (i, e) in fields::texts(block, "except").into_iter().enumerate() {
                    all.extend(addresses::cidr_warnings(&path.child("except").index(i), e));
                }
                all
            })
            .collect()
    }

    fn counts_generations(&self) -> bool {
        true
    }

    fn row(&self, o: &Value, now: jiff::Timestamp) -> Vec<Value> {
        let selector = table::label_selector(meta::at(o, &["spec", "podSelector"]));
        vec![meta::name(o).into(), selector.into(), table::age(o, now).into()]
    }
}

/// Refuses ranges that were not there before, and that can be read in more than one way.
fn new_ranges(new: &Value, old: &Value, errors: &mut ErrorList) {
    let all = |block| -> Vec<&str> {
        let except = fields::texts(block, "except");
        std::iter::once(text(block, "cidr")).chain(except).collect()
    };
    let before: Vec<&str> = each_block(below(old, "spec")).flat_map(|(block, _)| all(block)).collect();
    for (block, path) in each_block(below(new, "spec")) {
        let range = text(block, "cidr");
        if !before.contains(&range) && parse_cidr(range).is_some() {
            errors.invalid_all(&path.child("cidr"), range, addresses::cidr(range));
        }
        addresses::new_cidrs(&fields::texts(block, "except"), &before, &path.child("except"), errors);
    }
}

/// The address blocks of all rules, with their paths.
fn each_block(spec: &Value) -> impl Iterator<Item = (&Value, Path)> {
    DIRECTIONS.into_iter().flat_map(move |(rules, peers)| {
        list(spec, rules).iter().enumerate().flat_map(move |(i, rule)| {
            list(rule, peers).iter().enumerate().filter_map(move |(j, peer)| {
                let path = Path::new("spec").child(rules).index(i).child(peers).index(j);
                Some((set(peer, "ipBlock")?, path.child("ipBlock")))
            })
        })
    })
}

fn validate(spec: &Value, errors: &mut ErrorList) {
    let path = Path::new("spec");
    fields::selector(spec, "podSelector", &path, errors);
    for (rules, peers) in DIRECTIONS {
        for (i, rule) in list(spec, rules).iter().enumerate() {
            let path = path.child(rules).index(i);
            for (j, p) in list(rule, "ports").iter().enumerate() {
                port(p, &path.child("ports").index(j), errors);
            }
            for (j, p) in list(rule, peers).iter().enumerate() {
                peer(p, &path.child(peers).index(j), errors);
            }
        }
    }
    let (types, path) = (list(spec, "policyTypes"), path.child("policyTypes"));
    if types.len() > TYPES.len() {
        let text = "may not specify more than two policyTypes";
        errors.invalid(&path, fields::shown(spec, "policyTypes"), text);
        return;
    }
    for (i, t) in fields::texts(spec, "policyTypes").into_iter().enumerate() {
        if !TYPES.contains(&t) {
            errors.not_supported(&path.index(i), t, TYPES);
        }
    }
}

fn port(p: &Value, path: &Path, errors: &mut ErrorList) {
    fields::word(p, "protocol", &["TCP", "UDP", "SCTP"], path, errors);
    let end = set(p, "endPort").map(|_| int(p, "endPort"));
    let end_path = path.child("endPort");
    match set(p, "port") {
        None => {
            if let Some(end) = end {
                errors.invalid(&end_path, end, "may not be specified when `port` is not specified");
            }
        }
        Some(Value::String(name)) => {
            if let Some(end) = end {
                errors.invalid(&end_path, end, "may not be specified when `port` is non-numeric");
            }
            errors.invalid_all(&path.child("port"), name, names::port_name(name));
        }
        Some(number) => {
            let number = number.as_i64().unwrap_or(0);
            for e in names::port_number(number) {
                errors.invalid(&path.child("port"), number, e);
            }
            if let Some(end) = end {
                if end < number {
                    // Upstream shows the other port here.
                    errors.invalid(&end_path, number, "must be greater than or equal to `port`");
                }
                for e in names::port_number(end) {
                    errors.invalid(&end_path, end, e);
                }
            }
        }
    }
}

fn peer(peer: &Value, path: &Path, errors: &mut ErrorList) {
    fields::selector(peer, "podSelector", path, errors);
    fields::selector(peer, "namespaceSelector", path, errors);
    let selectors = ["podSelector", "namespaceSelector"].iter().filter(|f| set(peer, f).is_some()).count();
    let block = set(peer, "ipBlock");
    if let Some(b) = block {
        ip_block(b, &path.child("ipBlock"), errors);
    }
    if selectors == 0 && block.is_none() {
        errors.required(path, "must specify a peer");
    } else if selectors > 0 && block.is_some() {
        errors.forbidden(path, "may not specify both ipBlock and another peer");
    }
}

fn ip_block(block: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(text) = fields::required(block, "cidr", path, errors) else { return };
    errors.invalid_all(&path.child("cidr"), text, addresses::readable_cidr(text));
    let Some(range) = parse_cidr(text) else { return };
    for (i, except) in fields::texts(block, "except").into_iter().enumerate() {
        let path = path.child("except").index(i);
        errors.invalid_all(&path, except, addresses::readable_cidr(except));
        let Some(inner) = parse_cidr(except) else { continue };
        if !range.contains(inner.network()) || range.prefix >= inner.prefix {
            errors.invalid(&path, except, "must be a strict subset of `cidr`");
        }
    }
}
