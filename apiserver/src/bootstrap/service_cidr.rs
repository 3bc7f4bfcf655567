//! The ServiceCIDR `kubernetes`: the service network of the command line, as an object.
//!
//! It is put in place at start and again when it goes, and is declared ready where nobody has said anything yet. One
//! with another range, and one that is not ready, is a person's to see to: it is told, once. Words and order:
//! upstream's `defaultservicecidr`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use api_types::meta::{self, str_at};
use api_types::status::Status;
use serde_json::{Value, json};

use super::keep::keep;
use super::{ensure, kind};
use crate::authn::UserInfo;
use crate::recorder::Recorder;
use crate::registry::read::Freshness;
use crate::registry::{Owners, Part, UpdateOptions, Write, parse_stored};
use crate::server::Server;

const NAME: &str = "kubernetes";
const CONTROLLER: &str = "kubernetes-service-cidr-controller";

/// What was found to be wrong and told already.
struct Told {
    recorder: Recorder,
    range: AtomicBool,
    condition: AtomicBool,
}

/// Puts it in place, and says that it may be used.
pub(super) async fn run(server: &Arc<Server>, write: &Write<'_>) -> Result<(), Status> {
    if let Some(there) = put(server, write).await? {
        make_ready(server, write, &there).await?;
    }
    Ok(())
}

/// Sees to it while the server runs.
pub(super) async fn follow(server: Arc<Server>) {
    let Ok(kind) = kind("networking.k8s.io", "servicecidrs") else { return };
    let user = UserInfo::api_server();
    let write = Write::own(&user);
    let told = Told {
        recorder: Recorder::new(server.shared_registry(), CONTROLLER),
        range: AtomicBool::new(false),
        condition: AtomicBool::new(false),
    };
    let look = || async {
        if let Some(there) = put(&server, &write).await? {
            judge(&server, &write, &there, &told).await?;
        }
        Ok(None)
    };
    keep(&server, kind, "", NAME, look).await;
}

/// The object as it is, having been made if need be; `None` when it is being deleted, which is its controller's to
/// finish.
async fn put(server: &Arc<Server>, write: &Write<'_>) -> Result<Option<Value>, Status> {
    let (registry, kind) = (server.registry(), kind("networking.k8s.io", "servicecidrs")?);
    let object = json!({"apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": NAME}, "spec": {"cidrs": [registry.allocators().network()]}});
    ensure(server, kind, "", object, write).await?;
    let there = match registry.get(kind, "", NAME, Freshness::Consistent).await {
        // Gone again already: that is the next event.
        Err(s) if s.reason == "NotFound" => return Ok(None),
        there => parse_stored(&there?.bytes)?,
    };
    Ok((!meta::is_deleting(&there)).then_some(there))
}

async fn judge(server: &Arc<Server>, write: &Write<'_>, there: &Value, told: &Told) -> Result<(), Status> {
    let network = server.registry().allocators().network();
    let is_new = |told: &AtomicBool| !told.swap(true, Ordering::Relaxed);
    if there["spec"]["cidrs"][0] != network.as_str() {
        if is_new(&told.range) {
            let ranges: Vec<&str> =
                there["spec"]["cidrs"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            let why = format!(
                "The default ServiceCIDR [{}] does not match the controller flag configurations [{network}]",
                ranges.join(" ")
            );
            tracing::warn!("{why}");
            told.recorder.warning(there, "KubernetesDefaultServiceCIDRInconsistent", &why).await;
        }
        return Ok(());
    }
    let Some(ready) = condition(there).filter(|c| str_at(c, &["status"]) == "False") else {
        return make_ready(server, write, there).await;
    };
    if is_new(&told.condition) {
        let why = format!("Configuration matches, but {}", str_at(ready, &["message"]));
        tracing::warn!("the ServiceCIDR {NAME} is not ready: {why}");
        told.recorder.warning(there, str_at(ready, &["reason"]), &why).await;
    }
    Ok(())
}

fn condition(cidr: &Value) -> Option<&Value> {
    let conditions = meta::at(cidr, &["status", "conditions"])?.as_array()?;
    conditions.iter().find(|c| str_at(c, &["type"]) == "Ready")
}

/// Sets the condition where there is none, and the range is ours.
async fn make_ready(server: &Arc<Server>, write: &Write<'_>, there: &Value) -> Result<(), Status> {
    let registry = server.registry();
    let unsaid = |cidr: &Value| {
        condition(cidr).is_none_or(|c| !matches!(str_at(c, &["status"]), "True" | "False"))
            && !meta::is_deleting(cidr)
            && cidr["spec"]["cidrs"][0] == registry.allocators().network().as_str()
    };
    if !unsaid(there) {
        return Ok(());
    }
    let write = Write { subresource: "status", owners: Owners::Update(CONTROLLER.into()), ..write.clone() };
    let options = UpdateOptions { create: false, retry: true, part: Part::Status };
    let derive = |current: Option<&Value>| {
        let mut new = current.cloned().unwrap_or_else(|| there.clone());
        if unsaid(&new) {
            let others = meta::at(&new, &["status", "conditions"]).and_then(Value::as_array);
            let others = others.into_iter().flatten().filter(|c| str_at(c, &["type"]) != "Ready");
            let mut conditions: Vec<Value> = others.cloned().collect();
            conditions.push(json!({"type": "Ready", "status": "True", "reason": "",
                "message": "Kubernetes default Service CIDR is ready", "lastTransitionTime": meta::now()}));
            new["status"]["conditions"] = conditions.into();
        }
        Ok(new)
    };
    match registry.update(kind("networking.k8s.io", "servicecidrs")?, "", NAME, options, &write, derive).await
    {
        Err(s) if s.reason == "NotFound" => Ok(()),
        outcome => outcome.map(drop),
    }
}
