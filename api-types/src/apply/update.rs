//! The owners after any write that is no apply: who changes a field owns it from then on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::diff::{self, Diff, NoElement};
use super::managers::{self, Entry, Manager, Managers, Operation};
use super::reset::{self, Filter};
use super::set;
use super::shape::Schema;
use crate::catalog::{self, Kind};
use crate::schema::StructId;

/// Entries of updates that are kept apart; of more, the oldest are put together.
pub const MAX_UPDATERS: usize = 10;

/// The manager of entries that were put together.
const ANCIENT: &str = "ancient-changes";

/// What kind of object is written, and through what.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// An object of a kind, through a subresource or none. It is handled in its stored version.
    Object(&'a Kind, &'a str),
    /// The scale of a workload.
    Scale,
}

/// An API version of a subject.
#[derive(Clone, Debug)]
pub struct View {
    /// `apps/v1`.
    pub version: String,
    /// Its struct.
    pub id: StructId,
    /// What of a write counts.
    pub filter: Filter,
    conversion: Option<catalog::Conversion>,
}

impl Subject<'_> {
    /// The subresource; empty for the object itself.
    pub fn subresource(&self) -> &str {
        match self {
            Self::Object(_, subresource) => subresource,
            Self::Scale => "scale",
        }
    }

    /// The version that the request is in; `None` for a kind that is not in the type table.
    pub fn own(&self) -> Option<View> {
        match self {
            Self::Object(kind, subresource) => view(kind, subresource),
            Self::Scale => self.at("autoscaling/v1"),
        }
    }

    /// Another version; `None` when it is not served any more.
    pub fn at(&self, version: &str) -> Option<View> {
        match self {
            Self::Object(kind, subresource) => {
                let found =
                    catalog::all().iter().find(|k| k.storage == kind.storage && k.api_version() == version);
                found.and_then(|k| view(k, subresource))
            }
            Self::Scale if version == "autoscaling/v1" => Some(View {
                version: version.to_owned(),
                id: Schema::builtin().table.find("autoscaling.v1.Scale")?,
                filter: Filter::none(),
                conversion: None,
            }),
            Self::Scale => None,
        }
    }
}

fn view(kind: &Kind, subresource: &str) -> Option<View> {
    Some(View {
        version: kind.api_version(),
        id: Schema::builtin().table.find(kind.type_name)?,
        filter: Filter::of(kind, subresource),
        conversion: kind.conversion,
    })
}

impl View {
    /// A stored object in this version.
    pub fn present<'v>(&self, stored: &'v Value) -> Cow<'v, Value> {
        match &self.conversion {
            None => Cow::Borrowed(stored),
            Some(c) => {
                let mut value = stored.clone();
                (c.from_stored)(&mut value);
                Cow::Owned(value)
            }
        }
    }

    /// An object of this version as it is stored.
    pub fn store(&self, mut value: Value) -> Value {
        if let Some(c) = &self.conversion {
            (c.to_stored)(&mut value);
        }
        value
    }

    /// What of the difference between two stored objects counts in this version.
    pub fn compare(&self, old: &Value, new: &Value) -> Result<Diff, NoElement> {
        let diff = diff::objects(&self.present(old), &self.present(new), self.id, Schema::builtin())?;
        Ok(self.filter.diff(diff))
    }
}

/// Differences by version, made when they are needed.
pub(super) struct Diffs<'a> {
    subject: Subject<'a>,
    old: &'a Value,
    new: &'a Value,
    known: BTreeMap<String, Option<Diff>>,
}

impl<'a> Diffs<'a> {
    pub(super) fn new(subject: Subject<'a>, old: &'a Value, new: &'a Value, own: (String, Diff)) -> Self {
        Self { subject, old, new, known: BTreeMap::from([(own.0, Some(own.1))]) }
    }

    /// What has changed in a version, when nothing else is to be asked.
    fn take(mut self, version: &str) -> set::Set {
        self.known.remove(version).flatten().map(|d| d.changed).unwrap_or_default()
    }

    /// `None` when the version is not served.
    pub(super) fn at(&mut self, version: &str) -> Result<Option<&Diff>, NoElement> {
        if !self.known.contains_key(version) {
            let made = self.subject.at(version).map(|v| v.compare(self.old, self.new)).transpose()?;
            self.known.insert(version.to_owned(), made);
        }
        Ok(self.known.get(version).and_then(Option::as_ref))
    }
}

/// The owners after `actor` has made `new` of `old` (nothing: it has created it). `None`: there are none.
///
/// `new` may carry entries of its own, as a client sends back what it has read; an empty list makes the server
/// forget all owners. An object without owners gets none by an update, as upstream has it.
pub fn updated(
    old: Option<&Value>,
    new: &Value,
    subject: Subject<'_>,
    manager: &str,
    now: &str,
) -> Result<Option<Value>, NoElement> {
    let Some(own) = subject.own() else { return Ok(None) };
    let (before, given) = (old.and_then(managers::of), managers::of(new));
    let given = given.filter(|g| subject.subresource().is_empty() && before != Some(*g));
    let empty = json!({});
    let live = old.unwrap_or(&empty);
    let diff = own.compare(live, new)?;
    let unchanged = || before.map(<[Value]>::to_vec).filter(|l| !l.is_empty()).map(Value::Array);
    let stored = || Managers::read(before.unwrap_or_default(), true).unwrap_or_default();
    let managers = match given {
        Some(list) if managers::is_reset(list) => Managers::default(),
        Some(list) => match Managers::read(list, false) {
            Ok(m) if !m.0.is_empty() => m,
            _ => stored(),
        },
        None if old.is_some() && diff.is_empty() => return Ok(unchanged()),
        None => stored(),
    };
    if managers.0.is_empty() && old.is_some() {
        return Ok(None);
    }
    let manager = Manager::new(manager, Operation::Update, &own.version, subject.subresource());
    let diffs = Diffs::new(subject, live, new, (own.version.clone(), diff));
    Ok(taken(managers, diffs, manager, &own.version, now)?.write())
}

/// Gives the change to `manager` and takes it from all others.
fn taken(
    mut managers: Managers,
    mut diffs: Diffs<'_>,
    manager: Manager,
    version: &str,
    now: &str,
) -> Result<Managers, NoElement> {
    for (who, entry) in std::mem::take(&mut managers.0) {
        let Some(diff) = diffs.at(&entry.version)? else { continue };
        let fields = lose(entry.fields, diff);
        if !fields.is_empty() {
            managers.0.insert(who, Entry { fields, ..entry });
        }
    }
    let mut fields = diffs.take(version);
    reset::strip(&mut fields);
    if !fields.is_empty() {
        if let Some(previous) = managers.0.remove(&manager) {
            set::union(&mut fields, &previous.fields);
        }
        managers.0.insert(manager, Entry { version: version.to_owned(), time: Some(now.to_owned()), fields });
    }
    cap(&mut managers);
    Ok(managers)
}

/// What is left to a manager after somebody else's change.
pub(super) fn lose(fields: set::Set, diff: &Diff) -> set::Set {
    let mut fields = fields;
    for gone in [&diff.changed, &diff.removed] {
        if set::intersects(&fields, gone) {
            fields = set::difference(&fields, gone);
        }
    }
    fields
}

/// Puts the oldest entries of updates together until there are few enough.
fn cap(managers: &mut Managers) {
    let mut updaters: Vec<(Option<String>, Manager)> = managers
        .0
        .iter()
        .filter(|(m, _)| m.operation == Operation::Update)
        .map(|(m, e)| (e.time.clone(), m.clone()))
        .collect();
    if updaters.len() <= MAX_UPDATERS {
        return;
    }
    updaters.sort();
    let mut left = updaters.len();
    // The first entry of a version waits for a second one before it becomes part of a bucket.
    let mut first: BTreeMap<String, Manager> = BTreeMap::new();
    for (_, m) in updaters {
        if left <= MAX_UPDATERS {
            return;
        }
        let Some(f) = first.get(&m.updated_version) else {
            first.insert(m.updated_version.clone(), m);
            continue;
        };
        let bucket = Manager::new(ANCIENT, Operation::Update, &m.updated_version, "");
        if !managers.0.contains_key(&bucket)
            && let Some(entry) = managers.0.remove(f)
        {
            managers.0.insert(bucket.clone(), entry);
        }
        let (Some(taken), Some(mut into)) = (managers.0.remove(&m), managers.0.remove(&bucket)) else {
            continue;
        };
        set::union(&mut into.fields, &taken.fields);
        // The younger of the two counts.
        into.time = taken.time;
        managers.0.insert(bucket, into);
        left -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-02-02T00:00:00Z";

    fn subject() -> Subject<'static> {
        Subject::Object(catalog::by_kind("", "v1", "ConfigMap").unwrap(), "")
    }

    fn map(data: Value, entries: Value) -> Value {
        json!({"metadata": {"name": "a", "uid": "u", "managedFields": entries}, "data": data})
    }

    fn entry(name: &str, op: &str, time: &str, fields: Value) -> Value {
        json!({"apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields, "manager": name, "operation": op, "time": time})
    }

    #[test]
    fn fields_change_hands() {
        let old_time = "2026-01-01T00:00:00Z";
        let all = json!({"f:data": {".": {}, "f:a": {}, "f:b": {}}});
        let mine = |fields: Value, time: &str| entry("me", "Update", time, fields);
        let a = || json!([entry("a", "Update", old_time, all.clone())]);
        for (name, old, new, want) in [
            (
                "a change",
                map(json!({"a": "1", "b": "2"}), a()),
                map(json!({"a": "1", "b": "3"}), a()),
                json!([
                    entry("a", "Update", old_time, json!({"f:data": {".": {}, "f:a": {}}})),
                    mine(json!({"f:data": {"f:b": {}}}), NOW)
                ]),
            ),
            ("nothing", map(json!({"a": "1", "b": "2"}), a()), map(json!({"a": "1", "b": "2"}), a()), a()),
            (
                "a client that knows no owners",
                map(json!({"a": "1", "b": "2"}), a()),
                json!({"data": {"a": "1", "b": "2"}}),
                a(),
            ),
            (
                "a removal",
                map(json!({"a": "1", "b": "2"}), a()),
                map(json!({"a": "1"}), a()),
                json!([entry("a", "Update", old_time, json!({"f:data": {".": {}, "f:a": {}}}))]),
            ),
            ("forgetting", map(json!({"a": "1"}), a()), map(json!({"a": "1"}), json!([])), Value::Null),
            (
                "forgetting with an empty entry",
                map(json!({"a": "1"}), a()),
                map(json!({"a": "2"}), json!([{}])),
                Value::Null,
            ),
            (
                "invalid entries",
                map(json!({"a": "1", "b": "2"}), a()),
                map(json!({"a": "1", "b": "2"}), json!([{"operation": "x"}])),
                a(),
            ),
            (
                "no owners so far",
                map(json!({"a": "1"}), Value::Null),
                map(json!({"a": "2"}), Value::Null),
                Value::Null,
            ),
        ] {
            let got = updated(Some(&old), &new, subject(), "me", NOW).unwrap();
            assert_eq!(got.unwrap_or_default(), want, "{name}");
        }
    }

    #[test]
    fn a_creator_owns_what_it_sets() {
        let new = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "labels": {"x": "y"}}, "data": {"k": "v"}});
        assert_eq!(
            updated(None, &new, subject(), "", NOW).unwrap().unwrap(),
            json!([entry(
                "unknown",
                "Update",
                NOW,
                json!({"f:metadata": {"f:labels": {".": {}, "f:x": {}}}, "f:data": {".": {}, "f:k": {}}})
            )])
        );
        assert_eq!(updated(None, &json!({"metadata": {"name": "a"}}), subject(), "me", NOW).unwrap(), None);
    }

    #[test]
    fn versions_have_their_own_names_for_fields() {
        let kind = catalog::by_kind("events.k8s.io", "v1", "Event").unwrap();
        let stored = |note: &str| json!({"apiVersion": "v1", "kind": "Event", "message": note, "metadata": {"name": "e"}});
        let made = updated(None, &stored("x"), Subject::Object(kind, ""), "new", NOW).unwrap().unwrap();
        assert_eq!(made[0]["apiVersion"], "events.k8s.io/v1");
        assert_eq!(made[0]["fieldsV1"]["f:note"], json!({}));
        // An update in the other version takes the field from it.
        let core = catalog::by_kind("", "v1", "Event").unwrap();
        let mut old = stored("x");
        old["metadata"]["managedFields"] = made;
        let after =
            updated(Some(&old), &stored("y"), Subject::Object(core, ""), "old", NOW).unwrap().unwrap();
        let owners: Vec<&Value> =
            after.as_array().unwrap().iter().filter(|e| e["fieldsV1"].get("f:note").is_some()).collect();
        assert!(owners.is_empty(), "{after}");
        let core_entry = after.as_array().unwrap().iter().find(|e| e["apiVersion"] == "v1").unwrap();
        assert_eq!(core_entry["fieldsV1"], json!({"f:message": {}}));
    }

    #[test]
    fn old_updaters_are_put_together() {
        let mut object = map(json!({}), json!([]));
        object = {
            let new = map(json!({"k0": "v"}), Value::Null);
            let entries = updated(None, &new, subject(), "m0", "2026-01-01T00:00:00Z").unwrap();
            let mut new = new;
            managers::set(&mut new, entries);
            drop(object);
            new
        };
        for i in 1..=12 {
            let mut new = object.clone();
            new["data"][format!("k{i}")] = "v".into();
            let at = format!("2026-01-{:02}T00:00:00Z", i + 1);
            let entries = updated(Some(&object), &new, subject(), &format!("m{i}"), &at).unwrap();
            managers::set(&mut new, entries);
            object = new;
        }
        let all = managers::of(&object).unwrap();
        assert_eq!(all.len(), MAX_UPDATERS);
        let ancient = all.iter().find(|e| e["manager"] == ANCIENT).unwrap();
        assert_eq!(
            ancient["fieldsV1"],
            json!({"f:data": {".": {}, "f:k0": {}, "f:k1": {}, "f:k2": {}, "f:k3": {}}})
        );
        assert_eq!(ancient["time"], "2026-01-04T00:00:00Z");
    }
}
