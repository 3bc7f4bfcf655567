//! Leaves the machine's network as it was found: our bridge, our tables, host-local's leases, what the CNI library has
//! written down.

use std::path::Path;

use serde_json::Value;

/// Where the CNI library keeps what plugins have answered, whoever uses it.
const RESULTS: &str = "/var/lib/cni/results";

/// Removes the bridge and the masquerade table, and what is written down of network namespaces below `state`.
pub async fn remove(bridge: &str, cni_data: &Path, state: &Path) {
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
    forget_results(Path::new(RESULTS), state);
    // Only what is left empty is ours to take.
    for dir in [RESULTS, "/var/lib/cni"] {
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

/// Removes what plugins have answered for pods that were never taken apart.
fn forget_results(dir: &Path, state: &Path) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let text = std::fs::read(&path).unwrap_or_default();
        let result = serde_json::from_slice::<Value>(&text).unwrap_or_default();
        let interfaces = result.pointer("/result/interfaces").and_then(Value::as_array).into_iter().flatten();
        let mut namespaces = interfaces.filter_map(|interface| interface.get("sandbox")?.as_str());
        if !namespaces.any(|namespace| Path::new(namespace).starts_with(state)) {
            continue;
        }
        if let Err(error) = std::fs::remove_file(&path) {
            tracing::warn!(%error, path = %path.display(), "not removed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_results_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let of = |sandbox: &str| {
            format!(r#"{{"result":{{"interfaces":[{{"name":"b"}},{{"sandbox":"{sandbox}"}}]}}}}"#)
        };
        write("ours", &of("/r/containerd/io.containerd.grpc.v1.cri/netns/cni-1"));
        write("lo", &of("/r/containerd/netns/cni-2"));
        write("others", &of("/var/run/netns/cni-3"));
        write("alike", &of("/r/containerd2/netns/cni-4"));
        write("broken", "{");
        forget_results(dir.path(), Path::new("/r/containerd"));
        let left =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["alike", "broken", "others"]);
    }
}
