//! Where things are.

use std::path::{Path, PathBuf};

use crate::cli::DataDir;

/// The layout of the data and run directories.
#[derive(Clone, Debug)]
pub struct Paths {
    /// Everything durable.
    pub data: PathBuf,
    /// What does not outlive a boot.
    pub run: PathBuf,
}

impl From<&DataDir> for Paths {
    fn from(d: &DataDir) -> Self {
        Self { data: d.data_dir.clone(), run: d.run_dir.clone() }
    }
}

impl Paths {
    /// Certificates and keys.
    pub fn pki(&self) -> PathBuf {
        self.data.join("pki")
    }
    /// The embedded store.
    pub fn store(&self) -> PathBuf {
        self.data.join("store")
    }
    /// The administrator's kubeconfig.
    pub fn admin_kubeconfig(&self) -> PathBuf {
        self.data.join("admin.kubeconfig")
    }
    /// A component's kubeconfig.
    pub fn kubeconfig(&self, component: &str) -> PathBuf {
        self.data.join(format!("{component}.kubeconfig"))
    }
    /// The log of the detached process.
    pub fn log(&self) -> PathBuf {
        self.data.join("skiff.log")
    }
    /// Held by the process that runs on this data.
    pub fn lock(&self) -> PathBuf {
        self.data.join("lock")
    }
}

/// Makes a directory that only root may read.
pub fn private_dir(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
}

/// Writes a file at once or not at all; only its owner may read it.
pub fn write_private(path: &Path, contents: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::PermissionsExt;
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file =
        tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o600)).tempfile_in(dir)?;
    file.write_all(contents)?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    Ok(())
}
