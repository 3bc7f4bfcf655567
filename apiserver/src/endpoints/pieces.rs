//! A list as it goes out: piece by piece, made of bytes that are encoded already.

use std::io;
use std::sync::Arc;

use api_types::catalog::Kind;
use api_types::schema::zero::{self, Written};
use api_types::status::Status;
use bytes::{BufMut, Bytes, BytesMut};
use serde_json::Value;

use super::list::Page;
use super::{respond, yaml};
use crate::cache::CachedObject;
use crate::registry::parse_stored;
use crate::request::negotiate::{Encoding, Form};

/// Objects are gathered into pieces of about this size.
const SIZE: usize = 64 * 1024;

/// What is left of a list.
pub struct Pieces {
    kind: &'static Kind,
    form: Form,
    encoding: Encoding,
    objects: std::vec::IntoIter<Arc<CachedObject>>,
    /// What comes before the next object, if not a comma.
    opening: Option<String>,
    /// What comes after the last.
    closing: String,
    /// How each object begins, where it goes out as it is stored. Items do not say what the list says of all.
    said: Option<Box<[u8]>>,
    ended: bool,
}

impl Pieces {
    pub fn new(kind: &'static Kind, form: Form, encoding: Encoding, page: Page) -> Self {
        let (list_kind, version) = match form {
            Form::Metadata => ("PartialObjectMetadataList".to_owned(), "meta.k8s.io/v1".to_owned()),
            _ => (format!("{}List", kind.kind), kind.api_version()),
        };
        let (opening, closing) = match encoding {
            Encoding::Json => {
                let head = format!("{{\"kind\":\"{list_kind}\",\"apiVersion\":\"{version}\",\"metadata\":");
                (format!("{head}{},\"items\":[", page.meta), "]}\n".to_owned())
            }
            Encoding::Yaml => {
                // JSON is YAML, and short enough to be read.
                let none = if page.objects.is_empty() { " []" } else { "" };
                let closing = format!("kind: {list_kind}\nmetadata: {}\n", page.meta);
                (format!("apiVersion: {version}\nitems:{none}\n"), closing)
            }
        };
        let as_stored = form == Form::Object && kind.conversion.is_none() && encoding == Encoding::Json;
        let said = as_stored.then(|| zero::head(kind.kind, kind.stored_version).into_bytes().into());
        let (opening, objects) = (Some(opening), page.objects.into_iter());
        Self { kind, form, encoding, objects, opening, closing, said, ended: false }
    }

    fn put(&self, out: &mut BytesMut, object: &CachedObject) -> Result<(), Status> {
        let Some(said) = &self.said else {
            let value = self.converted(object)?;
            match self.encoding {
                Encoding::Json => out.put_slice(&Written(&value).to_bytes()),
                Encoding::Yaml => out.put_slice(yaml::item(&value)?.as_bytes()),
            }
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

    fn converted(&self, object: &CachedObject) -> Result<Value, Status> {
        let mut value = parse_stored(&object.bytes)?;
        if self.form == Form::Metadata {
            return Ok(respond::partial(&value));
        }
        respond::present(self.kind, &mut value);
        respond::as_item(&mut value);
        Ok(value)
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
                out.put_slice(self.closing.as_bytes());
                self.ended = true;
                break;
            };
            if std::mem::replace(&mut comma, true) && self.encoding == Encoding::Json {
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
