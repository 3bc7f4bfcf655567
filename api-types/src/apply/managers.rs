//! `metadata.managedFields`: who owns what, since when.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::element;
use super::set::Set;

/// How a manager writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    /// It has applied a configuration.
    Apply,
    /// It has written in any other way.
    Update,
}

impl Operation {
    /// As in an entry.
    pub fn text(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// What tells managers apart. The version counts only for updates: an applier has one intent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Manager {
    /// Its name.
    pub name: String,
    /// How it writes.
    pub operation: Operation,
    /// The version of an updater; empty for an applier.
    pub updated_version: String,
    /// The subresource it writes through; empty for the object itself.
    pub subresource: String,
}

/// What one manager owns.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The API version its fields are named in.
    pub version: String,
    /// Since when, as RFC 3339.
    pub time: Option<String>,
    /// What.
    pub fields: Set,
}

/// All entries of an object. Clients may send as many as a body holds, so they are looked up by their manager.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Managers(pub BTreeMap<Manager, Entry>);

impl Manager {
    /// The manager behind a request.
    pub fn new(name: &str, operation: Operation, version: &str, subresource: &str) -> Self {
        Self {
            name: if name.is_empty() { "unknown" } else { name }.to_owned(),
            operation,
            updated_version: if operation == Operation::Update { version.to_owned() } else { String::new() },
            subresource: subresource.to_owned(),
        }
    }
}

impl Managers {
    /// Reads the entries of an object. Those of a stored object are in the form that this module writes; those of
    /// a client are brought into it.
    pub fn read(list: &[Value], stored: bool) -> Result<Self, String> {
        let mut out = Self::default();
        for (i, value) in list.iter().enumerate() {
            let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or("");
            let operation = match text("operation") {
                "Apply" => Operation::Apply,
                "Update" => Operation::Update,
                _ => return Err("operation must be `Apply` or `Update`".into()),
            };
            let version = text("apiVersion");
            if version.is_empty() {
                return Err("apiVersion must not be empty".into());
            }
            match text("fieldsType") {
                "FieldsV1" => {}
                "" => return Err(format!("missing fieldsType in managed fields entry {i}")),
                other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {i}")),
            }
            let fields = match value.get("fieldsV1") {
                None | Some(Value::Null) => Set::new(),
                Some(Value::Object(set)) if stored => set.clone(),
                Some(other) => element::canonical_set(other)?,
            };
            let manager = Manager {
                name: text("manager").to_owned(),
                operation,
                updated_version: if operation == Operation::Update {
                    version.to_owned()
                } else {
                    String::new()
                },
                subresource: text("subresource").to_owned(),
            };
            let time = Some(text("time")).filter(|t| !t.is_empty()).map(str::to_owned);
            out.0.insert(manager, Entry { version: version.to_owned(), time, fields });
        }
        Ok(out)
    }

    /// The entries as they are stored, in upstream's order; nothing when there are none.
    pub fn write(self) -> Option<Value> {
        let mut all: Vec<(Manager, Entry)> = self.0.into_iter().collect();
        all.sort_by(|(m, a), (n, b)| {
            (m.operation, a.time.as_deref().unwrap_or_default(), &m.name, &a.version, &m.subresource).cmp(&(
                n.operation,
                b.time.as_deref().unwrap_or_default(),
                &n.name,
                &b.version,
                &n.subresource,
            ))
        });
        let all: Vec<Value> = all.into_iter().map(|(manager, entry)| entry.write(manager)).collect();
        (!all.is_empty()).then_some(Value::Array(all))
    }
}

impl Entry {
    fn write(self, manager: Manager) -> Value {
        let mut out = Map::new();
        let mut put = |name: &str, value: Value| {
            out.insert(name.to_owned(), value);
        };
        put("apiVersion", self.version.into());
        put("fieldsType", "FieldsV1".into());
        put("fieldsV1", Value::Object(self.fields));
        if !manager.name.is_empty() {
            put("manager", manager.name.into());
        }
        put("operation", manager.operation.text().into());
        if !manager.subresource.is_empty() {
            put("subresource", manager.subresource.into());
        }
        if let Some(time) = self.time {
            put("time", time.into());
        }
        Value::Object(out)
    }
}

/// The entries of an object as it was stored or sent.
pub fn of(object: &Value) -> Option<&[Value]> {
    crate::meta::at(object, &["metadata", "managedFields"]).and_then(Value::as_array).map(Vec::as_slice)
}

/// Gives an object its entries.
pub fn set(object: &mut Value, entries: Option<Value>) {
    let m = crate::meta::metadata_mut(object);
    match entries {
        Some(list) => m.insert("managedFields".into(), list),
        None => m.remove("managedFields"),
    };
}

/// Whether a client asks for the owners to be forgotten: an empty list, or a list of one empty entry.
pub fn is_reset(list: &[Value]) -> bool {
    list.is_empty() || (list.len() == 1 && list[0] == json!({}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_and_written_in_order() {
        let entry = |name: &str, op: &str, time: &str, sub: &str| {
            let mut e = json!({"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {}}, "manager": name,
                "operation": op});
            for (k, v) in [("time", time), ("subresource", sub)] {
                if !v.is_empty() {
                    e[k] = v.into();
                }
            }
            e
        };
        let a = entry("z", "Apply", "2026-01-02T00:00:00Z", "");
        let b = entry("y", "Apply", "2026-01-03T00:00:00Z", "");
        let c = entry("x", "Update", "", "scale");
        let d = entry("a", "Update", "2026-01-01T00:00:00Z", "");
        let e = entry("a", "Update", "2026-01-01T00:00:00Z", "status");
        let mixed = [e.clone(), c.clone(), b.clone(), d.clone(), a.clone()];
        assert_eq!(Managers::read(&mixed, true).unwrap().write(), Some(json!([a, b, c, d, e])));
        assert_eq!(Managers::default().write(), None);
    }

    #[test]
    fn malformed_entries() {
        let good = json!({"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {}, "manager": "a", "operation": "Update"});
        assert!(Managers::read(std::slice::from_ref(&good), false).is_ok());
        for (field, value, want) in [
            ("operation", json!("Delete"), "operation must be `Apply` or `Update`"),
            ("apiVersion", json!(""), "apiVersion must not be empty"),
            ("fieldsType", json!(""), "missing fieldsType in managed fields entry 0"),
            ("fieldsType", json!("V2"), "invalid fieldsType \"V2\" in managed fields entry 0"),
            ("fieldsV1", json!({"x": {}}), "key must be 2 characters long:"),
        ] {
            let mut bad = good.clone();
            bad[field] = value;
            assert_eq!(Managers::read(&[bad], false).unwrap_err(), want);
        }
    }

    #[test]
    fn versions_tell_updaters_apart_but_not_appliers() {
        let m = |op, version| Manager::new("a", op, version, "");
        assert_ne!(m(Operation::Update, "v1"), m(Operation::Update, "v2"));
        assert_eq!(m(Operation::Apply, "v1"), m(Operation::Apply, "v2"));
        assert_eq!(Manager::new("", Operation::Update, "v1", "").name, "unknown");
        assert!(is_reset(&[]) && is_reset(&[json!({})]) && !is_reset(&[json!({"manager": "a"})]));
    }
}
