//! Files of one volume that would lie on or below each other (`pkg/api/pod/warnings.go`).

use std::fmt;

use serde_json::Value;

use super::fields::{below, list, set, text};

/// A file, and which source of a projected volume it is from.
struct File<'a> {
    path: &'a str,
    source: String,
}

impl fmt::Display for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.source.is_empty() {
            write!(f, "{:?}", self.path)
        } else {
            write!(f, "{:?} ({})", self.path, self.source)
        }
    }
}

/// What to say of the files of each volume.
pub fn of(volumes: &[Value]) -> Vec<String> {
    let mut all = Vec::new();
    for v in volumes {
        let name = text(v, "name");
        for (source, kind, reference) in
            [("configMap", "ConfigMap", "name"), ("secret", "Secret", "secretName"), ("downwardAPI", "", "")]
        {
            let Some(s) = set(v, source) else { continue };
            let what = match kind {
                "" => "DownwardAPI".to_owned(),
                kind => format!("{kind} {:?}", text(s, reference)),
            };
            told(name, &what, items(s, ""), &mut all);
        }
        if let Some(p) = set(v, "projected") {
            let mut files = Vec::new();
            for source in list(p, "sources") {
                if source.as_object().is_none_or(|s| s.values().all(Value::is_null)) {
                    all.push(format!("volume {name:?} (Projected) has no sources provided"));
                }
                files.extend(projected(source));
            }
            told(name, "Projected", files, &mut all);
        }
    }
    all
}

fn told(volume: &str, what: &str, files: Vec<File<'_>>, all: &mut Vec<String>) {
    for (i, file) in files.iter().enumerate() {
        for other in files[..i].iter().filter(|other| overlap(file, other)) {
            all.push(format!("volume {volume:?} ({what}): overlapping paths: {file} with {other}"));
        }
    }
}

fn overlap(a: &File<'_>, b: &File<'_>) -> bool {
    let below =
        |a: &str, b: &str| a.strip_prefix(b).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    !a.path.is_empty() && !b.path.is_empty() && (below(a.path, b.path) || below(b.path, a.path))
}

fn file<'a>(path: &'a str, source: &str) -> File<'a> {
    File { path: path.trim_end_matches('/'), source: source.to_owned() }
}

fn items<'a>(source: &'a Value, from: &str) -> Vec<File<'a>> {
    list(source, "items").iter().map(|item| file(text(item, "path"), from)).collect()
}

fn projected(source: &Value) -> Vec<File<'_>> {
    let named = |kind: &str, s: &Value| format!("{kind} {:?}", text(s, "name"));
    if let Some(s) = set(source, "configMap") {
        items(s, &named("ConfigMap", s))
    } else if let Some(s) = set(source, "secret") {
        items(s, &named("Secret", s))
    } else if let Some(s) = set(source, "downwardAPI") {
        items(s, "DownwardAPI")
    } else if let Some(s) = set(source, "serviceAccountToken") {
        vec![file(text(s, "path"), "ServiceAccountToken")]
    } else if let Some(s) = set(source, "clusterTrustBundle") {
        let name = if set(s, "name").is_some() { text(s, "name") } else { text(s, "signerName") };
        vec![file(text(s, "path"), &format!("ClusterTrustBundle {name:?}"))]
    } else {
        let s = below(source, "podCertificate");
        [
            ("credentialBundlePath", "PodCertificate credential bundle"),
            ("keyPath", "PodCertificate key"),
            ("certificateChainPath", "PodCertificate chain"),
        ]
        .iter()
        .filter(|(field, _)| !text(s, field).is_empty())
        .map(|(field, what)| file(text(s, field), what))
        .collect()
    }
}
