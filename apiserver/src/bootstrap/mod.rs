//! Objects every cluster has: namespaces, the default roles, priority levels and classes, API services, the service
//! `kubernetes`.
//!
//! Put in place at every start; what an administrator has changed stays as upstream's rules say.

mod apiservices;
mod flowcontrol;
mod keep;
mod legacy_token_tracking;
mod priority_classes;
mod service_cidr;

use std::net::SocketAddr;
use std::sync::Arc;

use api_types::catalog::{self, Kind};
use api_types::meta;
use api_types::status::Status;
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};

use crate::authn::UserInfo;
use crate::authz::bootstrap as policy;
use crate::registry::read::Freshness;
use crate::registry::{DeleteOptions, Part, UpdateOptions, Write, parse_stored};
use crate::server::Server;
use crate::server::hooks::{Hook, Hooks};

/// Writes under way at once.
const PARALLEL: usize = 64;
const NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "default"];

fn kind(group: &str, plural: &str) -> Result<&'static Kind, Status> {
    catalog::by_resource(group, "v1", plural)
        .ok_or_else(|| Status::internal(format!("{plural} are not served")))
}

/// Puts everything in place.
pub async fn run(server: &Arc<Server>, advertise: SocketAddr) -> Result<(), Status> {
    let user = UserInfo::api_server();
    let write = Write::own(&user);
    let namespaces = kind("", "namespaces")?;
    for name in NAMESPACES {
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        ensure(server, namespaces, "", object, &write).await?;
    }
    let hooks = server.hooks();
    hooks.done(Hook::SystemNamespaces);
    tokio::try_join!(
        done(hooks, Hook::Roles, roles(server, &write)),
        done(hooks, Hook::FlowControl, flowcontrol::run(server, &write)),
        done(hooks, Hook::ApiServices, apiservices::run(server, &write)),
        done(hooks, Hook::PriorityClasses, priority_classes::run(server, &write)),
        done(hooks, Hook::ServiceCidr, service_cidr::run(server, &write)),
        legacy_token_tracking::run(server, &write)
    )?;
    done(hooks, Hook::Service, service(server, advertise, &write)).await
}

/// Takes note of a step that has succeeded.
async fn done(
    hooks: &Hooks,
    hook: Hook,
    step: impl Future<Output = Result<(), Status>>,
) -> Result<(), Status> {
    step.await?;
    hooks.done(hook);
    Ok(())
}

/// Keeps in place what must not be missing while the server runs.
pub fn follow(server: &Arc<Server>) {
    server.tasks().spawn(service_cidr::follow(server.clone()));
    server.tasks().spawn(legacy_token_tracking::follow(server.clone()));
}

/// Creates an object unless it is there.
async fn ensure(
    server: &Arc<Server>,
    kind: &Kind,
    namespace: &str,
    object: Value,
    write: &Write<'_>,
) -> Result<(), Status> {
    if server.registry().peek(kind, namespace, meta::name(&object)).is_some() {
        return Ok(());
    }
    match server.registry().create(kind, namespace, object, write).await {
        // Another API server was faster.
        Err(s) if s.reason == "AlreadyExists" => Ok(()),
        Err(s) => Err(s),
        Ok(_) => Ok(()),
    }
}

async fn roles(server: &Arc<Server>, write: &Write<'_>) -> Result<(), Status> {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let stored = |plural: &str| -> Result<Vec<Value>, Status> {
        let snapshot = server.registry().resource(kind(GROUP, plural)?)?.snapshot();
        snapshot.iter().map(|o| parse_stored(&o.bytes)).collect()
    };
    let existing = policy::Existing {
        cluster_roles: stored("clusterroles")?,
        cluster_role_bindings: stored("clusterrolebindings")?,
        roles: stored("roles")?,
        role_bindings: stored("rolebindings")?,
    };
    // Each is a small write of its own; together they share the store's commits.
    let writes = policy::reconcile(&existing).into_iter().map(|w| put_role(server, w, write));
    stream::iter(writes).buffer_unordered(PARALLEL).try_collect::<Vec<()>>().await?;
    Ok(())
}

async fn put_role(server: &Arc<Server>, w: policy::Write, write: &Write<'_>) -> Result<(), Status> {
    let kind = kind("rbac.authorization.k8s.io", w.resource)?;
    let (namespace, name) = (meta::namespace(&w.object).to_owned(), meta::name(&w.object).to_owned());
    match w.kind {
        policy::WriteKind::Create => ensure(server, kind, &namespace, w.object, write).await,
        policy::WriteKind::Recreate => {
            let options = DeleteOptions::default();
            server.registry().delete(kind, &namespace, &name, &options, write).await?;
            let mut object = w.object;
            meta::metadata_mut(&mut object).remove("resourceVersion");
            server.registry().create(kind, &namespace, object, write).await.map(drop)
        }
        policy::WriteKind::Update => {
            let options = UpdateOptions { create: false, retry: true, part: Part::Whole };
            let derive = |_: Option<&Value>| Ok(w.object.clone());
            server.registry().update(kind, &namespace, &name, options, write, derive).await.map(drop)
        }
    }
}

/// The service through which pods reach this server.
async fn service(server: &Arc<Server>, advertise: SocketAddr, write: &Write<'_>) -> Result<(), Status> {
    let ip = server.registry().allocators().first_ip().to_string();
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip],
            "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": advertise.port()}]}});
    match ensure(server, kind("", "services")?, "default", service, write).await {
        // Its address is in no range that may be given out from: a person's to see to, who needs the server for it.
        Err(s) if s.reason == "Invalid" => {
            tracing::error!(error = s.message, "the service kubernetes cannot be made");
        }
        outcome => outcome?,
    }
    let endpoints = json!({"apiVersion": "v1", "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": advertise.ip().to_string()}],
            "ports": [{"name": "https", "port": advertise.port(), "protocol": "TCP"}]}]});
    replace(server, kind("", "endpoints")?, endpoints, write).await?;
    let family = if advertise.is_ipv4() { "IPv4" } else { "IPv6" };
    let slice = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": family,
        "endpoints": [{"addresses": [advertise.ip().to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": advertise.port(), "protocol": "TCP"}]});
    replace(server, kind("discovery.k8s.io", "endpointslices")?, slice, write).await
}

/// Makes an object of the namespace `default` be as given, keeping its identity.
async fn replace(server: &Arc<Server>, kind: &Kind, object: Value, write: &Write<'_>) -> Result<(), Status> {
    let name = meta::name(&object).to_owned();
    match server.registry().get(kind, "default", &name, Freshness::Consistent).await {
        Err(s) if s.reason == "NotFound" => ensure(server, kind, "default", object, write).await,
        Err(s) => Err(s),
        Ok(_) => {
            let options = UpdateOptions { create: false, retry: true, part: Part::Whole };
            server.registry().update(kind, "default", &name, options, write, |_| Ok(object.clone())).await?;
            Ok(())
        }
    }
}
