//! What the status of a pod may say of its containers and claims, after what it has said before
//! (`ValidateContainerStateTransition` and its neighbours in `pkg/apis/core/validation/validation.go`).

use std::collections::HashSet;

use serde_json::Value;

use super::fields::{below, int, list, set, set_text, text};
use crate::field::{ErrorList, Path};
use crate::names;

const ENDED: &str = "may not be transitioned to non-terminated state";
const HEALTH: [&str; 3] = ["Healthy", "Unhealthy", "Unknown"];
const MAX_HEALTH_MESSAGE: usize = 1024;

/// The list of statuses of containers, and the list in the spec that they are about.
const KINDS: [(&str, &str); 3] = [
    ("containerStatuses", "containers"),
    ("initContainerStatuses", "initContainers"),
    ("ephemeralContainerStatuses", "ephemeralContainers"),
];

/// Reasons to refuse that containers which have ended are said to run, or to wait, again.
pub fn transitions(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    let (spec, status, before) = (below(old, "spec"), below(new, "status"), below(old, "status"));
    for (statuses, containers) in KINDS {
        // Containers that were added to a running pod are never started again.
        let added = containers == "ephemeralContainers";
        if !added && all_could_restart(spec) {
            continue;
        }
        for (i, was) in list(before, statuses).iter().enumerate() {
            let Some(ended) = set(below(was, "state"), "terminated") else { continue };
            let name = text(was, "name");
            let now = list(status, statuses).iter().find(|s| text(s, "name") == name);
            if now.is_none_or(|s| set(below(s, "state"), "terminated").is_some()) {
                continue;
            }
            let container = list(spec, containers).iter().find(|c| text(c, "name") == name);
            if added || !container.is_some_and(|c| restarts(c, spec, int(ended, "exitCode"))) {
                errors.forbidden(&path.child(statuses).index(i).child("state"), ENDED);
            }
        }
    }
}

fn all_could_restart(spec: &Value) -> bool {
    let mut containers = list(spec, "initContainers").iter().chain(list(spec, "containers"));
    containers
        .any(|c| list(c, "restartPolicyRules").iter().any(|r| text(r, "action") == "RestartAllContainers"))
}

/// Whether a container that has ended with this code is started again: by its rules, its policy, or the pod's.
fn restarts(container: &Value, spec: &Value, code: i64) -> bool {
    let by_policy = |policy: &str| match policy {
        "Never" => false,
        "OnFailure" => code != 0,
        _ => true,
    };
    let Some(own) = set_text(container, "restartPolicy") else {
        return by_policy(text(spec, "restartPolicy"));
    };
    let matches = |rule: &&Value| {
        let codes = below(rule, "exitCodes");
        let named = list(codes, "values").iter().any(|v| v.as_i64() == Some(code));
        match text(codes, "operator") {
            "In" => named,
            "NotIn" => !named,
            _ => false,
        }
    };
    match list(container, "restartPolicyRules").iter().find(matches) {
        Some(rule) if ["Restart", "RestartAllContainers"].contains(&text(rule, "action")) => true,
        _ => by_policy(own),
    }
}

/// Reasons to refuse what is said of the pod's claims of devices.
pub fn claims(pod: &Value, path: &Path, errors: &mut ErrorList) {
    let (spec, status) = (below(pod, "spec"), below(pod, "status"));
    let path = path.child("resourceClaimStatuses");
    let mut seen = HashSet::new();
    for (i, s) in list(status, "resourceClaimStatuses").iter().enumerate() {
        let (name, at) = (text(s, "name"), path.index(i));
        if !list(spec, "resourceClaims").iter().any(|c| text(c, "name") == name) {
            let why = "must match the name of an entry in `spec.resourceClaims`";
            errors.invalid(&at.child("name"), name, why);
        }
        if !seen.insert(name) {
            errors.duplicate(&at.child("name"), name);
        }
        if let Some(claim) = set_text(s, "resourceClaimName") {
            errors.invalid_all(&at.child("resourceClaimName"), claim, names::dns1123_subdomain(claim));
        }
    }
}

/// Reasons to refuse the users and devices that containers are said to have.
pub fn containers(pod: &Value, path: &Path, errors: &mut ErrorList) {
    let (spec, status) = (below(pod, "spec"), below(pod, "status"));
    let os = set(spec, "os").map_or("linux", |os| text(os, "name"));
    for (statuses, _) in KINDS {
        for (i, s) in list(status, statuses).iter().enumerate() {
            let Some(user) = set(below(s, "user"), "linux") else { continue };
            let at = path.child(statuses).index(i).child("user").child("linux");
            match os {
                "windows" => errors.forbidden(&at, "cannot be set for a windows pod"),
                "linux" => linux_user(user, &at, errors),
                _ => {}
            }
        }
    }
    for (statuses, containers) in KINDS {
        for (i, s) in list(status, statuses).iter().enumerate() {
            let (devices, at) = (list(s, "allocatedResourcesStatus"), path.child(statuses).index(i));
            let at = at.child("allocatedResourcesStatus");
            if containers != "ephemeralContainers" {
                let c = list(spec, containers).iter().find(|c| text(c, "name") == text(s, "name"));
                devices.iter().enumerate().for_each(|(j, d)| device(d, c, &at.index(j), errors));
            } else if !devices.is_empty() {
                errors.forbidden(&at, "must not be specified in container status");
            }
        }
    }
}

fn linux_user(user: &Value, path: &Path, errors: &mut ErrorList) {
    let mut check = |id: i64, at: Path| {
        if !(0..=i64::from(i32::MAX)).contains(&id) {
            errors.invalid(&at, id, "must be between 0 and 2147483647, inclusive");
        }
    };
    check(int(user, "uid"), path.child("uid"));
    check(int(user, "gid"), path.child("gid"));
    for (i, group) in list(user, "supplementalGroups").iter().enumerate() {
        check(group.as_i64().unwrap_or(0), path.child("supplementalGroups").index(i));
    }
}

/// The health of the devices of one name, of a container that may be gone from the spec.
fn device(device: &Value, container: Option<&Value>, path: &Path, errors: &mut ErrorList) {
    let name = text(device, "name");
    if let Some(resources) = container.map(|c| below(c, "resources")) {
        let (found, why) = if name.starts_with("claim:") {
            let named = |c: &Value| match text(c, "request") {
                "" => format!("claim:{}", text(c, "name")),
                request => format!("claim:{}/{request}", text(c, "name")),
            };
            let why = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty";
            (list(resources, "claims").iter().any(|c| named(c) == name), why)
        } else {
            let requested = below(resources, "requests").get(name).is_some();
            (requested, "must match one of the container's resource requests")
        };
        if !found {
            errors.invalid(&path.child("name"), name, why);
        }
    }
    let mut seen = HashSet::new();
    for (i, r) in list(device, "resources").iter().enumerate() {
        let at = path.child("resources").index(i);
        if !HEALTH.contains(&text(r, "health")) {
            errors.not_supported(&at.child("health"), text(r, "health"), &HEALTH);
        }
        match set_text(r, "message") {
            Some("") => errors.required(&at.child("message"), "must be non-empty if specified"),
            Some(m) if m.len() > MAX_HEALTH_MESSAGE => {
                errors.too_long(&at.child("message"), MAX_HEALTH_MESSAGE)
            }
            _ => {}
        }
        if !seen.insert(text(r, "resourceID")) {
            errors.duplicate(&at.child("resourceID"), text(r, "resourceID"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(check: impl FnOnce(&mut ErrorList)) -> Vec<String> {
        let mut e = ErrorList::new();
        check(&mut e);
        e.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn containers_that_have_ended_stay_so_unless_they_are_restarted() {
        let rule = |action: &str| json!([{"action": action, "exitCodes": {"operator": "In", "values": [7]}}]);
        for (spec, code, fine) in [
            (json!({"restartPolicy": "Always", "containers": [{"name": "c"}]}), 0, true),
            (json!({"restartPolicy": "OnFailure", "containers": [{"name": "c"}]}), 0, false),
            (json!({"restartPolicy": "OnFailure", "containers": [{"name": "c"}]}), 1, true),
            (json!({"restartPolicy": "Never", "containers": [{"name": "c"}]}), 1, false),
            (
                json!({"restartPolicy": "Never", "containers": [{"name": "c", "restartPolicy": "Always"}]}),
                1,
                true,
            ),
            (
                json!({"restartPolicy": "Always", "containers": [{"name": "c", "restartPolicy": "Never"}]}),
                1,
                false,
            ),
            (
                json!({"restartPolicy": "Never", "containers": [{"name": "c", "restartPolicy": "Never", "restartPolicyRules": rule("Restart")}]}),
                7,
                true,
            ),
            (
                json!({"restartPolicy": "Never", "containers": [{"name": "c", "restartPolicy": "Never", "restartPolicyRules": rule("Restart")}]}),
                8,
                false,
            ),
            (
                json!({"restartPolicy": "Never", "containers": [{"name": "c"}, {"name": "d", "restartPolicyRules": rule("RestartAllContainers")}]}),
                0,
                true,
            ),
            (json!({"restartPolicy": "Always", "containers": [{"name": "other"}]}), 0, false),
        ] {
            let status = |state: Value| json!({"containerStatuses": [{"name": "c", "state": state}]});
            let old = json!({"spec": spec, "status": status(json!({"terminated": {"exitCode": code}}))});
            let new = json!({"spec": spec, "status": status(json!({"running": {}}))});
            let got = told(|e| transitions(&new, &old, &Path::new("status"), e));
            let want = format!("status.containerStatuses[0].state: Forbidden: {ENDED}");
            assert_eq!(got, if fine { vec![] } else { vec![want] }, "{spec} {code}");
            assert!(told(|e| transitions(&old, &old, &Path::new("status"), e)).is_empty());
        }
        let old = json!({"spec": {"restartPolicy": "Always", "ephemeralContainers": [{"name": "c"}]},
            "status": {"ephemeralContainerStatuses": [{"name": "c", "state": {"terminated": {}}}]}});
        let new =
            json!({"status": {"ephemeralContainerStatuses": [{"name": "c", "state": {"running": {}}}]}});
        let want = format!("status.ephemeralContainerStatuses[0].state: Forbidden: {ENDED}");
        assert_eq!(told(|e| transitions(&new, &old, &Path::new("status"), e)), [want]);
    }

    #[test]
    fn claims_users_and_devices() {
        let pod = json!({
            "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}, "claims": [{"name": "x", "request": "r"}]}}]},
            "status": {
                "resourceClaimStatuses": [{"name": "y", "resourceClaimName": "A"}],
                "containerStatuses": [{
                    "name": "c",
                    "user": {"linux": {"uid": -1, "gid": 0, "supplementalGroups": [-2]}},
                    "allocatedResourcesStatus": [
                        {"name": "claim:x/r"},
                        {"name": "claim:x"},
                        {"name": "gpu", "resources": [{"resourceID": "1", "health": "Bad"}, {"resourceID": "1", "health": "Healthy", "message": ""}]},
                    ],
                }],
                "ephemeralContainerStatuses": [{"name": "e", "allocatedResourcesStatus": [{"name": "cpu"}]}],
            }
        });
        let got = told(|e| {
            claims(&pod, &Path::new("status"), e);
            containers(&pod, &Path::new("status"), e);
        });
        let id = "must be between 0 and 2147483647, inclusive";
        let want = [
            "status.resourceClaimStatuses[0].name: Invalid value: \"y\": must match the name of an entry in `spec.resourceClaims`".to_owned(),
            format!("status.resourceClaimStatuses[0].resourceClaimName: Invalid value: \"A\": {}", names::dns1123_subdomain("A")[0]),
            format!("status.containerStatuses[0].user.linux.uid: Invalid value: -1: {id}"),
            format!("status.containerStatuses[0].user.linux.supplementalGroups[0]: Invalid value: -2: {id}"),
            "status.containerStatuses[0].allocatedResourcesStatus[1].name: Invalid value: \"claim:x\": must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or 'claim:<claimName>' if request is empty".to_owned(),
            "status.containerStatuses[0].allocatedResourcesStatus[2].name: Invalid value: \"gpu\": must match one of the container's resource requests".to_owned(),
            "status.containerStatuses[0].allocatedResourcesStatus[2].resources[0].health: Unsupported value: \"Bad\": supported values: \"Healthy\", \"Unhealthy\", \"Unknown\"".to_owned(),
            "status.containerStatuses[0].allocatedResourcesStatus[2].resources[1].message: Required value: must be non-empty if specified".to_owned(),
            "status.containerStatuses[0].allocatedResourcesStatus[2].resources[1].resourceID: Duplicate value: \"1\"".to_owned(),
            "status.ephemeralContainerStatuses[0].allocatedResourcesStatus: Forbidden: must not be specified in container status".to_owned(),
        ];
        assert_eq!(got, want);
    }
}
