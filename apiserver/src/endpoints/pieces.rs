//! A list as it goes out: piece by piece, made of bytes that are encoded already.

use std::io;
use std::sync::Arc;

use api_types::catalog::Kind;
use api_types::schema::zero::{self, Written};
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;

use super::list::Page;
use super::respond;
use crate::cache::CachedObject;
use crate::request::negotiate::Form;

/// Objects are gathered into pieces of about this size.
const SIZE: usize = 64 * 1024;

/// What is left of a list.
pub struct Pieces {
    kind: &'static Kind,
    form: Form,
    objects: std::vec::IntoIter<Arc<CachedObject>>,
    /// What comes before the next object, if not a comma.
    opening: Option<String>,
    /// How each object begins, where it goes out as it is stored. Items do not say what the list says of all.
    said: Option<Box<[u8]>>,
    ended: bool,
}

impl Pieces {
    pub fn new(kind: &'static Kind, form: Form, page: Page) -> Self {
        let (list_kind, version) = match form {
            Form::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            _ => (format!("{}List", kind.kind), kind.api_version()),
        };
        let opening = format!(
            "{{\"kind\":\"{list_kind}\",\"apiVersion\":\"{version}\",\"metadata\":{},\"items\":[",
            page.meta
        );
        let as_stored = form == Form::Object && kind.conversion.is_none();
        let said = as_stored.then(|| zero::head(kind.kind, kind.stored_version).into_bytes().into());
        Self { kind, form, objects: page.objects.into_iter(), opening: Some(opening), said, ended: false }
    }

    fn put(&self, out: &mut BytesMut, object: &CachedObject) -> Result<(), serde_json::Error> {
        let Some(said) = &self.said else {
            out.put_slice(&self.converted(object)?);
            return Ok(());
        };
        match object.bytes.strip_prefix(&**said) {
            Some(rest) => {
                out.put_u8(b'{');
                out.put_slice(rest);
            }
            None => out.put_slice(&object.bytes),
        }
        Ok(())
    }

    fn converted(&self, object: &CachedObject) -> Result<Vec<u8>, serde_json::Error> {
        let mut value: Value = serde_json::from_slice(&object.bytes)?;
        if self.form == Form::Metadata {
            return Ok(Written(&respond::partial(&value)).to_bytes());
        }
        respond::present(self.kind, &mut value);
        respond::as_item(&mut value);
        Ok(Written(&value).to_bytes())
    }
}

impl Iterator for Pieces {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut out = BytesMut::with_capacity(SIZE + 4096);
        let mut comma = self.opening.is_none();
        if let Some(opening) = self.opening.take() {
            out.put_slice(opening.as_bytes());
        }
        while out.len() < SIZE {
            let Some(object) = self.objects.next() else {
                out.put_slice(b"]}\n");
                self.ended = true;
                break;
            };
            if std::mem::replace(&mut comma, true) {
                out.put_u8(b',');
            }
            if let Err(e) = self.put(&mut out, &object) {
                self.ended = true;
                return Some(Err(io::Error::other(e)));
            }
        }
        Some(Ok(out.freeze()))
    }
}
