//! Service account tokens for projected volumes, from the TokenRequest API.

use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use kube::api::{Api, PostParams};

use crate::pod::spec;

/// Lifetime asked for when the volume does not say.
pub const DEFAULT_SECONDS: i64 = 3600;

/// A token for the pod's service account, bound to the pod.
pub async fn request(
    client: &kube::Client,
    pod: &Pod,
    source: &ServiceAccountTokenProjection,
) -> Result<String, String> {
    let pod_spec = spec::spec(pod);
    let account = pod_spec.service_account_name.clone().unwrap_or_else(|| "default".to_owned());
    let audience = source.audience.clone().filter(|audience| !audience.is_empty());
    let request = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(audience.into_iter().collect()),
            expiration_seconds: Some(source.expiration_seconds.unwrap_or(DEFAULT_SECONDS)),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: pod.metadata.name.clone(),
                uid: pod.metadata.uid.clone(),
            }),
        }),
        ..TokenRequest::default()
    };
    let api: Api<ServiceAccount> = Api::namespaced(client.clone(), spec::namespace(pod));
    let answer: TokenRequest = api
        .create_subresource("token", &account, &PostParams::default(), &request)
        .await
        .map_err(|error| match error {
            kube::Error::Api(status) => format!("failed to fetch token: {}", status.message),
            other => format!("failed to fetch token: {other}"),
        })?;
    answer
        .status
        .and_then(|status| status.token)
        .ok_or_else(|| "failed to fetch token: the answer holds none".to_owned())
}
