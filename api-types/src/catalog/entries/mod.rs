//! The table of served kinds: one file a group, in discovery order.

mod admissionregistration;
mod apiextensions;
mod apiregistration;
mod apps;
mod autoscaling;
mod batch;
mod certificates;
mod coordination;
mod core;
mod discovery;
mod events;
mod flowcontrol;
mod networking;
mod node;
mod policy;
mod rbac;
mod resource;
mod scheduling;
mod storage;

use super::{Kind, ScalePaths, Scope, SelectableField};
use crate::table::{AGE, Column, NAME, text, wide};

const ALL: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
/// Namespaces end one at a time.
const NO_COLLECTION: &[&str] = &["create", "delete", "get", "list", "patch", "update", "watch"];

const fn field(name: &'static str, path: &'static [&'static str]) -> SelectableField {
    SelectableField { name, path, default: "" }
}

/// Starting point of an entry: a namespaced kind of the core group without anything special.
const fn core(
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    type_name: &'static str,
    strategy: &'static dyn super::Strategy,
) -> Kind {
    Kind {
        group: "",
        version: "v1",
        kind,
        plural,
        singular,
        short_names: &[],
        categories: &[],
        scope: Scope::Namespaced,
        verbs: ALL,
        subresources: &[],
        scale: ScalePaths::BUILTIN,
        storage: plural,
        stored_version: "v1",
        conversion: None,
        type_name,
        fields: &[],
        columns: &[NAME, AGE],
        strategy,
        ttl_seconds: None,
        computed: false,
    }
}

const fn grouped(group: &'static str, api_version: &'static str, kind: Kind) -> Kind {
    Kind { group, stored_version: api_version, ..kind }
}

const EVENT_COLUMNS: &[Column] = &[
    text("Last Seen"),
    text("Type"),
    text("Reason"),
    text("Object"),
    wide("Subobject"),
    wide("Source"),
    text("Message"),
    wide("First Seen"),
    Column { name: "Count", kind: "integer", format: "", priority: 1 },
    Column { name: "Name", kind: "string", format: "name", priority: 1 },
];

const EVENT_FIELDS: &[SelectableField] = &[
    field("involvedObject.kind", &["involvedObject", "kind"]),
    field("involvedObject.namespace", &["involvedObject", "namespace"]),
    field("involvedObject.name", &["involvedObject", "name"]),
    field("involvedObject.uid", &["involvedObject", "uid"]),
    field("involvedObject.apiVersion", &["involvedObject", "apiVersion"]),
    field("involvedObject.resourceVersion", &["involvedObject", "resourceVersion"]),
    field("involvedObject.fieldPath", &["involvedObject", "fieldPath"]),
    field("reason", &["reason"]),
    field("reportingComponent", &["reportingComponent"]),
    field("source", &["source", "component"]),
    field("type", &["type"]),
];

/// An hour, as upstream keeps events.
const EVENT_TTL_SECONDS: u64 = 3600;

/// The groups, in upstream's order of discovery.
const GROUPS: &[&[Kind]] = &[
    core::KINDS,
    apiregistration::KINDS,
    apps::KINDS,
    events::KINDS,
    autoscaling::KINDS,
    batch::KINDS,
    certificates::KINDS,
    networking::KINDS,
    policy::KINDS,
    rbac::KINDS,
    storage::KINDS,
    admissionregistration::KINDS,
    apiextensions::KINDS,
    scheduling::KINDS,
    coordination::KINDS,
    node::KINDS,
    discovery::KINDS,
    resource::KINDS,
    flowcontrol::KINDS,
];

/// How many kinds are served.
const COUNT: usize = {
    let (mut count, mut group) = (0, 0);
    while group < GROUPS.len() {
        count += GROUPS[group].len();
        group += 1;
    }
    count
};

/// Every served kind.
pub static KINDS: &[Kind] = &joined();

/// The kinds of all groups in one array.
const fn joined() -> [Kind; COUNT] {
    let mut all = [GROUPS[0][0]; COUNT];
    let (mut next, mut group) = (0, 0);
    while group < GROUPS.len() {
        let mut i = 0;
        while i < GROUPS[group].len() {
            all[next] = GROUPS[group][i];
            next += 1;
            i += 1;
        }
        group += 1;
    }
    all
}
