//! The CNI configuration: a bridge with host-local addresses out of the node's pod CIDR.
//! Host ports are not the plugins' business: see [`super::host_ports`].
//!
//! Written as soon as the pod CIDR is known; the runtime notices the file by itself.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;

/// What the configuration is made from.
#[derive(Debug, Clone)]
pub struct CniConfig {
    /// Directory of the configuration file.
    pub conf_dir: PathBuf,
    /// Where host-local keeps its leases.
    pub data_dir: PathBuf,
    /// Bridge.
    pub bridge: String,
    /// Addresses of pods on this node.
    pub pod_cidr: String,
    /// MTU; 0 leaves it to the plugin.
    pub mtu: u32,
}

const FILE: &str = "10-skiff.conflist";

impl CniConfig {
    fn render(&self) -> String {
        let mut bridge = json!({
            "type": "bridge",
            "bridge": self.bridge,
            "isGateway": true,
            // Translation is one nftables rule of ours instead of an iptables chain per pod.
            "ipMasq": false,
            "hairpinMode": true,
            "ipam": {
                "type": "host-local",
                "dataDir": self.data_dir.display().to_string(),
                "ranges": [[{ "subnet": self.pod_cidr }]],
                "routes": [{ "dst": "0.0.0.0/0" }],
            },
        });
        if self.mtu > 0 {
            bridge["mtu"] = json!(self.mtu);
        }
        json!({ "cniVersion": "0.4.0", "name": "skiff", "plugins": [bridge] }).to_string()
    }

    /// Writes the configuration, atomically; an unchanged one is left alone.
    pub fn write(&self) -> io::Result<()> {
        let path = self.conf_dir.join(FILE);
        let text = self.render();
        if std::fs::read_to_string(&path).is_ok_and(|old| old == text) {
            return Ok(());
        }
        std::fs::create_dir_all(&self.conf_dir)?;
        std::fs::create_dir_all(&self.data_dir)?;
        let temporary = self.conf_dir.join(".10-skiff.tmp");
        std::fs::write(&temporary, text)?;
        std::fs::rename(&temporary, &path)
    }
}

/// Lets the kernel forward between pods, and bridged traffic be seen by the packet filter where it can.
pub fn enable_forwarding() {
    let sysctls = [
        ("/proc/sys/net/ipv4/ip_forward", true),
        ("/proc/sys/net/bridge/bridge-nf-call-iptables", false),
        ("/proc/sys/net/ipv6/conf/all/forwarding", false),
    ];
    for (path, required) in sysctls {
        let path = Path::new(path);
        if !path.exists() || std::fs::read_to_string(path).is_ok_and(|value| value.trim() == "1") {
            continue;
        }
        match std::fs::write(path, "1") {
            Ok(()) => {}
            Err(error) if required => tracing::warn!(%error, path = %path.display(), "sysctl not set"),
            Err(error) => tracing::debug!(%error, path = %path.display(), "sysctl not set"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_valid_and_written_once() {
        let dir = tempfile::tempdir().unwrap();
        let config = CniConfig {
            conf_dir: dir.path().join("net.d"),
            data_dir: dir.path().join("ipam"),
            bridge: "skiff0".into(),
            pod_cidr: "10.244.0.0/24".into(),
            mtu: 0,
        };
        config.write().unwrap();
        let path = config.conf_dir.join(FILE);
        let value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["plugins"][0]["ipam"]["ranges"][0][0]["subnet"], "10.244.0.0/24");
        config.write().unwrap();
    }
}
