//! A container's environment: `envFrom`, `env` in order with expansion, then services under everything else.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVarSource, Pod};

use super::context::PodContext;
use super::expand::expand;
use super::fields::{self, Facts};
use super::spec;
use crate::objects::{Data, Kind, ObjectError};

/// The environment of a container, in order; the error is the message of `CreateContainerConfigError`.
pub async fn environment(
    ctx: &PodContext,
    pod: &Pod,
    container: &Container,
    facts: &Facts,
) -> Result<Vec<(String, String)>, String> {
    let namespace = spec::namespace(pod);
    let links = spec::spec(pod).enable_service_links.unwrap_or(true);
    let services = ctx.services.variables(namespace, links).await;
    let mut names: Vec<String> = Vec::new();
    let mut values: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |values: &mut BTreeMap<String, String>, name: String, value: String| {
        if values.insert(name.clone(), value).is_none() {
            names.push(name);
        }
    };
    for source in container.env_from.iter().flatten() {
        let (kind, name, optional) = if let Some(map) = &source.config_map_ref {
            (Kind::ConfigMap, map.name.as_str(), map.optional)
        } else if let Some(secret) = &source.secret_ref {
            (Kind::Secret, secret.name.as_str(), secret.optional)
        } else {
            continue;
        };
        let Some(data) = object(ctx, kind, namespace, name, optional == Some(true)).await? else { continue };
        let prefix = source.prefix.as_deref().unwrap_or_default();
        for (key, value) in data.entries {
            let name = format!("{prefix}{key}");
            if !name.is_empty() && !name.contains('=') {
                set(&mut values, name, String::from_utf8_lossy(&value).into_owned());
            }
        }
    }
    for variable in container.env.iter().flatten() {
        let value = if let Some(value) = &variable.value {
            expand(value, |name| values.get(name).or_else(|| services.get(name)).cloned())
        } else if let Some(source) = &variable.value_from {
            match referenced(ctx, pod, container, source, facts).await? {
                Some(value) => value,
                None => continue,
            }
        } else {
            String::new()
        };
        set(&mut values, variable.name.clone(), value);
    }
    let mut out: Vec<(String, String)> = Vec::with_capacity(names.len() + services.len());
    for name in names {
        if let Some(value) = values.get(&name) {
            out.push((name, value.clone()));
        }
    }
    out.extend(services.into_iter().filter(|(name, _)| !values.contains_key(name)));
    Ok(out)
}

async fn object(
    ctx: &PodContext,
    kind: Kind,
    namespace: &str,
    name: &str,
    optional: bool,
) -> Result<Option<Data>, String> {
    match ctx.objects.get(kind, namespace, name).await {
        Ok(data) => Ok(Some(data)),
        Err(ObjectError::NotFound(_)) if optional => Ok(None),
        Err(ObjectError::NotFound(_)) => Err(format!("{} {name:?} not found", kind.as_str())),
        Err(ObjectError::Api(message)) => Err(message),
    }
}

async fn referenced(
    ctx: &PodContext,
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    facts: &Facts,
) -> Result<Option<String>, String> {
    if let Some(field) = &source.field_ref {
        return fields::field(pod, &field.field_path, facts).map(Some);
    }
    if let Some(selector) = &source.resource_field_ref {
        let spec = spec::spec(pod);
        let other = selector.container_name.as_deref().and_then(|name| spec::find_container(&spec, name));
        let container = other.as_ref().map_or(container, |(_, other)| other);
        return fields::resource(container, selector, facts).map(Some);
    }
    let (kind, title, name, key, optional) = if let Some(selector) = &source.config_map_key_ref {
        (Kind::ConfigMap, "ConfigMap", &selector.name, &selector.key, selector.optional)
    } else if let Some(selector) = &source.secret_key_ref {
        (Kind::Secret, "Secret", &selector.name, &selector.key, selector.optional)
    } else {
        return Ok(None);
    };
    let optional = optional == Some(true);
    let namespace = spec::namespace(pod);
    let Some(data) = object(ctx, kind, namespace, name, optional).await? else { return Ok(None) };
    match data.entries.get(key) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional => Ok(None),
        None => Err(format!("couldn't find key {key} in {title} {namespace}/{name}")),
    }
}
