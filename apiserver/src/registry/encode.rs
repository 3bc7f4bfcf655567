//! The stored form of an object: its JSON as upstream's encoder writes it, without a resource version, which is the
//! revision of its key.
//!
//! While an object is worked on, values that say no more than their absence are not there (see
//! [`api_types::schema::zero`]); only so can an object from the store be compared with one from a client.

use api_types::catalog::Kind;
use api_types::meta;
use api_types::schema::{Table, zero};
use api_types::status::Status;
use bytes::Bytes;
use serde_json::Value;

/// The bytes to store; the object becomes what they say.
pub fn stored(kind: &Kind, object: &mut Value) -> Bytes {
    meta::metadata_mut(object).remove("resourceVersion");
    if let Some(id) = kind.stored_type_id() {
        zero::complete(object, id, Table::builtin());
    }
    zero::Written(object).to_bytes().into()
}

/// Reads stored bytes to work on the object.
pub fn parsed(kind: &Kind, bytes: &[u8]) -> Result<Value, Status> {
    let mut object = super::parse_stored(bytes)?;
    compact(kind, &mut object);
    Ok(object)
}

/// Takes out of an object in its stored version what says no more than its absence.
pub fn compact(kind: &Kind, object: &mut Value) {
    if let Some(id) = kind.stored_type_id() {
        zero::compact(object, id, Table::builtin());
    }
}

/// Makes an object in the version of the kind's path what upstream would answer.
pub fn complete(kind: &Kind, object: &mut Value) {
    if let Some(id) = kind.type_id() {
        zero::complete(object, id, Table::builtin());
    }
}

/// Gives an object the resource version of a revision.
pub fn set_revision(object: &mut Value, revision: u64) {
    meta::metadata_mut(object).insert("resourceVersion".into(), revision.to_string().into());
}
