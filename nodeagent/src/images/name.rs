//! Image names: the default tag, and which names are none.

/// The image with `:latest` where it has neither tag nor digest; `Err` for a name that cannot be one.
pub fn with_default_tag(image: &str) -> Result<String, String> {
    let invalid = || format!("couldn't parse image name \"{image}\": invalid reference format");
    let (rest, digest) = match image.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (image, None),
    };
    if let Some(digest) = digest {
        let (algorithm, hex) = digest.split_once(':').ok_or_else(invalid)?;
        if algorithm.is_empty() || hex.len() < 32 || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(invalid());
        }
    }
    // A colon after the last slash starts the tag; one before it belongs to the registry's port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    if tag.is_some_and(|tag| !valid_tag(tag)) {
        return Err(invalid());
    }
    let (domain, path) = match name.split_once('/') {
        Some((first, path)) if first.contains(['.', ':']) || first == "localhost" => (Some(first), path),
        _ => (None, name),
    };
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) && path.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(format!(
            "couldn't parse image name \"{image}\": invalid reference format: repository name ({path}) must be lowercase"
        ));
    }
    if !domain.is_none_or(valid_domain) || !path.split('/').all(valid_component) {
        return Err(invalid());
    }
    Ok(if tag.is_none() && digest.is_none() { format!("{image}:latest") } else { image.to_owned() })
}

fn valid_tag(tag: &str) -> bool {
    let mut bytes = tag.bytes();
    tag.len() <= 128
        && bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

fn valid_domain(domain: &str) -> bool {
    let (host, port) = domain.split_once(':').map_or((domain, "0"), |(host, port)| (host, port));
    !host.is_empty()
        && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
        && port.parse::<u16>().is_ok()
}

fn valid_component(part: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(part.bytes().next())
        && edge(part.bytes().last())
        && part
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
}

/// The name the runtime stores an image under: registry and `library/` added as Docker does.
pub fn normalized(image: &str) -> String {
    let image = with_default_tag(image).unwrap_or_else(|_| image.to_owned());
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => image,
        Some(_) => format!("docker.io/{image}"),
        None => format!("docker.io/library/{image}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_tag_is_latest() {
        for (image, want) in [
            ("busybox", "busybox:latest"),
            ("busybox:1", "busybox:1"),
            ("localhost:5000/a/b", "localhost:5000/a/b:latest"),
            ("a.b/c:1.2-x_y", "a.b/c:1.2-x_y"),
        ] {
            assert_eq!(with_default_tag(image).unwrap(), want);
        }
        let digest = format!("a/b@sha256:{}", "0".repeat(64));
        assert_eq!(with_default_tag(&digest).unwrap(), digest);
    }

    #[test]
    fn what_cannot_be_a_name_is_refused() {
        for image in ["", "Busybox", "a b", "a:", "a//b", "a:tag:tag", "-a", "a@sha256:xyz"] {
            assert!(with_default_tag(image).is_err(), "{image}");
        }
    }

    #[test]
    fn short_names_get_a_registry() {
        assert_eq!(normalized("busybox"), "docker.io/library/busybox:latest");
        assert_eq!(normalized("skiff/hello:1"), "docker.io/skiff/hello:1");
        assert_eq!(normalized("skiff.local/hello:1"), "skiff.local/hello:1");
    }
}
