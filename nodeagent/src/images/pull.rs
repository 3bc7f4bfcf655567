//! Makes sure a container's image is there, as its pull policy says. Pulls are bounded; events are upstream's.

use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use k8s_cri::v1;
use k8s_openapi::api::core::v1::{Container, Pod};
use tokio::sync::Semaphore;

use super::name;
use crate::events::EventType;
use crate::objects::Kind as ObjectKind;
use crate::pod::context::PodContext;
use crate::pod::spec::{self, Kind};
use crate::pod::state::Waiting;

const PULLS_AT_ONCE: usize = 3;

/// Pulls images.
#[derive(Clone)]
pub struct ImagePuller {
    slots: Arc<Semaphore>,
}

impl Default for ImagePuller {
    fn default() -> ImagePuller {
        ImagePuller { slots: Arc::new(Semaphore::new(PULLS_AT_ONCE)) }
    }
}

/// Why a container has no image.
#[derive(Debug, Clone, PartialEq)]
pub struct PullError {
    /// What the container's status shows.
    pub waiting: Waiting,
    /// Whether a pull was tried and failed, so that the next one has to wait.
    pub tried: bool,
}

impl ImagePuller {
    /// The image of a container; pulls it if the policy wants that.
    pub async fn ensure(
        &self,
        ctx: &PodContext,
        pod: &Pod,
        kind: Kind,
        container: &Container,
        sandbox: &v1::PodSandboxConfig,
    ) -> Result<v1::Image, PullError> {
        let image = container.image.clone().unwrap_or_default();
        let event = |type_, reason: &str, message: String| {
            ctx.container_event(pod, kind, &container.name, type_, reason, message);
        };
        let fail = |reason: &str, message: String, tried: bool| {
            event(EventType::Warning, "Failed", format!("Error: {reason}"));
            PullError { waiting: Waiting::new(reason, message), tried }
        };
        let name = name::with_default_tag(&image).map_err(|error| {
            let message = format!("Failed to apply default image tag \"{image}\": {error}");
            event(EventType::Warning, "InspectFailed", message.clone());
            fail("InvalidImageName", message, false)
        })?;
        let present = ctx.runtime.image(&name).await.map_err(|error| {
            let message = format!("Failed to inspect image \"{image}\": {}", error.message);
            event(EventType::Warning, "InspectFailed", message.clone());
            fail("ImageInspectError", message, false)
        })?;
        let policy = container.image_pull_policy.as_deref().unwrap_or("IfNotPresent");
        match (present, policy) {
            (Some(found), "IfNotPresent" | "Never") => {
                let message = format!(
                    "Container image \"{image}\" already present on machine and can be accessed by the pod"
                );
                event(EventType::Normal, "Pulled", message);
                return Ok(found);
            }
            (None, "Never") => {
                let message = format!("Container image \"{image}\" is not present with pull policy of Never");
                event(EventType::Warning, "ErrImageNeverPull", message.clone());
                return Err(fail("ErrImageNeverPull", message, false));
            }
            _ => {}
        }
        event(EventType::Normal, "Pulling", format!("Pulling image \"{image}\""));
        let asked = Instant::now();
        let slot = self.slots.acquire().await;
        let began = Instant::now();
        let pulled = self.pull(ctx, pod, &name, sandbox).await;
        drop(slot);
        let failed = |error: String| {
            event(EventType::Warning, "Failed", format!("Failed to pull image \"{image}\": {error}"));
            fail("ErrImagePull", error, true)
        };
        pulled.map_err(failed)?;
        match ctx.runtime.image(&name).await {
            Ok(Some(found)) => {
                let message = format!(
                    "Successfully pulled image \"{image}\" in {:.3}s ({:.3}s including waiting). Image size: {} bytes.",
                    began.elapsed().as_secs_f64(),
                    asked.elapsed().as_secs_f64(),
                    found.size
                );
                event(EventType::Normal, "Pulled", message);
                Ok(found)
            }
            Ok(None) => Err(failed("the runtime does not have the image it has just pulled".to_owned())),
            Err(error) => Err(failed(error.message)),
        }
    }

    /// Pulls with each fitting credential in turn, without any if there is none.
    async fn pull(
        &self,
        ctx: &PodContext,
        pod: &Pod,
        image: &str,
        sandbox: &v1::PodSandboxConfig,
    ) -> Result<(), String> {
        let mut last = None;
        let credentials = credentials(ctx, pod, image).await;
        let attempts: Vec<Option<v1::AuthConfig>> =
            if credentials.is_empty() { vec![None] } else { credentials.into_iter().map(Some).collect() };
        for auth in attempts {
            match ctx.runtime.pull_image(image, auth, Some(sandbox.clone())).await {
                Ok(_) => return Ok(()),
                Err(error) => last = Some(error.message),
            }
        }
        Err(last.unwrap_or_default())
    }
}

async fn credentials(ctx: &PodContext, pod: &Pod, image: &str) -> Vec<v1::AuthConfig> {
    let spec = spec::spec(pod);
    let mut found = Vec::new();
    for reference in spec.image_pull_secrets.iter().flatten() {
        match ctx.objects.get(ObjectKind::Secret, spec::namespace(pod), &reference.name).await {
            Ok(data) => found.extend(parse_secret(&data.entries, image)),
            Err(error) => {
                let message = format!(
                    "Unable to retrieve some image pull secrets ({}); attempting to pull the image may not succeed.",
                    reference.name
                );
                tracing::debug!(%error, secret = reference.name, "image pull secret");
                ctx.pod_event(pod, EventType::Warning, "FailedToRetrieveImagePullSecret", message);
            }
        }
    }
    found
}

/// Credentials of a `dockerconfigjson` (or older `dockercfg`) secret for the registry of `image`.
fn parse_secret(entries: &std::collections::BTreeMap<String, Vec<u8>>, image: &str) -> Vec<v1::AuthConfig> {
    let auths = if let Some(text) = entries.get(".dockerconfigjson") {
        serde_json::from_slice::<serde_json::Value>(text).ok().and_then(|value| value.get("auths").cloned())
    } else {
        entries.get(".dockercfg").and_then(|text| serde_json::from_slice(text).ok())
    };
    let normalized = name::normalized(image);
    let host = normalized.split('/').next().unwrap_or_default();
    let Some(serde_json::Value::Object(auths)) = auths else { return Vec::new() };
    auths
        .into_iter()
        .filter(|(server, _)| matches(server, host, &normalized))
        .map(|(server, entry)| {
            let text = |key: &str| entry.get(key).and_then(|v| v.as_str()).unwrap_or_default().to_owned();
            let (mut username, mut password) = (text("username"), text("password"));
            if let Ok(decoded) = base64::engine::general_purpose::STANDARD.decode(text("auth"))
                && let Ok(pair) = String::from_utf8(decoded)
                && let Some((user, secret)) = pair.split_once(':')
            {
                user.clone_into(&mut username);
                secret.trim_end_matches('\0').clone_into(&mut password);
            }
            v1::AuthConfig {
                username,
                password,
                identity_token: text("identitytoken"),
                registry_token: text("registrytoken"),
                server_address: server,
                ..v1::AuthConfig::default()
            }
        })
        .collect()
}

fn matches(server: &str, host: &str, image: &str) -> bool {
    let server = server.trim_start_matches("https://").trim_start_matches("http://");
    let server = server.trim_end_matches('/').trim_end_matches("/v1").trim_end_matches("/v2");
    let docker = matches!(server, "index.docker.io" | "docker.io" | "registry-1.docker.io");
    server == host || (docker && host == "docker.io") || image.starts_with(&format!("{server}/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_found_by_registry() {
        let json = br#"{"auths": {"https://reg.example/v2/": {"auth": "dTpw"}, "other": {"username": "x"}}}"#;
        let entries = [(".dockerconfigjson".to_owned(), json.to_vec())].into();
        let found = parse_secret(&entries, "reg.example/a/b:1");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].username.as_str(), found[0].password.as_str()), ("u", "p"));
    }
}
