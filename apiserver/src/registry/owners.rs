//! Who owns which fields after a write: `metadata.managedFields`.
//!
//! The owners are found when the object is defaulted and before the strategy puts back what the writer may not
//! change: what it may not change is named by the filters of [`api_types::apply::reset`] instead, as upstream has
//! it. What admission adds has no owner.

use std::borrow::Cow;

use api_types::apply::managers;
use api_types::apply::update::{Subject, updated};
use api_types::catalog::Kind;
use api_types::meta;
use bytes::Bytes;
use serde_json::Value;

use super::{Write, encode};

/// The largest object that is stored with its owners: what a store takes, less the longest key.
const MAX_OWNED: usize = (3 << 19) - 1024;

/// How a write is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owners<'a> {
    /// The manager of this name owns what it changes.
    Update(Cow<'a, str>),
    /// The object comes with its owners: an apply, or the scale of a workload.
    Given,
    /// Nobody becomes an owner: what the system does on behalf of somebody (a binding).
    Kept,
}

/// Records the creation of `object`.
pub(super) fn on_create(kind: &Kind, object: &mut Value, write: &Write<'_>) {
    record(kind, None, object, write);
}

/// The owners when `old` becomes `new`; to be put into it when the strategy has put back what may not change.
pub(super) fn on_update(kind: &Kind, old: &Value, new: &mut Value, write: &Write<'_>) -> Option<Value> {
    record(kind, Some(old), new, write);
    meta::metadata_mut(new).remove("managedFields")
}

fn record(kind: &Kind, old: Option<&Value>, new: &mut Value, write: &Write<'_>) {
    let manager = match &write.owners {
        Owners::Given => return,
        Owners::Kept => {
            let before = old.and_then(managers::of).map(|l| Value::Array(l.to_vec()));
            return managers::set(new, before);
        }
        Owners::Update(manager) => manager,
    };
    let entries = match updated(old, new, Subject::Object(kind, write.subresource), manager, &meta::now()) {
        Ok(entries) => entries,
        Err(why) => {
            // The write is not refused for it: its validation will say what is wrong, if anything is.
            tracing::debug!(kind = kind.plural, %why, "the owners of a write are not known");
            old.and_then(managers::of).map(|l| Value::Array(l.to_vec()))
        }
    };
    managers::set(new, entries);
}

/// The bytes to store. An object that is too large for the store with its owners is stored without them; an apply
/// is refused then, because it could not be told from one that gives everything up.
pub(super) fn encoded(kind: &Kind, object: &mut Value, write: &Write<'_>) -> Bytes {
    let bytes = encode::stored(kind, object);
    if bytes.len() <= MAX_OWNED || write.owners == Owners::Given || managers::of(object).is_none() {
        return bytes;
    }
    managers::set(object, None);
    encode::stored(kind, object)
}

/// Puts the times of `old` back when nothing but times differs: a write without an effect has no time either.
pub(super) fn settle(new: &mut Value, old: &Value) {
    let (Some(after), Some(before)) = (managers::of(new), managers::of(old)) else { return };
    if after == before
        || after.len() != before.len()
        || !after.iter().zip(before).all(|(a, b)| same_but_time(a, b))
    {
        return;
    }
    // Whether all of `a` but the fields in `but` is in `b` too.
    let within = |a: Option<&Value>, b: Option<&Value>, but: &[&str]| match (a, b) {
        (Some(Value::Object(x)), Some(Value::Object(y))) => {
            x.iter().all(|(k, v)| but.contains(&k.as_str()) || y.get(k) == Some(v))
        }
        (a, b) => a == b,
    };
    let same = |a: Option<&Value>, b: Option<&Value>, but: &[&str]| within(a, b, but) && within(b, a, but);
    let metadata = ["managedFields", "resourceVersion"];
    if !same(Some(new), Some(old), &["metadata"])
        || !same(new.get("metadata"), old.get("metadata"), &metadata)
    {
        return;
    }
    let kept = Value::Array(before.to_vec());
    managers::set(new, Some(kept));
}

fn same_but_time(a: &Value, b: &Value) -> bool {
    let (Value::Object(x), Value::Object(y)) = (a, b) else { return a == b };
    let one_way = |x: &serde_json::Map<String, Value>, y: &serde_json::Map<String, Value>| {
        x.iter().all(|(k, v)| k == "time" || y.get(k) == Some(v))
    };
    one_way(x, y) && one_way(y, x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(data: &str, time: &str, version: &str, fields: Value) -> Value {
        json!({"metadata": {"name": "a", "resourceVersion": version,
            "managedFields": [{"manager": "m", "time": time, "fieldsV1": fields}]}, "data": {"k": data}})
    }

    #[test]
    fn times_alone_are_no_change() {
        let f = || json!({"f:data": {}});
        let old = object("v", "1", "5", f());
        for (new, kept) in [
            (object("v", "2", "6", f()), true),
            (object("w", "2", "6", f()), false),
            (object("v", "2", "6", json!({})), false),
            (object("v", "1", "6", f()), true),
        ] {
            let mut settled = new.clone();
            settle(&mut settled, &old);
            assert_eq!(managers::of(&settled) == managers::of(&old), kept, "{new}");
        }
    }
}
