//! Brings an image archive (OCI layout, or what `docker save` writes) into containerd's store.

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::containerd_store::{CHUNK, Descriptor, Store};
use super::name::normalized;
use crate::runtime::ContainerRuntime;
use crate::runtime::cri::CriRuntime;

/// Why an archive could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The archive cannot be read.
    #[error("cannot read image archive {path}")]
    Read {
        /// The archive.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is not an image archive.
    #[error("{path} is no image archive: {problem}")]
    Format {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The runtime refused it.
    #[error("containerd at {socket} did not take the image: {message}")]
    Store {
        /// Its socket.
        socket: PathBuf,
        /// Its message.
        message: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonDescriptor {
    #[serde(default)]
    media_type: String,
    digest: String,
    #[serde(default)]
    size: i64,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonManifest {
    #[serde(default)]
    manifests: Vec<JsonDescriptor>,
    config: Option<JsonDescriptor>,
    #[serde(default)]
    layers: Vec<JsonDescriptor>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// Blobs of an archive by path, read in one pass; `sha256:` digests are computed, not believed.
struct Archive {
    path: PathBuf,
    files: HashMap<String, Vec<u8>>,
}

const MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
const CONFIG: &str = "application/vnd.docker.container.image.v1+json";
const LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
const LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Manifests and indexes are small; an archive claiming otherwise is refused.
const MAX_DEPTH: usize = 4;

/// Imports an archive file into the containerd at `socket`; gives the names of the images it held.
pub async fn import_image(socket: &Path, path: &Path) -> Result<Vec<String>, ImportError> {
    let owned = path.to_owned();
    let archive = tokio::task::spawn_blocking(move || {
        let file = std::fs::File::open(&owned)
            .map_err(|source| ImportError::Read { path: owned.clone(), source })?;
        Archive::read(owned, std::io::BufReader::new(file))
    })
    .await
    .map_err(|error| ImportError::Format { path: path.to_owned(), problem: error.to_string() })??;
    archive.store(socket).await
}

/// Imports an archive held in memory.
pub async fn import_bytes(socket: &Path, name: &str, bytes: &[u8]) -> Result<Vec<String>, ImportError> {
    Archive::read(PathBuf::from(name), bytes)?.store(socket).await
}

/// The runtime's image list follows containerd's store by events: waits until it has them, within bounds. An image
/// that stays unseen (of another platform, say) is no error of the import.
async fn visible(socket: &Path, names: &[String]) {
    let runtime = CriRuntime::new(socket);
    for name in names {
        let seen = async {
            let mut delay = Duration::from_millis(2);
            while !runtime.image(name).await.is_ok_and(|image| image.is_some()) {
                tokio::time::sleep(delay).await;
                delay = (delay * 2).min(Duration::from_millis(50));
            }
        };
        if tokio::time::timeout(Duration::from_secs(2), seen).await.is_err() {
            tracing::warn!(image = name, "imported, but not listed by the runtime");
        }
    }
}

fn sha256(data: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(data) {
        use std::fmt::Write;
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

impl Archive {
    fn read(path: PathBuf, reader: impl Read) -> Result<Archive, ImportError> {
        let read = || -> std::io::Result<HashMap<String, Vec<u8>>> {
            let mut files = HashMap::new();
            let mut links = Vec::new();
            for entry in tar::Archive::new(reader).entries()? {
                let mut entry = entry?;
                let name = entry.path()?.to_string_lossy().trim_start_matches("./").to_owned();
                match entry.header().entry_type() {
                    tar::EntryType::Regular => {
                        let mut data =
                            Vec::with_capacity(usize::try_from(entry.size()).unwrap_or(0).min(1 << 26));
                        entry.read_to_end(&mut data)?;
                        files.insert(name, data);
                    }
                    tar::EntryType::Symlink | tar::EntryType::Link => {
                        if let Some(target) = entry.link_name()? {
                            links.push((name, target.to_string_lossy().trim_start_matches("../").to_owned()));
                        }
                    }
                    _ => {}
                }
            }
            for (name, target) in links {
                if let Some(data) = files.get(&target).cloned() {
                    files.insert(name, data);
                }
            }
            Ok(files)
        };
        let files = read().map_err(|source| ImportError::Read { path: path.clone(), source })?;
        Ok(Archive { path, files })
    }

    fn invalid(&self, problem: impl Into<String>) -> ImportError {
        ImportError::Format { path: self.path.clone(), problem: problem.into() }
    }

    fn json<T: serde::de::DeserializeOwned>(&self, name: &str, data: &[u8]) -> Result<T, ImportError> {
        serde_json::from_slice(data).map_err(|error| self.invalid(format!("{name}: {error}")))
    }

    fn blob(&self, digest: &str) -> Result<&Vec<u8>, ImportError> {
        let path = format!("blobs/{}", digest.replace(':', "/"));
        let data = self.files.get(&path).ok_or_else(|| self.invalid(format!("{path} is missing")))?;
        if sha256(data) != digest {
            return Err(self.invalid(format!("the content of {path} does not match its digest")));
        }
        Ok(data)
    }

    async fn store(&self, socket: &Path) -> Result<Vec<String>, ImportError> {
        let failed = |status: tonic::Status| ImportError::Store {
            socket: socket.to_owned(),
            message: status.message().to_owned(),
        };
        let store = Store::open(socket).await.map_err(failed)?;
        let images = if let Some(index) = self.files.get("index.json") {
            self.oci(&store, index, &failed).await?
        } else if let Some(manifest) = self.files.get("manifest.json") {
            self.docker(&store, manifest, &failed).await?
        } else {
            return Err(self.invalid("neither index.json nor manifest.json is in it"));
        };
        let mut names = Vec::new();
        for (name, target) in images {
            store.put_image(&name, target).await.map_err(failed)?;
            names.push(name);
        }
        store.close().await.map_err(failed)?;
        visible(socket, &names).await;
        if names.is_empty() {
            return Err(self.invalid("no image in it has a name"));
        }
        Ok(names)
    }

    async fn oci(
        &self,
        store: &Store,
        index: &[u8],
        failed: &impl Fn(tonic::Status) -> ImportError,
    ) -> Result<Vec<(String, Descriptor)>, ImportError> {
        let index: JsonManifest = self.json("index.json", index)?;
        let tags = self.docker_tags()?;
        let mut images = Vec::new();
        let only = index.manifests.len() == 1;
        for entry in index.manifests {
            self.write_tree(store, &entry.digest, 0, failed).await?;
            let target =
                Descriptor { media_type: entry.media_type, digest: entry.digest.clone(), size: entry.size };
            let mut names = Vec::new();
            if let Some(name) = entry.annotations.get("io.containerd.image.name") {
                names.push(normalized(name));
            } else if only && !tags.is_empty() {
                names.extend(tags.iter().map(|tag| normalized(tag)));
            } else if let Some(name) = entry.annotations.get("org.opencontainers.image.ref.name") {
                names.push(normalized(name));
            }
            images.extend(names.into_iter().map(|name| (name, target.clone())));
        }
        Ok(images)
    }

    fn docker_tags(&self) -> Result<Vec<String>, ImportError> {
        let Some(manifest) = self.files.get("manifest.json") else { return Ok(Vec::new()) };
        let entries: Vec<DockerEntry> = self.json("manifest.json", manifest)?;
        Ok(entries.into_iter().flat_map(|entry| entry.repo_tags.unwrap_or_default()).collect())
    }

    /// Writes a blob after everything it refers to; platforms that are not in the archive are left out.
    async fn write_tree(
        &self,
        store: &Store,
        digest: &str,
        depth: usize,
        failed: &impl Fn(tonic::Status) -> ImportError,
    ) -> Result<(), ImportError> {
        if depth > MAX_DEPTH {
            return Err(self.invalid("its indexes are nested too deep"));
        }
        let data = self.blob(digest)?;
        let manifest: JsonManifest = self.json(digest, data)?;
        let mut labels = HashMap::new();
        for (number, child) in manifest.manifests.iter().enumerate() {
            let path = format!("blobs/{}", child.digest.replace(':', "/"));
            if self.files.contains_key(&path) {
                Box::pin(self.write_tree(store, &child.digest, depth + 1, failed)).await?;
                labels.insert(format!("containerd.io/gc.ref.content.m.{number}"), child.digest.clone());
            }
        }
        for (number, layer) in manifest.layers.iter().enumerate() {
            self.write(store, &layer.digest, self.blob(&layer.digest)?, HashMap::new(), failed).await?;
            labels.insert(format!("containerd.io/gc.ref.content.l.{number}"), layer.digest.clone());
        }
        if let Some(config) = &manifest.config {
            self.write(store, &config.digest, self.blob(&config.digest)?, HashMap::new(), failed).await?;
            labels.insert("containerd.io/gc.ref.content.config".to_owned(), config.digest.clone());
        }
        self.write(store, digest, data, labels, failed).await
    }

    async fn write(
        &self,
        store: &Store,
        digest: &str,
        data: &[u8],
        labels: HashMap<String, String>,
        failed: &impl Fn(tonic::Status) -> ImportError,
    ) -> Result<(), ImportError> {
        let chunks = data.chunks(CHUNK).map(<[u8]>::to_vec).collect();
        store.write(digest, chunks, labels).await.map_err(failed)
    }

    /// The older format of `docker save`: a manifest is made for what it holds.
    async fn docker(
        &self,
        store: &Store,
        manifest: &[u8],
        failed: &impl Fn(tonic::Status) -> ImportError,
    ) -> Result<Vec<(String, Descriptor)>, ImportError> {
        let entries: Vec<DockerEntry> = self.json("manifest.json", manifest)?;
        let mut images = Vec::new();
        for entry in entries {
            let file =
                |name: &str| self.files.get(name).ok_or_else(|| self.invalid(format!("{name} is missing")));
            let mut labels = HashMap::new();
            let mut layers = Vec::new();
            for (number, name) in entry.layers.iter().enumerate() {
                let data = file(name)?;
                let digest = sha256(data);
                self.write(store, &digest, data, HashMap::new(), failed).await?;
                labels.insert(format!("containerd.io/gc.ref.content.l.{number}"), digest.clone());
                let media_type = if data.starts_with(&[0x1f, 0x8b]) { LAYER_GZIP } else { LAYER };
                layers
                    .push(serde_json::json!({"mediaType": media_type, "digest": digest, "size": data.len()}));
            }
            let config = file(&entry.config)?;
            let config_digest = sha256(config);
            self.write(store, &config_digest, config, HashMap::new(), failed).await?;
            labels.insert("containerd.io/gc.ref.content.config".to_owned(), config_digest.clone());
            let document = serde_json::json!({
                "schemaVersion": 2, "mediaType": MANIFEST, "layers": layers,
                "config": {"mediaType": CONFIG, "digest": config_digest, "size": config.len()},
            })
            .to_string()
            .into_bytes();
            let digest = sha256(&document);
            self.write(store, &digest, &document, labels, failed).await?;
            let target = Descriptor {
                media_type: MANIFEST.to_owned(),
                digest,
                size: i64::try_from(document.len()).unwrap_or_default(),
            };
            for tag in entry.repo_tags.unwrap_or_default() {
                images.push((normalized(&tag), target.clone()));
            }
        }
        Ok(images)
    }
}
