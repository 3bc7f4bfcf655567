//! The form objects of a resource are stored in, and what is done with those that have another: upstream's API server
//! may have written them in an older version, or another program in another order.

use std::borrow::Cow;

use api_types::catalog::{self, Kind};
use api_types::schema::{Table, zero};
use bytes::Bytes;
use serde_json::Value;

/// The form of a resource's stored objects.
#[derive(Debug)]
pub struct StoredForm {
    kind: Option<&'static Kind>,
    /// How an object in the current version begins, as upstream and this server write it.
    head: Box<[u8]>,
}

impl StoredForm {
    /// Of the resource with this storage prefix; resources that are in no catalog are left as they are.
    pub fn of(prefix: &str) -> Self {
        let place = prefix.strip_prefix("/registry/").unwrap_or(prefix).trim_end_matches('/');
        let kind = catalog::by_storage(place);
        let head = kind.map(|k| zero::head(k.kind, k.stored_version).into_bytes().into()).unwrap_or_default();
        Self { kind, head }
    }

    /// The object in the current version: mostly as it is, which its first bytes tell.
    pub fn current<'a>(&self, value: &'a Bytes) -> Result<Cow<'a, Bytes>, serde_json::Error> {
        let Some(kind) = self.kind else { return Ok(Cow::Borrowed(value)) };
        if value.starts_with(&self.head) {
            return Ok(Cow::Borrowed(value));
        }
        let mut object: Value = serde_json::from_slice(value)?;
        catalog::older::upgrade(kind, &mut object);
        if let Some(id) = kind.type_id() {
            zero::complete(&mut object, id, Table::builtin());
        }
        Ok(Cow::Owned(zero::Written(&object).to_bytes().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_otherwise_is_brought_to_the_form() {
        let form = StoredForm::of("/registry/cronjobs/");
        let bytes = Bytes::from(r#"{"kind":"CronJob","apiVersion":"batch/v1","metadata":{}}"#);
        assert!(matches!(form.current(&bytes).unwrap(), Cow::Borrowed(_)));
        for text in [
            r#"{"kind":"CronJob","apiVersion":"batch/v1beta1","metadata":{}}"#,
            r#"{"apiVersion":"batch/v1","kind":"CronJob"}"#,
            r#"{"metadata":{},"kind":"CronJob","apiVersion":"batch/v1"}"#,
        ] {
            let now = form.current(&Bytes::from(text)).unwrap().into_owned();
            assert!(
                now.starts_with(br#"{"kind":"CronJob","apiVersion":"batch/v1","metadata":{},"spec":"#),
                "{text}"
            );
        }
        let unknown = StoredForm::of("/registry/boats/");
        let bytes = Bytes::from("{}");
        assert!(matches!(unknown.current(&bytes).unwrap(), Cow::Borrowed(_)));
    }
}
