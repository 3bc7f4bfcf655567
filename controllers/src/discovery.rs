//! Which resources the API server serves, for the controllers that treat all kinds alike.

use http::Request;
use kube::Client;
use serde::{Deserialize, de::DeserializeOwned};

/// A served resource in the version the server prefers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Resource {
    pub group: String,
    pub version: String,
    pub plural: String,
    pub kind: String,
    pub namespaced: bool,
    pub verbs: Vec<String>,
}

impl Resource {
    pub(crate) fn can(&self, verb: &str) -> bool {
        self.verbs.iter().any(|known| known == verb)
    }

    /// Path of the collection, in a namespace if one is given.
    pub(crate) fn path(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if self.namespaced && !namespace.is_empty() {
            format!("{root}/namespaces/{namespace}/{}", self.plural)
        } else {
            format!("{root}/{}", self.plural)
        }
    }
}

/// What the server told of its resources.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub resources: Vec<Resource>,
    /// Groups that could not be asked, with the reason.
    pub failed: Vec<(String, kube::Error)>,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    versions: Vec<GroupVersion>,
    preferred_version: Option<GroupVersion>,
}

#[derive(Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct GroupVersion {
    group_version: String,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<ApiResource>,
}

#[derive(Deserialize)]
struct ApiResource {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

/// Asks the server for all its resources. A group that fails does not hide the others.
pub(crate) async fn served(client: &Client) -> Result<Served, kube::Error> {
    let groups: Groups = get(client, "/apis".to_owned()).await?;
    let mut served = Served::default();
    let versions = groups.groups.into_iter().filter_map(|mut group| {
        group.preferred_version.or_else(|| group.versions.pop()).map(|version| version.group_version)
    });
    for group_version in std::iter::once("v1".to_owned()).chain(versions) {
        let (group, version) = group_version.split_once('/').unwrap_or(("", &group_version));
        let root = if group.is_empty() { "/api" } else { "/apis" };
        match get::<Resources>(client, format!("{root}/{group_version}")).await {
            Ok(list) => {
                let whole = list.resources.into_iter().filter(|resource| !resource.name.contains('/'));
                served.resources.extend(whole.map(|resource| Resource {
                    group: group.to_owned(),
                    version: version.to_owned(),
                    plural: resource.name,
                    kind: resource.kind,
                    namespaced: resource.namespaced,
                    verbs: resource.verbs,
                }));
            }
            Err(error) => served.failed.push((group_version, error)),
        }
    }
    Ok(served)
}

async fn get<T: DeserializeOwned>(client: &Client, path: String) -> Result<T, kube::Error> {
    let request = Request::get(path).header(http::header::ACCEPT, "application/json").body(Vec::new());
    client.request(request.map_err(kube::Error::HttpError)?).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_collections() {
        let mut resource = Resource {
            group: String::new(),
            version: "v1".to_owned(),
            plural: "pods".to_owned(),
            kind: "Pod".to_owned(),
            namespaced: true,
            verbs: vec!["list".to_owned()],
        };
        assert_eq!(resource.path("ns"), "/api/v1/namespaces/ns/pods");
        assert_eq!(resource.path(""), "/api/v1/pods");
        resource.group = "apps".to_owned();
        resource.namespaced = false;
        assert_eq!(resource.path("ns"), "/apis/apps/v1/pods");
        assert!(resource.can("list") && !resource.can("watch"));
    }
}
