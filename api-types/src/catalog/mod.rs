//! The kinds that are served: one table entry each.
//!
//! Everything generic (routes, discovery, storage keys, selectors, tables, OpenAPI) reads these entries; what is
//! particular to a kind is its [`Strategy`]. Adding a kind is one entry in [`entries`] and one strategy file in
//! [`crate::kinds`]; a custom resource makes the same entry at run time.

pub mod entries;
pub mod older;
mod scale;

use std::collections::BTreeMap;

use serde_json::Value;

use crate::field::ErrorList;
use crate::names;
use crate::schema::{StructId, Table};
use crate::table::Column;

pub use scale::ScalePaths;

/// Where objects of a kind live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster as a whole.
    Cluster,
}

/// A path below an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    /// What controllers report.
    Status,
    /// `autoscaling/v1 Scale`.
    Scale,
    /// Assigns a pod to a node.
    Binding,
    /// Deletes a pod where disruption budgets allow it.
    Eviction,
    /// Ends a namespace's last finalizer.
    Finalize,
    /// Output of a container.
    Log,
    /// A command in a container.
    Exec,
    /// The streams of a container.
    Attach,
    /// Connections into a pod.
    PortForward,
    /// Containers added to a running pod.
    EphemeralContainers,
    /// Resources of a running pod changed.
    Resize,
    /// HTTP into a pod, service or node.
    Proxy,
    /// Whether a certificate request is granted.
    Approval,
    /// A token for a service account.
    Token,
}

impl Subresource {
    /// Its path element.
    pub fn path(self) -> &'static str {
        match self {
            Self::Status => "status",
            Self::Scale => "scale",
            Self::Binding => "binding",
            Self::Eviction => "eviction",
            Self::Finalize => "finalize",
            Self::Log => "log",
            Self::Exec => "exec",
            Self::Attach => "attach",
            Self::PortForward => "portforward",
            Self::EphemeralContainers => "ephemeralcontainers",
            Self::Resize => "resize",
            Self::Proxy => "proxy",
            Self::Approval => "approval",
            Self::Token => "token",
        }
    }

    /// The verbs discovery lists for it.
    pub fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::Status | Self::Scale | Self::EphemeralContainers | Self::Resize | Self::Approval => {
                &["get", "patch", "update"]
            }
            Self::Binding | Self::Eviction | Self::Token => &["create"],
            Self::Finalize => &["update"],
            Self::Log => &["get"],
            Self::Exec | Self::Attach | Self::PortForward => &["create", "get"],
            Self::Proxy => &["create", "delete", "get", "patch", "update"],
        }
    }

    /// The kind of its body below this parent as (group, version, kind), where it is not the parent's own.
    pub fn body(self, parent: &str) -> Option<(&'static str, &'static str, &'static str)> {
        match self {
            Self::Scale => Some(("autoscaling", "v1", "Scale")),
            Self::Binding => Some(("", "v1", "Binding")),
            Self::Eviction => Some(("policy", "v1", "Eviction")),
            Self::Exec => Some(("", "v1", "PodExecOptions")),
            Self::Attach => Some(("", "v1", "PodAttachOptions")),
            Self::PortForward => Some(("", "v1", "PodPortForwardOptions")),
            Self::Proxy => Some((
                "",
                "v1",
                match parent {
                    "Node" => "NodeProxyOptions",
                    "Service" => "ServiceProxyOptions",
                    _ => "PodProxyOptions",
                },
            )),
            Self::Token => Some(("authentication.k8s.io", "v1", "TokenRequest")),
            _ => None,
        }
    }
}

/// A field that `?fieldSelector=` may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelectableField {
    /// As the selector names it.
    pub name: &'static str,
    /// Where it is in the stored object.
    pub path: &'static [&'static str],
    /// Its text when it is not there.
    pub default: &'static str,
}

/// A version of a kind that is not the stored one.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    /// From this version to the stored one.
    pub to_stored: fn(&mut Value),
    /// From the stored version to this one.
    pub from_stored: fn(&mut Value),
}

/// One served kind.
#[derive(Clone, Copy)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version.
    pub version: &'static str,
    /// `Deployment`.
    pub kind: &'static str,
    /// `deployments`.
    pub plural: &'static str,
    /// `deployment`.
    pub singular: &'static str,
    /// `deploy`.
    pub short_names: &'static [&'static str],
    /// `all`.
    pub categories: &'static [&'static str],
    /// Where its objects live.
    pub scope: Scope,
    /// What may be done with the whole object.
    pub verbs: &'static [&'static str],
    /// Paths below an object.
    pub subresources: &'static [Subresource],
    /// Where it keeps its scale; only looked at where [`Subresource::Scale`] is served.
    pub scale: ScalePaths,
    /// Where its objects are kept, below `/registry/`.
    pub storage: &'static str,
    /// The `apiVersion` it is kept in.
    pub stored_version: &'static str,
    /// How to get there from this version, when it is another.
    pub conversion: Option<Conversion>,
    /// Its struct in the type table.
    pub type_name: &'static str,
    /// Fields a selector may name, besides `metadata.name` and `metadata.namespace`.
    pub fields: &'static [SelectableField],
    /// Columns of its table.
    pub columns: &'static [Column],
    /// What is particular to it.
    pub strategy: &'static dyn Strategy,
    /// Objects disappear after this many seconds (events).
    pub ttl_seconds: Option<u64>,
    /// Its objects are made for each request and kept nowhere.
    pub computed: bool,
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kind({}/{} {})", self.group, self.version, self.plural)
    }
}

impl Kind {
    /// `apps/v1`, `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether its objects live in a namespace.
    pub fn namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// Whether a deletion that is done answers with the object as it was last, not with a status.
    pub fn returns_deleted(&self) -> bool {
        match self.group {
            "" => [
                "persistentvolumeclaims",
                "persistentvolumes",
                "pods",
                "podtemplates",
                "resourcequotas",
                "serviceaccounts",
                "services",
            ]
            .contains(&self.plural),
            "resource.k8s.io" => true,
            "storage.k8s.io" => self.plural != "csistoragecapacities",
            _ => false,
        }
    }

    /// Its type in the version of its path.
    pub fn type_id(&self) -> Option<StructId> {
        Table::builtin().find(self.type_name)
    }

    /// Its type in the version it is kept in.
    pub fn stored_type_id(&self) -> Option<StructId> {
        match self.conversion {
            None => self.type_id(),
            Some(_) => by_storage(self.storage).and_then(Self::type_id),
        }
    }

    /// The prefix of all its keys.
    pub fn prefix(&self) -> String {
        format!("/registry/{}/", self.storage)
    }

    /// The key of one object; `namespace` is not looked at for cluster-scoped kinds.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        if self.namespaced() {
            format!("/registry/{}/{namespace}/{name}", self.storage)
        } else {
            format!("/registry/{}/{name}", self.storage)
        }
    }

    /// Whether a subresource is served.
    pub fn has(&self, subresource: Subresource) -> bool {
        self.subresources.contains(&subresource)
    }
}

/// Who makes an object.
#[derive(Clone, Copy, Debug)]
pub struct Requester<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The user's identifier; often empty.
    pub uid: &'a str,
    /// The user's groups.
    pub groups: &'a [String],
    /// What else the authenticator knows.
    pub extra: &'a BTreeMap<String, Vec<String>>,
}

/// What is particular to a kind. Every hook has the behaviour of a plain data object as its default.
///
/// Order for a write: `default`, `prepare_for_create` or `prepare_for_update`, admission, `validate` and
/// `validate_create` or `validate_update`. A write of the status is judged by `validate_status_update` alone. Only the
/// `default` and `prepare` hooks may change the object.
pub trait Strategy: Send + Sync {
    /// Fills in what the client left out.
    fn default(&self, _object: &mut Value) {}

    /// Drops what a creator may not set.
    fn prepare_for_create(&self, _object: &mut Value) {}

    /// Writes down who creates the object, where the kind keeps that. Comes after `prepare_for_create`.
    fn note_requester(&self, _object: &mut Value, _requester: &Requester<'_>) {}

    /// Keeps from `old` what an update may not change.
    fn prepare_for_update(&self, _new: &mut Value, _old: &Value) {}

    /// Keeps from `old` what a status update may not change: everything but the status and metadata, as the default.
    fn prepare_for_status_update(&self, new: &mut Value, old: &Value) {
        keep_spec(new, old);
    }

    /// Reasons to refuse the object.
    fn validate(&self, _object: &Value, _errors: &mut ErrorList) {}

    /// Reasons to refuse this change.
    fn validate_update(&self, _new: &Value, _old: &Value, _errors: &mut ErrorList) {}

    /// Further reasons to refuse the object when it is new.
    fn validate_create(&self, _object: &Value, _errors: &mut ErrorList) {}

    /// Reasons to refuse a change of the status.
    fn validate_status_update(&self, _new: &Value, _old: &Value, _errors: &mut ErrorList) {}

    /// Keeps from `old` what a write of the approval may not change: everything, as the default.
    fn prepare_for_approval(&self, new: &mut Value, old: &Value) {
        *new = old.clone();
    }

    /// Reasons to refuse a change of the approval.
    fn validate_approval(&self, _new: &Value, _old: &Value, _errors: &mut ErrorList) {}

    /// Keeps from `old` what a resize may not change: everything, as the default.
    fn prepare_for_resize(&self, new: &mut Value, old: &Value) {
        *new = old.clone();
    }

    /// Reasons to refuse a resize.
    fn validate_resize(&self, _new: &Value, _old: &Value, _errors: &mut ErrorList) {}

    /// What is said of a field that objects of this kind cannot be selected by, where they can be by some.
    fn not_selectable(&self, field: &str) -> String {
        format!("field label not supported: {field}")
    }

    /// Reasons to refuse a name.
    fn validate_name(&self, name: &str) -> Vec<String> {
        names::dns1123_subdomain(name)
    }

    /// Sentences the client should read although its write succeeds; `old` is what an update replaces. Comes after
    /// validation, of an object that is about to be stored.
    fn warnings(&self, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Such sentences about a write of the status.
    fn status_warnings(&self, _new: &Value, _old: &Value) -> Vec<String> {
        Vec::new()
    }

    /// What every request for the kind is answered with, reads included, where its version is going away.
    fn deprecation(&self) -> Option<&'static str> {
        None
    }

    /// Whether `metadata.generation` counts changes of everything but metadata and status.
    fn counts_generations(&self) -> bool {
        false
    }

    /// Whether an update may name an object that is not there yet.
    fn allows_create_on_update(&self) -> bool {
        false
    }

    /// Whether an update without a resource version is accepted.
    fn allows_unconditional_update(&self) -> bool {
        true
    }

    /// Seconds of grace a deletion is given; `None` deletes at once. `requested` is what the client asks for.
    fn grace_period(&self, _object: &Value, _requested: Option<i64>) -> Option<i64> {
        None
    }

    /// Whether a deletion that does not say so leaves what the object owns.
    fn orphans_by_default(&self) -> bool {
        false
    }

    /// The cells of its table row; must fit the entry's columns.
    fn row(&self, object: &Value, now: jiff::Timestamp) -> Vec<Value> {
        crate::table::default_row(object, now)
    }
}

/// The default of status updates: everything that is neither status nor metadata stays as it is.
pub fn keep_spec(new: &mut Value, old: &Value) {
    let written = ["metadata", "status"].map(|f| (f, new.get(f).cloned()));
    *new = old.clone();
    let Value::Object(root) = new else { return };
    for (field, value) in written {
        match value {
            Some(v) => root.insert(field.into(), v),
            None => root.remove(field),
        };
    }
}

/// For status updates that leave metadata alone, too, but for the owners of fields.
pub fn keep_all_but_status(new: &mut Value, old: &Value) {
    let status = new.get("status").cloned();
    let resource_version = crate::meta::resource_version(new).to_owned();
    let managed = crate::meta::at(new, &["metadata", "managedFields"]).cloned();
    *new = old.clone();
    if let Value::Object(root) = new {
        match status {
            Some(s) => root.insert("status".into(), s),
            None => root.remove("status"),
        };
    }
    let m = crate::meta::metadata_mut(new);
    if !resource_version.is_empty() {
        m.insert("resourceVersion".into(), resource_version.into());
    }
    if let Some(managed) = managed {
        m.insert("managedFields".into(), managed);
    }
}

/// All served kinds.
pub fn all() -> &'static [Kind] {
    entries::KINDS
}

/// The kind of a path.
pub fn by_resource(group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
    all().iter().find(|k| k.plural == plural && k.group == group && k.version == version)
}

/// The kind of a body.
pub fn by_kind(group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
    all().iter().find(|k| k.kind == kind && k.group == group && k.version == version)
}

/// The first kind that keeps its objects at this place: the one whose version is stored.
pub fn by_storage(storage: &str) -> Option<&'static Kind> {
    all().iter().find(|k| k.storage == storage && k.conversion.is_none())
}

/// Served (group, versions in order of preference), in discovery order.
pub fn groups() -> Vec<(&'static str, Vec<&'static str>)> {
    let mut out: Vec<(&'static str, Vec<&'static str>)> = Vec::new();
    for k in all() {
        match out.iter_mut().find(|(g, _)| *g == k.group) {
            Some((_, versions)) => {
                if !versions.contains(&k.version) {
                    versions.push(k.version);
                }
            }
            None => out.push((k.group, vec![k.version])),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Table;
    use std::collections::HashSet;

    #[test]
    fn entries_are_consistent() {
        let mut resources = HashSet::new();
        let mut storages = HashSet::new();
        for k in all() {
            assert!(resources.insert((k.group, k.version, k.plural)), "{k:?} twice");
            assert!(Table::builtin().find(k.type_name).is_some(), "{k:?} has no type");
            assert!(k.columns.iter().any(|c| c.format == "name"), "{k:?}");
            if k.conversion.is_none() {
                assert!(storages.insert(k.storage), "{k:?} shares its storage");
                assert_eq!(k.stored_version, k.api_version(), "{k:?}");
            } else {
                assert!(by_storage(k.storage).is_some(), "{k:?} has no stored kind");
            }
            let empty =
                serde_json::json!({"metadata": {"name": "a", "creationTimestamp": crate::meta::now()}});
            let row = k.strategy.row(&empty, jiff::Timestamp::now());
            assert_eq!(row.len(), k.columns.len(), "{k:?}: cells and columns differ");
        }
    }
}
