//! Builds an OCI image archive (layout, index, manifest, configuration, one layer) from a list of files.

use std::io;

use serde_json::json;
use sha2::{Digest, Sha256};

/// One entry of the image's file system.
#[derive(Debug, Clone)]
pub struct File {
    /// Path below the root, without a leading slash.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// What it is.
    pub content: Content,
}

/// Content of an entry.
#[derive(Debug, Clone)]
pub enum Content {
    /// A regular file.
    Data(Vec<u8>),
    /// A directory.
    Directory,
    /// A symbolic link to this target.
    Symlink(String),
}

impl File {
    /// An executable file.
    pub fn executable(path: &str, data: Vec<u8>) -> File {
        File { path: path.to_owned(), mode: 0o755, content: Content::Data(data) }
    }

    /// A plain file.
    pub fn plain(path: &str, data: Vec<u8>) -> File {
        File { path: path.to_owned(), mode: 0o644, content: Content::Data(data) }
    }

    /// A directory.
    pub fn directory(path: &str, mode: u32) -> File {
        File { path: path.to_owned(), mode, content: Content::Directory }
    }

    /// A symbolic link.
    pub fn symlink(path: &str, target: &str) -> File {
        File { path: path.to_owned(), mode: 0o777, content: Content::Symlink(target.to_owned()) }
    }
}

/// An image to build.
#[derive(Debug, Clone, Default)]
pub struct Image {
    /// Full name with tag, such as `skiff.local/pause:0.1.0`.
    pub name: String,
    /// File system; parents of an entry come before it.
    pub files: Vec<File>,
    /// Entry point.
    pub entrypoint: Vec<String>,
    /// Default arguments.
    pub cmd: Vec<String>,
    /// Environment as `NAME=value`.
    pub env: Vec<String>,
    /// Working directory; empty for `/`.
    pub working_dir: String,
    /// User; empty for root.
    pub user: String,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Ports, as `8080/tcp`.
    pub ports: Vec<String>,
}

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The name of this machine's architecture in an image.
pub fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn digest(data: &[u8]) -> String {
    Sha256::digest(data).iter().fold(String::with_capacity(64), |mut text, byte| {
        use std::fmt::Write;
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn append(builder: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, data: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(data.len() as u64);
    header.set_mode(mode);
    header.set_entry_type(tar::EntryType::Regular);
    builder.append_data(&mut header, path, data)
}

fn layer(files: &[File]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for file in files {
        match &file.content {
            Content::Data(data) => append(&mut builder, &file.path, file.mode, data)?,
            Content::Directory => {
                let mut header = tar::Header::new_ustar();
                header.set_size(0);
                header.set_mode(file.mode);
                header.set_entry_type(tar::EntryType::Directory);
                builder.append_data(&mut header, format!("{}/", file.path), io::empty())?;
            }
            Content::Symlink(target) => {
                let mut header = tar::Header::new_ustar();
                header.set_size(0);
                header.set_mode(file.mode);
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, &file.path, target)?;
            }
        }
    }
    builder.into_inner()
}

impl Image {
    /// The archive, as `ctr images import`, `docker load` and [`super::import_image`] take it. The same input
    /// gives the same bytes.
    pub fn to_archive(&self) -> io::Result<Vec<u8>> {
        let layer = layer(&self.files)?;
        let layer_digest = digest(&layer);
        let ports: serde_json::Map<_, _> = self.ports.iter().map(|port| (port.clone(), json!({}))).collect();
        let labels: serde_json::Map<_, _> =
            self.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
        let config = serde_json::to_vec(&json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint, "Cmd": self.cmd, "Env": self.env, "User": self.user,
                "WorkingDir": self.working_dir, "Labels": labels, "ExposedPorts": ports,
            },
            "rootfs": { "type": "layers", "diff_ids": [format!("sha256:{layer_digest}")] },
        }))?;
        let config_digest = digest(&config);
        let manifest = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {
                "mediaType": CONFIG, "digest": format!("sha256:{config_digest}"), "size": config.len(),
            },
            "layers": [{
                "mediaType": LAYER, "digest": format!("sha256:{layer_digest}"), "size": layer.len(),
            }],
        }))?;
        let manifest_digest = digest(&manifest);
        let tag = self.name.rsplit_once(':').map_or("latest", |(_, tag)| tag);
        let index = serde_json::to_vec(&json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [{
                "mediaType": MANIFEST, "digest": format!("sha256:{manifest_digest}"), "size": manifest.len(),
                "platform": { "architecture": architecture(), "os": "linux" },
                "annotations": {
                    "io.containerd.image.name": self.name,
                    "org.opencontainers.image.ref.name": tag,
                },
            }],
        }))?;
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        append(&mut archive, "index.json", 0o644, &index)?;
        for (digest, data) in [(manifest_digest, manifest), (config_digest, config), (layer_digest, layer)] {
            append(&mut archive, &format!("blobs/sha256/{digest}"), 0o644, &data)?;
        }
        archive.into_inner()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archive_holds_every_blob_under_its_digest() {
        let image = Image {
            name: "skiff.local/test:1".into(),
            files: vec![File::directory("bin", 0o755), File::executable("bin/a", b"x".to_vec())],
            ..Image::default()
        };
        let bytes = image.to_archive().unwrap();
        assert_eq!(bytes, image.to_archive().unwrap());
        let mut blobs = 0;
        for entry in tar::Archive::new(bytes.as_slice()).entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            if let Some(name) = path.strip_prefix("blobs/sha256/") {
                let mut data = Vec::new();
                io::copy(&mut entry, &mut data).unwrap();
                assert_eq!(digest(&data), name);
                blobs += 1;
            }
        }
        assert_eq!(blobs, 3);
    }
}
