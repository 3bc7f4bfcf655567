//! Leaves the machine's network as it was found: our bridge, our tables, host-local's leases.

use std::path::Path;

/// Removes the bridge and the masquerade table.
pub async fn remove(bridge: &str, cni_data: &Path) {
    if Path::new("/sys/class/net").join(bridge).exists() {
        let output = tokio::process::Command::new("ip").args(["link", "delete", bridge]).output().await;
        match output {
            Ok(output) if output.status.success() => {}
            Ok(output) => {
                let error = String::from_utf8_lossy(&output.stderr).trim().to_owned();
                tracing::warn!(error, bridge, "bridge not removed");
            }
            Err(error) => tracing::warn!(%error, bridge, "cannot run ip to remove the bridge"),
        }
    }
    if let Err(error) = super::masquerade::remove(bridge).await {
        tracing::warn!(%error, "masquerade table not removed");
    }
    // The CNI library's cache; only what it left empty is ours to take.
    for dir in ["/var/lib/cni/results", "/var/lib/cni"] {
        match std::fs::remove_dir(dir) {
            Ok(()) => {}
            Err(error) => tracing::trace!(%error, dir, "kept"),
        }
    }
    match std::fs::remove_dir_all(cni_data) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, dir = %cni_data.display(), "address leases not removed"),
    }
}
