//! The flow schemas and priority levels every API server has (`apiserver/pkg/apis/flowcontrol/bootstrap`).
//!
//! Two of each are mandatory: they always are as they are here. The rest are suggestions, which an administrator
//! makes his own by taking the annotation off.

use serde_json::{Value, json};

/// While it is `true`, the API server keeps the object as suggested.
pub const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

const ALL: &str = "*";
const MASTERS: &str = "system:masters";
const NODES: &str = "system:nodes";
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
const SCHEDULER: &str = "system:kube-scheduler";
const EVERYBODY: [&str; 2] = ["system:unauthenticated", "system:authenticated"];

/// (name, shares, lendable percent, queues, hand size); without queues, what is too much is refused.
const LEVELS: [(&str, i64, i64, i64, i64); 7] = [
    ("catch-all", 5, 0, 0, 0),
    ("system", 30, 33, 64, 6),
    ("node-high", 40, 25, 64, 6),
    ("leader-election", 10, 0, 16, 4),
    ("workload-high", 40, 50, 128, 6),
    ("workload-low", 100, 90, 128, 6),
    ("global-default", 20, 50, 128, 6),
];

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "flowcontrol.apiserver.k8s.io/v1", "kind": kind,
        "metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}}, "spec": spec})
}

fn level(&(name, shares, lendable, queues, hand): &(&str, i64, i64, i64, i64)) -> Value {
    let response = if queues == 0 {
        json!({"type": "Reject"})
    } else {
        json!({"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}})
    };
    let limited =
        json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
    object("PriorityLevelConfiguration", name, json!({"type": "Limited", "limited": limited}))
}

/// The priority levels, the mandatory ones first.
pub fn priority_levels() -> Vec<Value> {
    let exempt = json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}});
    let mut all = vec![object("PriorityLevelConfiguration", "exempt", exempt)];
    all.extend(LEVELS.iter().map(level));
    all
}

fn groups(names: &[&str]) -> Vec<Value> {
    names.iter().map(|n| json!({"kind": "Group", "group": {"name": n}})).collect()
}

fn users(names: &[&str]) -> Vec<Value> {
    names.iter().map(|n| json!({"kind": "User", "user": {"name": n}})).collect()
}

fn system_accounts() -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"name": ALL, "namespace": "kube-system"}})
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster_scope: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources, "namespaces": [ALL]});
    if cluster_scope {
        rule["clusterScope"] = true.into();
    }
    rule
}

fn schema(name: &str, level: &str, precedence: i64, method: &str, rule: Value) -> Value {
    let mut spec = json!({"priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence,
        "rules": [rule]});
    if !method.is_empty() {
        spec["distinguisherMethod"] = json!({"type": method});
    }
    object("FlowSchema", name, spec)
}

/// Whatever these subjects ask.
fn everything(subjects: Vec<Value>) -> Value {
    json!({"subjects": subjects, "resourceRules": [resources(&[ALL], ALL, &[ALL], true)],
        "nonResourceRules": [{"verbs": [ALL], "nonResourceURLs": [ALL]}]})
}

/// The flow schemas, the mandatory ones first.
pub fn flow_schemas() -> Vec<Value> {
    let leases = |verbs: &[&str]| resources(verbs, "coordination.k8s.io", &["leases"], false);
    let mut leaders = users(&[CONTROLLER_MANAGER, SCHEDULER]);
    leaders.push(system_accounts());
    let nodes = json!({"subjects": groups(&[NODES]),
        "resourceRules": [resources(&[ALL], "", &["nodes", "nodes/status"], true), leases(&[ALL])]});
    let probes = json!({"subjects": groups(&EVERYBODY), "nonResourceRules": [
        {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]});
    let elections = json!({"subjects": leaders, "resourceRules": [leases(&["get", "create", "update"])]});
    let accounts = groups(&["system:serviceaccounts"]);
    vec![
        schema("exempt", "exempt", 1, "", everything(groups(&[MASTERS]))),
        schema("catch-all", "catch-all", 10_000, "ByUser", everything(groups(&EVERYBODY))),
        schema("probes", "exempt", 2, "", probes),
        schema("system-leader-election", "leader-election", 100, "ByUser", elections),
        schema("system-node-high", "node-high", 400, "ByUser", nodes),
        schema("system-nodes", "system", 500, "ByUser", everything(groups(&[NODES]))),
        manager("kube-controller-manager", CONTROLLER_MANAGER),
        manager("kube-scheduler", SCHEDULER),
        schema(
            "kube-system-service-accounts",
            "workload-high",
            900,
            "ByNamespace",
            everything(vec![system_accounts()]),
        ),
        schema("service-accounts", "workload-low", 9000, "ByUser", everything(accounts)),
        schema("global-default", "global-default", 9900, "ByUser", everything(groups(&EVERYBODY))),
    ]
}

fn manager(name: &str, user: &str) -> Value {
    schema(name, "workload-high", 800, "ByNamespace", everything(users(&[user])))
}

/// The object of this name that may not be different, if there is one.
pub fn mandatory(kind: &str, name: &str) -> Option<Value> {
    if name != "exempt" && name != "catch-all" {
        return None;
    }
    let all = if kind == "FlowSchema" { flow_schemas() } else { priority_levels() };
    all.into_iter().find(|o| o["metadata"]["name"] == name)
}
