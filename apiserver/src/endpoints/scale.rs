//! The scale of workloads: replicas as an `autoscaling/v1 Scale`, from where the catalog says a kind keeps them.

use api_types::apply::update::{Subject, updated};
use api_types::apply::{managers, scale as owners};
use api_types::catalog::Kind;
use api_types::field::{ErrorList, Path};
use api_types::json::Parsed;
use api_types::meta::{self, str_at};
use api_types::schema::{Table, decode};
use api_types::status::Status;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Call;
use super::apply::{self, Configuration};
use super::patch::{Language, Patch, unfit};
use super::respond::{self, Answer};
use super::update::check_name;
use crate::registry::read::Freshness;
use crate::registry::{Owners, Part, UpdateOptions, Write, parse_stored};
use crate::request::body;

const TYPE: &str = "autoscaling.v1.Scale";

pub async fn scale(call: Call<'_>) -> Answer {
    let (kind, namespace, name) = (call.kind, call.info.namespace.clone(), call.info.name.clone());
    if *call.method() == Method::GET {
        let found =
            call.registry().get(kind, &namespace, &name, Freshness::Consistent).await.map_err(|e| match e
                .reason
            {
                "NotFound" => Status::not_found(kind.group, &format!("{}/scale", kind.plural), &name),
                _ => e,
            })?;
        return Ok(respond::json(StatusCode::OK, &of(kind, &parse_stored(&found.bytes)?)));
    }
    let write = call.write()?;
    let writer = match &write.owners {
        Owners::Update(name) => name.as_ref(),
        Owners::Given | Owners::Kept => "",
    };
    // The owners are those of the scale, and are put back into the workload here.
    let write = &Write { owners: Owners::Given, ..write.clone() };
    let change = Change::read(&call).await?;
    let options = UpdateOptions { create: false, retry: true, part: Part::Whole };
    let (stored, _) = call
        .registry()
        .update(kind, &namespace, &name, options, write, |current| {
            let current = current.ok_or_else(|| Status::not_found(kind.group, kind.plural, &name))?;
            let before = managers::of(current).unwrap_or_default();
            let mut scale = of(kind, current);
            managers::set(&mut scale, owners::of_workload(before));
            let wanted = change.apply(&scale, &name, writer)?;
            let mut new = merge(kind, current, &wanted)?;
            let after = managers::of(&wanted).unwrap_or_default();
            managers::set(&mut new, owners::to_workload(before, after, &kind.api_version()));
            Ok(new)
        })
        .await?;
    Ok(respond::json(StatusCode::OK, &of(kind, &stored)))
}

enum Change {
    Whole(Value),
    Patch(Patch),
    Apply(Configuration),
}

impl Change {
    async fn read(call: &Call<'_>) -> Result<Self, Status> {
        if *call.method() == Method::PATCH {
            if apply::is_apply(call.content_type()) {
                return Configuration::read(call).await.map(Self::Apply);
            }
            let language = Language::of(call.content_type())?;
            let bytes = body::read(call.take_body()).await?;
            return Patch::read(language, &bytes).map(Self::Patch);
        }
        let media = body::media(call.content_type())?;
        let bytes = body::read(call.take_body()).await?;
        let Parsed { value, .. } = body::parse(&bytes, media).map_err(|e| {
            Status::bad_request(format!("the object provided is unrecognized (must be of type Scale): {e}"))
        })?;
        fit(value).map(Self::Whole)
    }

    /// The scale as it is wanted, with its owners then.
    fn apply(&self, current: &Value, name: &str, writer: &str) -> Result<Value, Status> {
        let mut wanted = match self {
            Self::Whole(v) => {
                check_name(v, name)?;
                v.clone()
            }
            Self::Patch(p) => {
                let mut scale = current.clone();
                p.apply(&mut scale, Table::builtin().find(TYPE))?;
                let shown = scale.to_string();
                fit(scale).map_err(|s| unfit(&shown, &s))?
            }
            Self::Apply(c) => {
                let scale = c.run(Subject::Scale, ("autoscaling/v1", "Scale"), Some(current))?;
                check_name(&scale, name)?;
                return fit(scale);
            }
        };
        let entries = updated(Some(current), &wanted, Subject::Scale, writer, &meta::now())
            .map_err(|e| Status::internal(e.0))?;
        managers::set(&mut wanted, entries);
        Ok(wanted)
    }
}

fn fit(mut scale: Value) -> Result<Value, Status> {
    let table = Table::builtin();
    if let Some(id) = table.find(TYPE) {
        decode::normalize(&mut scale, id, table).map_err(|e| {
            Status::bad_request(format!("Scale in version \"v1\" cannot be handled as a Scale: {}", e.0))
        })?;
    }
    Ok(scale)
}

/// The workload with the replicas of `scale`.
fn merge(kind: &Kind, current: &Value, scale: &Value) -> Result<Value, Status> {
    let replicas = meta::at(scale, &["spec", "replicas"]).and_then(Value::as_i64).unwrap_or(0);
    if replicas < 0 {
        let mut errors = ErrorList::new();
        errors.non_negative(&Path::new("spec").child("replicas"), replicas);
        return Err(Status::invalid("autoscaling", "Scale", meta::name(current), &errors));
    }
    let asked = meta::resource_version(scale);
    if !asked.is_empty() && asked != meta::resource_version(current) {
        return Err(Status::modified(kind.group, kind.plural, meta::name(current)));
    }
    let mut new = current.clone();
    let place = kind.scale.spec_replicas.iter().fold(&mut new, |v, field| &mut v[*field]);
    *place = replicas.into();
    Ok(new)
}

/// The scale of a workload.
fn of(kind: &Kind, workload: &Value) -> Value {
    let m = |f: &str| workload.get("metadata").and_then(|m| m.get(f)).cloned().unwrap_or_default();
    let replicas = |p: &[&str]| meta::at(workload, p).and_then(Value::as_i64).unwrap_or(0);
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {"name": m("name"), "namespace": m("namespace"), "uid": m("uid"),
            "resourceVersion": str_at(workload, &["metadata", "resourceVersion"]),
            "creationTimestamp": m("creationTimestamp")},
        "spec": {"replicas": replicas(kind.scale.spec_replicas)},
        "status": {"replicas": replicas(kind.scale.status_replicas), "selector": kind.scale.selector_text(workload)},
    })
}
