//! The version objects of a resource are stored in, and what is done with those that are stored in an older one:
//! upstream's API server may have written them.

use std::borrow::Cow;

use api_types::catalog::{self, Kind};
use bytes::Bytes;
use serde_json::Value;

/// The form of a resource's stored objects.
#[derive(Debug)]
pub struct StoredForm {
    kind: Option<&'static Kind>,
    /// How an object in the current version begins: as this server writes it, and as upstream does.
    heads: [Box<[u8]>; 2],
}

impl StoredForm {
    /// Of the resource with this storage prefix; resources that are in no catalog are left as they are.
    pub fn of(prefix: &str) -> Self {
        let place = prefix.strip_prefix("/registry/").unwrap_or(prefix).trim_end_matches('/');
        let kind = catalog::by_storage(place);
        let heads = match kind {
            Some(k) => [
                format!("{{\"apiVersion\":\"{}\",", k.stored_version).into_bytes().into(),
                format!("{{\"kind\":\"{}\",\"apiVersion\":\"{}\",", k.kind, k.stored_version)
                    .into_bytes()
                    .into(),
            ],
            None => [Box::default(), Box::default()],
        };
        Self { kind, heads }
    }

    /// The object in the current version: mostly as it is, which its first bytes tell.
    pub fn current<'a>(&self, value: &'a Bytes) -> Result<Cow<'a, Bytes>, serde_json::Error> {
        let Some(kind) = self.kind else { return Ok(Cow::Borrowed(value)) };
        if self.heads.iter().any(|h| value.starts_with(h)) {
            return Ok(Cow::Borrowed(value));
        }
        let mut object: Value = serde_json::from_slice(value)?;
        if !catalog::older::upgrade(kind, &mut object) {
            return Ok(Cow::Borrowed(value));
        }
        Ok(Cow::Owned(serde_json::to_vec(&object)?.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_older_versions_are_touched() {
        let form = StoredForm::of("/registry/cronjobs/");
        for text in [
            r#"{"apiVersion":"batch/v1","kind":"CronJob"}"#,
            r#"{"kind":"CronJob","apiVersion":"batch/v1","metadata":{}}"#,
            r#"{"metadata":{},"kind":"CronJob","apiVersion":"batch/v1"}"#,
        ] {
            let bytes = Bytes::from(text);
            assert!(matches!(form.current(&bytes).unwrap(), Cow::Borrowed(_)), "{text}");
        }
        let bytes = Bytes::from(r#"{"kind":"CronJob","apiVersion":"batch/v1beta1","metadata":{}}"#);
        let now: Value = serde_json::from_slice(&form.current(&bytes).unwrap()).unwrap();
        assert_eq!(now["apiVersion"], "batch/v1");
        let unknown = StoredForm::of("/registry/boats/");
        let bytes = Bytes::from("{}");
        assert!(matches!(unknown.current(&bytes).unwrap(), Cow::Borrowed(_)));
    }
}
