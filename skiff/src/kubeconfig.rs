//! Kubeconfig files: written for components and the administrator, merged into the user's own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use base64::Engine;
use serde_json::{Map, Value, json};

use crate::paths::write_private;
use crate::pki::{self, Pki};

/// The name of our context, cluster and user.
pub const CONTEXT: &str = "skiff";

/// A kubeconfig for the holder of a certificate.
pub fn make(pki: &Pki, certificate: &str, server: &str) -> Result<Value> {
    let encode = |path: PathBuf| -> Result<String> {
        Ok(base64::engine::general_purpose::STANDARD.encode(pki::read(&path)?))
    };
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": CONTEXT, "cluster": {"server": server, "certificate-authority-data": encode(pki.ca())?}}],
        "users": [{"name": CONTEXT, "user": {
            "client-certificate-data": encode(pki.cert(certificate))?,
            "client-key-data": encode(pki.key(certificate))?}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}],
        "current-context": CONTEXT,
    }))
}

/// Writes a kubeconfig.
pub fn write(path: &Path, config: &Value) -> Result<()> {
    let text = serde_saphyr::to_string(config).context("encoding a kubeconfig")?;
    write_private(path, text.as_bytes()).with_context(|| format!("writing {}", path.display()))
}

/// The user's kubeconfig: the first file of `KUBECONFIG`, or `~/.kube/config`.
pub fn user_file() -> Option<PathBuf> {
    if let Some(list) = std::env::var_os("KUBECONFIG")
        && let Some(first) = std::env::split_paths(&list).find(|p| !p.as_os_str().is_empty())
    {
        return Some(first);
    }
    Some(PathBuf::from(std::env::var_os("HOME")?).join(".kube/config"))
}

/// What merging has done.
#[derive(Debug, PartialEq, Eq)]
pub enum Merged {
    /// Our context is the current one.
    Current,
    /// Another context is and stays the current one.
    Beside(String),
}

/// Puts our entries into a kubeconfig and leaves everything else as it is.
pub fn merge(path: &Path, ours: &Value) -> Result<Merged> {
    let mut config = read(path)?;
    for list in ["clusters", "users", "contexts"] {
        let entries = entries(&mut config, list, path)?;
        entries.retain(|e| e.get("name").and_then(Value::as_str) != Some(CONTEXT));
        entries.extend(ours.get(list).and_then(Value::as_array).into_iter().flatten().cloned());
    }
    let current = config.get("current-context").and_then(Value::as_str).unwrap_or("").to_owned();
    let merged = if current.is_empty() || current == CONTEXT {
        config.insert("current-context".into(), CONTEXT.into());
        Merged::Current
    } else {
        Merged::Beside(current)
    };
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).with_context(|| format!("making {}", dir.display()))?;
    }
    write(path, &Value::Object(config))?;
    Ok(merged)
}

/// Takes our entries out again, unless they lead to another cluster than `ours`.
pub fn remove(path: &Path, ours: &Value) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let mut config = read(path)?;
    if authority(&Value::Object(config.clone())) != authority(ours) {
        return Ok(());
    }
    for list in ["clusters", "users", "contexts"] {
        entries(&mut config, list, path)?.retain(|e| e.get("name").and_then(Value::as_str) != Some(CONTEXT));
    }
    if config.get("current-context").and_then(Value::as_str) == Some(CONTEXT) {
        config.insert("current-context".into(), "".into());
    }
    write(path, &Value::Object(config))
}

/// The CA that our entry of a kubeconfig trusts: what tells one cluster from another.
fn authority(config: &Value) -> Option<String> {
    let clusters = config.get("clusters")?.as_array()?;
    let ours = clusters.iter().find(|c| c.get("name").and_then(Value::as_str) == Some(CONTEXT))?;
    ours.get("cluster")?.get("certificate-authority-data")?.as_str().map(str::to_owned)
}

fn read(path: &Path) -> Result<Map<String, Value>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => return Err(e).with_context(|| format!("reading {}", path.display())),
    };
    if text.trim().is_empty() {
        let fresh = json!({"apiVersion": "v1", "kind": "Config", "preferences": {}});
        return Ok(fresh.as_object().cloned().unwrap_or_default());
    }
    match serde_saphyr::from_str::<Value>(&text) {
        Ok(Value::Object(map)) => Ok(map),
        Ok(_) => bail!("{} is no kubeconfig; move it away or give --no-kubeconfig", path.display()),
        Err(e) => bail!("{} cannot be read ({e}); mend it or give --no-kubeconfig", path.display()),
    }
}

fn entries<'a>(config: &'a mut Map<String, Value>, list: &str, path: &Path) -> Result<&'a mut Vec<Value>> {
    let slot = config.entry(list).or_insert_with(|| json!([]));
    if slot.is_null() {
        *slot = json!([]);
    }
    match slot {
        Value::Array(a) => Ok(a),
        _ => bail!("{}: {list} is no list; mend it or give --no-kubeconfig", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours() -> Value {
        json!({"clusters": [{"name": "skiff", "cluster": {"server": "https://127.0.0.1:6443"}}],
            "users": [{"name": "skiff", "user": {}}],
            "contexts": [{"name": "skiff", "context": {"cluster": "skiff", "user": "skiff"}}]})
    }

    #[test]
    fn other_contexts_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/config");
        assert_eq!(merge(&path, &ours()).unwrap(), Merged::Current);
        let other = "apiVersion: v1\nkind: Config\nclusters:\n- name: prod\n  cluster: {server: 'https://prod'}\nusers: null\ncontexts:\n- name: prod\n  context: {cluster: prod, user: me, namespace: \"1e3\"}\ncurrent-context: prod\n";
        std::fs::write(&path, other).unwrap();
        assert_eq!(merge(&path, &ours()).unwrap(), Merged::Beside("prod".into()));
        assert_eq!(merge(&path, &ours()).unwrap(), Merged::Beside("prod".into()));
        let after = read(&path).unwrap();
        assert_eq!(after["contexts"].as_array().unwrap().len(), 2);
        assert_eq!(after["contexts"][0]["context"]["namespace"], "1e3");
        assert_eq!(after["current-context"], "prod");
        let mut foreign = ours();
        foreign["clusters"][0]["cluster"]["certificate-authority-data"] = "other".into();
        remove(&path, &foreign).unwrap();
        assert_eq!(read(&path).unwrap()["clusters"].as_array().unwrap().len(), 2);
        remove(&path, &ours()).unwrap();
        let after = read(&path).unwrap();
        assert_eq!(after["clusters"], json!([{"name": "prod", "cluster": {"server": "https://prod"}}]));
    }

    #[test]
    fn what_is_no_kubeconfig_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        std::fs::write(&path, "just text").unwrap();
        assert!(merge(&path, &ours()).unwrap_err().to_string().contains("--no-kubeconfig"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "just text");
    }
}
