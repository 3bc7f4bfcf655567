//! hostPath: a path of the machine, checked or made as its type says.

use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::{MountedVolume, SetUp, VolumePlugin};

/// The plugin.
#[derive(Debug)]
pub struct HostPath;

#[async_trait]
impl VolumePlugin for HostPath {
    fn name(&self) -> &'static str {
        "host-path"
    }

    fn supports(&self, volume: &Volume) -> bool {
        volume.host_path.is_some()
    }

    async fn set_up(&self, set_up: SetUp<'_>) -> Result<MountedVolume, String> {
        let source = set_up.volume.host_path.clone().unwrap_or_default();
        let path = Path::new(&source.path);
        check(path, source.type_.as_deref().unwrap_or_default())?;
        Ok(MountedVolume { path: path.to_owned(), read_only: false })
    }
}

fn check(path: &Path, type_: &str) -> Result<(), String> {
    let shown = path.display();
    let kind = std::fs::metadata(path).ok().map(|meta| meta.file_type());
    let failed = |what: &str| Err(format!("hostPath type check failed: {shown} is not {what}"));
    let io = |result: std::io::Result<()>| result.map_err(|error| format!("{shown}: {error}"));
    match (type_, kind) {
        ("", _) => Ok(()),
        ("DirectoryOrCreate", None) => io(std::fs::create_dir_all(path)
            .and_then(|()| std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)))),
        ("FileOrCreate", None) => io(std::fs::File::create_new(path).map(drop)),
        ("Directory" | "DirectoryOrCreate", Some(kind)) if kind.is_dir() => Ok(()),
        ("File" | "FileOrCreate", Some(kind)) if kind.is_file() => Ok(()),
        ("Socket", Some(kind)) if kind.is_socket() => Ok(()),
        ("CharDevice", Some(kind)) if kind.is_char_device() => Ok(()),
        ("BlockDevice", Some(kind)) if kind.is_block_device() => Ok(()),
        ("Directory" | "DirectoryOrCreate", _) => failed("a directory"),
        ("File" | "FileOrCreate", _) => failed("a file"),
        ("Socket", _) => failed("a socket file"),
        ("CharDevice", _) => failed("a character device"),
        ("BlockDevice", _) => failed("a block device"),
        (other, _) => Err(format!("{other} is an invalid volume type")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types() {
        let dir = tempfile::tempdir().unwrap();
        let made = dir.path().join("made");
        assert!(check(&made, "Directory").unwrap_err().contains("is not a directory"));
        check(&made, "DirectoryOrCreate").unwrap();
        check(&made, "Directory").unwrap();
        assert!(check(&made, "File").is_err());
        check(&dir.path().join("file"), "FileOrCreate").unwrap();
    }
}
