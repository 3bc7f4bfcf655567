//! The authorizer over whole roles and bindings, and fed by a cache.

use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::escalation::{EscalationError, RoleWrite, check_binding, check_role};
use super::*;
use crate::cache::{Cache, CacheConfig, ResourceConfig};
use crate::storage::Storage;
use crate::storage::embedded::{EmbeddedOptions, EmbeddedStorage};

fn rules(verbs: &[&str], group: &str, resources: &[&str]) -> Value {
    json!({"rules": [{"verbs": verbs, "apiGroups": [group], "resources": resources}]})
}

fn binding(kind: &str, role: &str, subjects: Value) -> Value {
    json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role}, "subjects": subjects})
}

fn user(name: &str) -> Value {
    json!([{"kind": "User", "name": name}])
}

fn role(rbac: &Rbac, namespace: &str, name: &str, value: &Value) {
    rbac.change(|policy| policy.set_role(namespace, name, serde_json::from_value(value.clone()).ok()));
}

fn bind(rbac: &Rbac, namespace: &str, name: &str, value: &Value) {
    rbac.change(|policy| policy.set_binding(namespace, name, serde_json::from_value(value.clone()).ok()));
}

fn ask(rbac: &Rbac, name: &str, groups: &[&str], namespace: &str) -> Decision {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let user = UserInfo { name: name.into(), groups, ..UserInfo::default() };
    rbac.authorize(&Attributes::resource(&user, "list", "", "v1", "pods").in_namespace(namespace))
}

fn fixture() -> Arc<Rbac> {
    let rbac = Rbac::new();
    role(&rbac, "", "reader", &rules(&["list"], "", &["pods"]));
    role(&rbac, "a", "reader", &rules(&["list"], "", &["pods"]));
    rbac
}

#[test]
fn nothing_is_allowed_by_default() {
    assert_eq!(ask(&fixture(), "jane", &["system:authenticated"], "a"), Decision::NoOpinion(String::new()));
}

#[test]
fn a_cluster_binding_grants_everywhere() {
    let rbac = fixture();
    bind(&rbac, "", "b", &binding("ClusterRole", "reader", user("jane")));
    for namespace in ["", "a", "b"] {
        assert!(ask(&rbac, "jane", &[], namespace).is_allowed(), "{namespace}");
        assert!(!ask(&rbac, "john", &[], namespace).is_allowed(), "{namespace}");
    }
}

#[test]
fn a_binding_grants_in_its_namespace() {
    for kind in ["ClusterRole", "Role"] {
        let rbac = fixture();
        bind(&rbac, "a", "b", &binding(kind, "reader", user("jane")));
        assert!(ask(&rbac, "jane", &[], "a").is_allowed());
        assert!(!ask(&rbac, "jane", &[], "b").is_allowed());
        assert!(!ask(&rbac, "jane", &[], "").is_allowed());
    }
}

#[test]
fn groups_and_service_accounts_are_subjects() {
    let rbac = fixture();
    let subjects = json!([
        {"kind": "Group", "name": "dev"},
        {"kind": "ServiceAccount", "name": "here"},
        {"kind": "ServiceAccount", "name": "there", "namespace": "other"},
        {"kind": "Robot", "name": "r2"},
    ]);
    bind(&rbac, "a", "b", &binding("Role", "reader", subjects.clone()));
    assert!(ask(&rbac, "x", &["ops", "dev"], "a").is_allowed());
    assert!(ask(&rbac, "system:serviceaccount:a:here", &[], "a").is_allowed());
    assert!(ask(&rbac, "system:serviceaccount:other:there", &[], "a").is_allowed());
    assert!(!ask(&rbac, "system:serviceaccount:other:here", &[], "a").is_allowed());
    assert!(!ask(&rbac, "r2", &["r2"], "a").is_allowed());
    bind(&rbac, "", "c", &binding("ClusterRole", "reader", subjects));
    assert!(!ask(&rbac, "system:serviceaccount::here", &[], "b").is_allowed(), "no namespace, nobody");
}

#[test]
fn what_is_taken_back_is_gone() {
    let rbac = fixture();
    bind(&rbac, "a", "b", &binding("Role", "reader", user("jane")));
    bind(&rbac, "a", "c", &binding("ClusterRole", "reader", user("jane")));
    rbac.change(|policy| policy.set_binding("a", "b", None));
    assert!(ask(&rbac, "jane", &[], "a").is_allowed(), "the other binding stays");
    bind(&rbac, "a", "c", &binding("ClusterRole", "reader", user("john")));
    assert!(!ask(&rbac, "jane", &[], "a").is_allowed());
    assert!(ask(&rbac, "john", &[], "a").is_allowed());
    rbac.change(|policy| policy.set_role("", "reader", None));
    let reason = r#"RBAC: clusterrole.rbac.authorization.k8s.io "reader" not found"#;
    assert_eq!(ask(&rbac, "john", &[], "a"), Decision::NoOpinion(reason.into()));
    rbac.change(|policy| policy.clear_bindings(true));
    assert_eq!(ask(&rbac, "john", &[], "a"), Decision::NoOpinion(String::new()));
}

#[test]
fn nobody_grants_what_they_do_not_have() {
    let rbac = fixture();
    bind(&rbac, "a", "b", &binding("Role", "reader", user("jane")));
    let jane = UserInfo::authenticated("jane", vec![]);
    let wanted = |verbs: &[&str]| -> Vec<Rule> {
        serde_json::from_value(rules(verbs, "", &["pods"])["rules"].clone()).unwrap()
    };
    let write = |rules: &[Rule], aggregates| {
        let write = RoleWrite { resource: "roles", namespace: "a", name: "", rules, aggregates };
        check_role(&rbac, &*rbac, &jane, write)
    };
    assert_eq!(write(&wanted(&["list"]), false), Ok(()));
    let text = "user \"jane\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n\
                {APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"get\" \"delete\"]}";
    assert_eq!(
        write(&wanted(&["list", "get", "delete"]), false),
        Err(EscalationError::Forbidden(text.into()))
    );
    assert!(
        matches!(write(&wanted(&["list"]), true), Err(EscalationError::Forbidden(t)) if t.contains("aggregationRule"))
    );

    let named = |kind: &str, name: &str| RoleRef { kind: kind.into(), name: name.into() };
    let may_bind = |namespace: &str, role: &RoleRef| check_binding(&rbac, &*rbac, &jane, namespace, role);
    assert_eq!(may_bind("a", &named("Role", "reader")), Ok(()));
    assert!(matches!(may_bind("", &named("ClusterRole", "reader")), Err(EscalationError::Forbidden(_))));
    let missing = may_bind("a", &named("Role", "none"));
    assert!(matches!(missing, Err(EscalationError::RoleNotFound(_))), "{missing:?}");
    role(
        &rbac,
        "",
        "binder",
        &rules(&["bind", "escalate"], "rbac.authorization.k8s.io", &["clusterroles", "roles"]),
    );
    bind(&rbac, "", "binder", &binding("ClusterRole", "binder", user("jane")));
    assert_eq!(check_binding(&rbac, &*rbac, &jane, "", &named("ClusterRole", "reader")), Ok(()));
    let write = RoleWrite {
        resource: "roles",
        namespace: "a",
        name: "",
        rules: &wanted(&["delete"]),
        aggregates: false,
    };
    assert_eq!(check_role(&rbac, &*rbac, &jane, write), Ok(()));
    let root = UserInfo::authenticated("root", vec!["system:masters".into()]);
    assert_eq!(check_binding(&rbac, &*rbac, &root, "", &named("ClusterRole", "none")), Ok(()));
}

#[tokio::test]
async fn follows_the_cache() {
    let dir = TempDir::new().unwrap();
    let storage = Arc::new(EmbeddedStorage::open(EmbeddedOptions::new(dir.path())).unwrap());
    let kinds =
        [("roles", true), ("clusterroles", false), ("rolebindings", true), ("clusterrolebindings", false)];
    let config = |(kind, namespaced): (&str, bool)| ResourceConfig {
        prefix: format!("/registry/{kind}/"),
        namespaced,
        fields: &[],
    };
    let cache = Cache::new(storage.clone(), CacheConfig::new(kinds.into_iter().map(config).collect()));
    let stop = CancellationToken::new();
    let _guard = stop.clone().drop_guard();
    let create =
        async |key: &str, value: &Value| storage.create(key, value.to_string().into(), None).await.unwrap();
    create("/registry/clusterroles/reader", &rules(&["list"], "", &["pods"])).await;
    create("/registry/rolebindings/a/broken", &json!({"roleRef": 5})).await;
    tokio::spawn(cache.clone().run(stop.clone()));
    cache.ready().await;
    let of = |kind: &str| cache.resource(&format!("/registry/{kind}/")).unwrap().clone();
    let rbac = Rbac::new();
    let caches = RbacCaches {
        roles: of("roles"),
        cluster_roles: of("clusterroles"),
        role_bindings: of("rolebindings"),
        cluster_role_bindings: of("clusterrolebindings"),
    };
    tokio::spawn(rbac.clone().run(caches, stop.clone()));
    rbac.caught_up(cache.applied_revision()).await;
    assert!(!ask(&rbac, "jane", &[], "a").is_allowed());
    let caught_up = async || {
        let revision = cache.read_consistent().await.unwrap();
        tokio::time::timeout(Duration::from_secs(20), rbac.caught_up(revision))
            .await
            .expect("the policy follows");
    };
    let key = "/registry/rolebindings/a/b";
    let revision = create(key, &binding("ClusterRole", "reader", user("jane"))).await;
    caught_up().await;
    assert!(ask(&rbac, "jane", &[], "a").is_allowed());
    create("/registry/roles/a/unrelated", &rules(&["get"], "", &["nodes"])).await;
    caught_up().await;
    storage.delete(key, revision).await.unwrap();
    caught_up().await;
    assert!(!ask(&rbac, "jane", &[], "a").is_allowed());
}

#[test]
fn a_grant_explains_itself() {
    let rbac = fixture();
    let accounts = json!([{"kind": "ServiceAccount", "name": "sa"}]);
    bind(&rbac, "a", "b", &binding("Role", "reader", accounts));
    bind(&rbac, "", "c", &binding("ClusterRole", "reader", user("jane")));
    let why = |name: &str, namespace: &str| {
        let user = UserInfo::authenticated(name, vec![]);
        match rbac.authorize(&Attributes::resource(&user, "list", "", "v1", "pods").in_namespace(namespace)) {
            Decision::Allow(reason) => reason.to_string(),
            _ => String::new(),
        }
    };
    assert_eq!(
        why("jane", ""),
        r#"RBAC: allowed by ClusterRoleBinding "c" of ClusterRole "reader" to User "jane""#
    );
    assert_eq!(
        why("system:serviceaccount:a:sa", "a"),
        r#"RBAC: allowed by RoleBinding "b/a" of Role "reader" to ServiceAccount "sa/a""#
    );
    assert_eq!(why("john", "a"), "");
}
