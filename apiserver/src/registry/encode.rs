//! The stored form of an object: its JSON without a resource version, which is the revision of its key.

use api_types::meta;
use api_types::status::Status;
use bytes::Bytes;
use serde_json::Value;

/// The bytes to store.
pub fn stored(object: &mut Value) -> Result<Bytes, Status> {
    meta::metadata_mut(object).remove("resourceVersion");
    serde_json::to_vec(object)
        .map(Bytes::from)
        .map_err(|e| Status::internal(format!("encoding the object: {e}")))
}

/// Gives an object the resource version of a revision.
pub fn set_revision(object: &mut Value, revision: u64) {
    meta::metadata_mut(object).insert("resourceVersion".into(), revision.to_string().into());
}
