//! Flow schemas and priority levels: the mandatory ones are kept as they must be, the suggested ones as long as their
//! annotation asks for it.

use std::sync::Arc;

use api_types::catalog::Kind;
use api_types::kinds::flowcontrol_bootstrap::{AUTO_UPDATE, flow_schemas, mandatory, priority_levels};
use api_types::meta;
use api_types::status::Status;
use serde_json::Value;

use super::{ensure, kind};
use crate::registry::{Part, UpdateOptions, Write, parse_stored};
use crate::server::Server;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";

/// Puts them in place.
pub async fn run(server: &Arc<Server>, write: &Write<'_>) -> Result<(), Status> {
    let (levels, schemas) = (kind(GROUP, "prioritylevelconfigurations")?, kind(GROUP, "flowschemas")?);
    let levels = priority_levels().into_iter().map(|o| put(server, levels, o, write));
    let schemas = flow_schemas().into_iter().map(|o| put(server, schemas, o, write));
    // Small writes share the store's commits.
    let (levels, schemas) =
        futures::future::join(futures::future::try_join_all(levels), futures::future::try_join_all(schemas))
            .await;
    levels.and(schemas).map(drop)
}

async fn put(server: &Arc<Server>, kind: &Kind, object: Value, write: &Write<'_>) -> Result<(), Status> {
    let name = meta::name(&object).to_owned();
    let Some(there) = server.registry().peek(kind, "", &name) else {
        return ensure(server, kind, "", object, write).await;
    };
    let there = parse_stored(&there.bytes)?;
    if !outdated(kind, &there, &object) {
        return Ok(());
    }
    let options = UpdateOptions { create: false, retry: true, part: Part::Whole };
    let derive = |current: Option<&Value>| {
        let mut new = current.cloned().unwrap_or_else(|| object.clone());
        new["spec"] = object["spec"].clone();
        Ok(new)
    };
    server.registry().update(kind, "", &name, options, write, derive).await.map(drop)
}

/// Whether the stored spec must become the built-in one.
fn outdated(kind: &Kind, there: &Value, object: &Value) -> bool {
    let mut have = there["spec"].clone();
    if have["type"] == "Exempt" {
        // How much of the exempt level is lent is the administrator's.
        have["exempt"] = object["spec"]["exempt"].clone();
    }
    let annotation = meta::at(there, &["metadata", "annotations", AUTO_UPDATE]).and_then(Value::as_str);
    let ours = mandatory(kind.kind, meta::name(there)).is_some() || annotation == Some("true");
    // Untouched suggestions without the annotation are ours too.
    let untouched = annotation.is_none() && meta::generation(there) == 1;
    have != object["spec"] && (ours || untouched)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_an_administrator_has_taken_over_stays() {
        let kind = kind(GROUP, "prioritylevelconfigurations").unwrap();
        let object = priority_levels().into_iter().find(|o| o["metadata"]["name"] == "system").unwrap();
        for (annotation, generation, changed, want) in [
            (json!("true"), 3, true, true),
            (json!("true"), 3, false, false),
            (json!("false"), 3, true, false),
            (Value::Null, 1, true, true),
            (Value::Null, 2, true, false),
        ] {
            let mut there = object.clone();
            there["metadata"]["annotations"][AUTO_UPDATE] = annotation.clone();
            there["metadata"]["generation"] = generation.into();
            if changed {
                there["spec"]["limited"]["lendablePercent"] = 1.into();
            }
            assert_eq!(outdated(kind, &there, &object), want, "{annotation} {generation} {changed}");
        }
    }
}
