//! Compares the defaults with what is stored, and says what to write at start.
//!
//! Pure. Rules and subjects that are missing are added, nothing is taken away; an object annotated not to
//! be updated is left alone; labels and annotations that somebody changed stay changed.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{AUTOUPDATE, cluster_role_bindings, cluster_roles, role_bindings, roles};
use crate::authz::rbac::rules::{Rule, missing};

/// What is stored now, of all four kinds.
#[derive(Debug, Clone, Default)]
pub struct Existing {
    /// Cluster roles.
    pub cluster_roles: Vec<Value>,
    /// Cluster role bindings.
    pub cluster_role_bindings: Vec<Value>,
    /// Roles (those of `kube-system` and `kube-public` are enough).
    pub roles: Vec<Value>,
    /// Role bindings (likewise).
    pub role_bindings: Vec<Value>,
}

/// How an object is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// It does not exist.
    Create,
    /// It exists; its metadata is kept.
    Update,
    /// It exists and refers to another role, which cannot be changed: delete it first.
    Recreate,
}

/// An object to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// Its plural resource.
    pub resource: &'static str,
    /// How.
    pub kind: WriteKind,
    /// The whole object.
    pub object: Value,
}

/// What has to be written so that the defaults are in force, in an order that can be written one by one.
#[must_use]
pub fn reconcile(existing: &Existing) -> Vec<Write> {
    let mut writes = cluster_role_writes(&existing.cluster_roles);
    let bind = |resource, defaults: Vec<Value>, stored: &[Value]| -> Vec<Write> {
        defaults.into_iter().filter_map(|wanted| write(resource, stored, wanted, merge_binding)).collect()
    };
    writes.extend(bind("clusterrolebindings", cluster_role_bindings(), &existing.cluster_role_bindings));
    writes
        .extend(roles().into_iter().filter_map(|wanted| write("roles", &existing.roles, wanted, merge_role)));
    writes.extend(bind("rolebindings", role_bindings(), &existing.role_bindings));
    writes
}

/// Cluster roles need a second look: some are put together from others.
fn cluster_role_writes(stored: &[Value]) -> Vec<Write> {
    let mut writes: BTreeMap<String, Write> = cluster_roles()
        .into_iter()
        .filter_map(|wanted| write("clusterroles", stored, wanted, merge_role))
        .map(|write| (name(&write.object).to_owned(), write))
        .collect();
    let mut all: BTreeMap<String, Value> =
        stored.iter().map(|role| (name(role).to_owned(), role.clone())).collect();
    all.extend(writes.iter().map(|(name, write)| (name.clone(), write.object.clone())));
    // What is put together may itself be a part: as often as there are levels.
    while let Some(changed) = aggregate_one(&all) {
        let role = name(&changed).to_owned();
        let kind = if stored.iter().any(|s| name(s) == role) { WriteKind::Update } else { WriteKind::Create };
        writes.insert(role.clone(), Write { resource: "clusterroles", kind, object: changed.clone() });
        all.insert(role, changed);
    }
    writes.into_values().collect()
}

/// A role whose rules are not those of its parts, with the right rules.
fn aggregate_one(all: &BTreeMap<String, Value>) -> Option<Value> {
    all.values().find_map(|role| {
        let selectors =
            role["aggregationRule"]["clusterRoleSelectors"].as_array().filter(|list| !list.is_empty())?;
        let mut wanted: Vec<Rule> = Vec::new();
        for part in all.values().filter(|part| name(part) != name(role)) {
            if selectors.iter().any(|selector| selects(selector, part)) {
                for rule in rules(part) {
                    if !wanted.contains(&rule) {
                        wanted.push(rule);
                    }
                }
            }
        }
        (rules(role) != wanted).then(|| {
            let mut changed = role.clone();
            changed["rules"] = to_value(&wanted);
            changed
        })
    })
}

/// Whether a label selector selects the role. One that cannot be read selects nothing.
fn selects(selector: &Value, role: &Value) -> bool {
    let Ok(selector) = serde_json::from_value::<k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector>(
        selector.clone(),
    ) else {
        return false;
    };
    let Ok(selector) = api_types::selector::Selector::from_label_selector(&selector) else { return false };
    let labels = role["metadata"]["labels"].as_object().into_iter().flatten();
    let labels: BTreeMap<String, String> =
        labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    selector.matches(&labels)
}

type Merge = fn(&mut Value, &Value);

fn write(resource: &'static str, stored: &[Value], wanted: Value, merge: Merge) -> Option<Write> {
    let same = |object: &&Value| name(object) == name(&wanted) && namespace(object) == namespace(&wanted);
    let Some(old) = stored.iter().find(same) else {
        return Some(Write { resource, kind: WriteKind::Create, object: wanted });
    };
    if old["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return None;
    }
    if old["roleRef"] != wanted["roleRef"] {
        return Some(Write { resource, kind: WriteKind::Recreate, object: wanted });
    }
    let mut object = old.clone();
    for map in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][map].as_object().into_iter().flatten() {
            let entry = &mut object["metadata"][map][key];
            if entry.is_null() {
                *entry = value.clone();
            }
        }
    }
    merge(&mut object, &wanted);
    (object != *old).then_some(Write { resource, kind: WriteKind::Update, object })
}

fn merge_role(object: &mut Value, wanted: &Value) {
    if wanted["aggregationRule"].is_null() {
        let mut own = rules(object);
        let lacking = missing(&own, &rules(wanted));
        if !lacking.is_empty() {
            own.extend(lacking);
            object["rules"] = to_value(&own);
        }
        return;
    }
    add_missing(
        &mut object["aggregationRule"]["clusterRoleSelectors"],
        &wanted["aggregationRule"]["clusterRoleSelectors"],
    );
}

fn merge_binding(object: &mut Value, wanted: &Value) {
    if !wanted["subjects"].is_null() {
        add_missing(&mut object["subjects"], &wanted["subjects"]);
    }
}

fn add_missing(list: &mut Value, wanted: &Value) {
    let mut items = list.as_array().cloned().unwrap_or_default();
    let lacking: Vec<Value> =
        wanted.as_array().into_iter().flatten().filter(|item| !items.contains(item)).cloned().collect();
    if !lacking.is_empty() {
        items.extend(lacking);
        *list = items.into();
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

/// A role's rules; ones that cannot be read count as none.
fn rules(role: &Value) -> Vec<Rule> {
    serde_json::from_value(role["rules"].clone()).unwrap_or_default()
}

fn to_value(rules: &[Rule]) -> Value {
    // Lists of strings can always be written.
    serde_json::to_value(rules).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fresh() -> Vec<Write> {
        reconcile(&Existing::default())
    }

    fn stored(writes: &[Write]) -> Existing {
        let of = |resource: &str| -> Vec<Value> {
            writes.iter().filter(|w| w.resource == resource).map(|w| w.object.clone()).collect()
        };
        Existing {
            cluster_roles: of("clusterroles"),
            cluster_role_bindings: of("clusterrolebindings"),
            roles: of("roles"),
            role_bindings: of("rolebindings"),
        }
    }

    fn role<'a>(existing: &'a mut Existing, wanted: &str) -> &'a mut Value {
        existing.cluster_roles.iter_mut().find(|role| name(role) == wanted).unwrap()
    }

    #[test]
    fn an_empty_store_gets_everything_once() {
        let writes = fresh();
        assert!(writes.iter().all(|w| w.kind == WriteKind::Create));
        assert_eq!(reconcile(&stored(&writes)), []);
    }

    #[test]
    fn aggregated_roles_are_complete() {
        let mut existing = stored(&fresh());
        let count = |existing: &mut Existing, name: &str| rules(role(existing, name)).len();
        let view = count(&mut existing, "view");
        let edit = count(&mut existing, "edit");
        let admin = count(&mut existing, "admin");
        assert_eq!(view, count(&mut existing, "system:aggregate-to-view"));
        assert_eq!(edit, view + count(&mut existing, "system:aggregate-to-edit"));
        assert_eq!(admin, edit + count(&mut existing, "system:aggregate-to-admin"));
    }

    #[test]
    fn a_users_part_is_aggregated() {
        let mut existing = stored(&fresh());
        existing.cluster_roles.push(json!({
            "metadata": {"name": "mine", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}},
            "rules": [{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["things"]}],
        }));
        let changed: Vec<_> = reconcile(&existing).iter().map(|w| name(&w.object).to_owned()).collect();
        assert_eq!(changed, ["admin", "edit", "view"]);
    }

    #[test]
    fn what_is_missing_is_added_and_nothing_taken_away() {
        let mut existing = stored(&fresh());
        let extra = json!({"verbs": ["get"], "apiGroups": ["x"], "resources": ["y"]});
        let scheduler = role(&mut existing, "system:kube-scheduler");
        scheduler["rules"] = json!([extra]);
        scheduler["metadata"]["labels"]["mine"] = "yes".into();
        scheduler["metadata"]["resourceVersion"] = "7".into();
        existing.cluster_role_bindings[0]["subjects"] = json!([{"kind": "User", "name": "own"}]);
        let writes = reconcile(&existing);
        assert_eq!(writes.len(), 2);
        let scheduler = &writes[0].object;
        assert_eq!(writes[0].kind, WriteKind::Update);
        assert_eq!(scheduler["rules"][0], extra);
        assert!(rules(scheduler).len() > 20);
        assert_eq!(scheduler["metadata"]["labels"]["mine"], "yes");
        assert_eq!(scheduler["metadata"]["resourceVersion"], "7");
        assert_eq!(writes[1].object["subjects"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn covered_rules_are_not_added() {
        let mut existing = stored(&fresh());
        role(&mut existing, "system:kube-dns")["rules"] =
            json!([{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]);
        assert_eq!(reconcile(&existing), []);
    }

    #[test]
    fn protected_objects_are_left_alone() {
        let mut existing = stored(&fresh());
        let scheduler = role(&mut existing, "system:kube-scheduler");
        scheduler["rules"] = json!([]);
        scheduler["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(reconcile(&existing), []);
    }

    #[test]
    fn another_role_means_another_binding() {
        let mut existing = stored(&fresh());
        existing.role_bindings[0]["roleRef"]["name"] = "other".into();
        let writes = reconcile(&existing);
        assert_eq!((writes.len(), writes[0].kind), (1, WriteKind::Recreate));
    }
}
