//! What form the client wants its answer in: `Accept`.

use api_types::status::Status;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Form {
    /// The object itself.
    #[default]
    Object,
    /// Rows for people (`as=Table`).
    Table,
    /// Metadata only (`as=PartialObjectMetadata` and its list).
    Metadata,
}

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Encoding {
    /// JSON.
    #[default]
    Json,
    /// YAML.
    Yaml,
}

/// One media range of an `Accept` header.
struct Range<'a> {
    media: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
}

fn ranges(accept: &str) -> Vec<Range<'_>> {
    let mut all: Vec<(f32, Range<'_>)> = accept
        .split(',')
        .filter_map(|part| {
            let mut words = part.split(';').map(str::trim);
            let media = words.next().filter(|m| !m.is_empty())?;
            let parameters: Vec<(&str, &str)> = words.filter_map(|w| w.split_once('=')).collect();
            let q =
                parameters.iter().find(|(k, _)| *k == "q").and_then(|(_, v)| v.parse().ok()).unwrap_or(1.0);
            Some((q, Range { media, parameters }))
        })
        .collect();
    // A stable sort keeps the client's order among equals.
    all.sort_by(|a, b| b.0.total_cmp(&a.0));
    all.into_iter().map(|(_, r)| r).collect()
}

impl Range<'_> {
    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(k, _)| *k == name).map(|(_, v)| *v)
    }

    fn is_json(&self) -> bool {
        self.encoding() == Some(Encoding::Json)
    }

    fn encoding(&self) -> Option<Encoding> {
        match self.media {
            "application/json" | "*/*" | "application/*" => Some(Encoding::Json),
            "application/yaml" => Some(Encoding::Yaml),
            _ => None,
        }
    }
}

/// Media types that can be answered with.
pub const ACCEPTED: [&str; 2] = ["application/json", "application/yaml"];
/// Media types in which changes can be streamed.
pub const STREAMED: [&str; 1] = ["application/json"];

/// The form and encoding asked for; 406 when none of those offered can be made.
pub fn negotiate(accept: Option<&str>) -> Result<(Form, Encoding), Status> {
    let Some(accept) = accept.filter(|a| !a.trim().is_empty()) else { return Ok(Default::default()) };
    for r in ranges(accept) {
        let Some(encoding) = r.encoding() else { continue };
        match (r.parameter("as"), r.parameter("g"), r.parameter("v")) {
            (None, _, _) => return Ok((Form::Object, encoding)),
            (Some("Table"), Some("meta.k8s.io"), Some("v1" | "v1beta1")) => {
                return Ok((Form::Table, encoding));
            }
            (
                Some("PartialObjectMetadata" | "PartialObjectMetadataList"),
                Some("meta.k8s.io"),
                Some("v1" | "v1beta1"),
            ) => return Ok((Form::Metadata, encoding)),
            _ => {}
        }
    }
    Err(Status::not_acceptable(&ACCEPTED))
}

/// The encoding asked for, where there is one.
pub fn encoding(accept: Option<&str>) -> Encoding {
    negotiate(accept).map(|(_, encoding)| encoding).unwrap_or_default()
}

/// Whether aggregated discovery is preferred.
pub fn wants_aggregated_discovery(accept: Option<&str>) -> bool {
    for r in ranges(accept.unwrap_or("")) {
        if r.parameter("as") == Some("APIGroupDiscoveryList") {
            if r.is_json()
                && r.parameter("g") == Some("apidiscovery.k8s.io")
                && r.parameter("v") == Some("v2")
            {
                return true;
            }
            continue;
        }
        if r.is_json() {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let form = |accept| negotiate(accept).map(|(form, _)| form);
        assert_eq!(negotiate(Some("application/yaml")), Ok((Form::Object, Encoding::Yaml)));
        assert_eq!(negotiate(Some("application/yaml;q=0.5,*/*")), Ok((Form::Object, Encoding::Json)));
        assert_eq!(form(None), Ok(Form::Object));
        assert_eq!(form(Some("application/json")), Ok(Form::Object));
        assert_eq!(
            form(Some(
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
            )),
            Ok(Form::Table)
        );
        assert_eq!(
            form(Some(
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
            )),
            Ok(Form::Metadata)
        );
        assert_eq!(form(Some("application/vnd.kubernetes.protobuf,application/json")), Ok(Form::Object));
        assert_eq!(form(Some("text/html")).unwrap_err().code, 406);
    }

    #[test]
    fn discovery() {
        assert!(wants_aggregated_discovery(Some(
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
        )));
        assert!(!wants_aggregated_discovery(Some("application/json")));
        assert!(!wants_aggregated_discovery(None));
    }
}
