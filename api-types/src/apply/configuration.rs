//! The apply itself: a manager states its whole intent, and the object follows it.

use serde_json::{Value, json};

use super::conflict::{self, Conflict};
use super::managers::{self, Entry, Manager, Managers, Operation};
use super::merge::merge;
use super::remove::remove;
use super::set::{self, Set};
use super::shape::Schema;
use super::update::{Diffs, Subject, View, lose, updated};
use super::{check, element, extract, last_applied, reset};
use crate::meta;
use crate::status::Status;

/// The owner of what was there before the first apply.
const BEFORE: &str = "before-first-apply";

/// Who applies, and how.
#[derive(Clone, Copy, Debug)]
pub struct Apply<'a> {
    /// What is applied to.
    pub subject: Subject<'a>,
    /// `apps/v1` and `Deployment`, which the configuration must say it is.
    pub kind: (&'a str, &'a str),
    /// The name of the manager.
    pub manager: &'a str,
    /// Take fields from others instead of a conflict.
    pub force: bool,
    /// The time, as RFC 3339.
    pub now: &'a str,
}

/// `apps/v1, Kind=Deployment`, as Go prints a kind.
fn printed_kind(version: &str, kind: &str) -> String {
    let version = if version.contains('/') { version.to_owned() } else { format!("/{version}") };
    format!("{version}, Kind={kind}")
}

fn internal(message: String) -> Status {
    // Upstream's plain errors have no reason.
    Status::new(500, "", message)
}

/// Applies `config`, as it was sent, to a stored object (`None`: it is to be created). Gives the object as it is to
/// be stored, with its owners; it still has to be decoded, defaulted and checked as any other.
pub fn apply(live: Option<&Value>, config: &Value, request: Apply<'_>) -> Result<Value, Status> {
    let sent = |f: &str| config.get(f).and_then(Value::as_str).unwrap_or("");
    let asked = (sent("apiVersion"), sent("kind"));
    if asked != request.kind {
        return Err(Status::bad_request(format!("invalid object type: {}", printed_kind(asked.0, asked.1))));
    }
    if managers::of(config).is_some() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    let Some(own) = request.subject.own() else {
        return Err(internal(format!("no type of {}", request.kind.1)));
    };
    let schema = Schema::builtin();
    check::check(config, schema.root(own.id), schema).map_err(|why| {
        internal(format!(
            "failed to create typed patch object ({}/{}; {}): {why}",
            meta::namespace(config),
            meta::name(config),
            printed_kind(asked.0, asked.1)
        ))
    })?;
    let before = live_managers(live, request)?;
    let mut bare = live.cloned().unwrap_or_else(|| json!({}));
    managers::set(&mut bare, None);
    let attempt = Attempt { own: &own, live: &bare, config, request };
    let (object, owners) = match attempt.run(before.clone(), request.force)? {
        Ok(done) => done,
        Err(conflicts) => {
            let conflicts = last_applied::without_own(conflicts, &own.present(&bare), &own, request.manager);
            if !conflicts.is_empty() {
                return Err(conflict::status(conflicts));
            }
            match attempt.run(before, true)? {
                Ok(done) => done,
                Err(conflicts) => return Err(conflict::status(conflicts)),
            }
        }
    };
    let mut object = object.unwrap_or(bare);
    last_applied::refresh(&mut object, config, request.manager);
    managers::set(&mut object, owners.write());
    Ok(object)
}

/// The owners before the apply. Where nobody was told so far, what is there belongs to a manager of its own.
fn live_managers(live: Option<&Value>, request: Apply<'_>) -> Result<Managers, Status> {
    let Some(live) = live else { return Ok(Managers::default()) };
    let read = |list: &[Value]| {
        Managers::read(list, true).map_err(|e| internal(format!("failed to decode managed fields: {e}")))
    };
    let known = read(managers::of(live).unwrap_or_default())?;
    if !known.0.is_empty() {
        return Ok(known);
    }
    let mut bare = live.clone();
    managers::set(&mut bare, None);
    let made = updated(None, &bare, request.subject, BEFORE, request.now)
        .map_err(|e| internal(format!("failed to create manager for existing fields: {e}")))?;
    read(made.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default())
}

struct Attempt<'a> {
    own: &'a View,
    /// The stored object without its owners.
    live: &'a Value,
    config: &'a Value,
    request: Apply<'a>,
}

/// The object, where it changes, and the owners; or the conflicts.
type Done = Result<(Option<Value>, Managers), Vec<Conflict>>;

impl Attempt<'_> {
    fn run(&self, mut owners: Managers, force: bool) -> Result<Done, Status> {
        let schema = Schema::builtin();
        let root = schema.root(self.own.id);
        let live = self.own.present(self.live);
        let merged = merge(Some(&live), Some(self.config), root, schema).unwrap_or_else(|| json!({}));
        let me = Manager::new(
            self.request.manager,
            Operation::Apply,
            &self.own.version,
            self.request.subject.subresource(),
        );
        let last = owners.0.remove(&me);
        let mut fields = self.own.filter.set(extract::field_set(self.config, root, schema));
        let time = last.as_ref().and_then(|l| l.time.clone());
        let mine = Entry { version: self.own.version.clone(), time, fields: fields.clone() };
        owners.0.insert(me.clone(), mine);
        let new = match &last {
            Some(last) => self.prune(merged, last, &owners),
            None => merged,
        };
        let stored = self.own.store(new);
        let diff = self
            .own
            .compare(self.live, &stored)
            .map_err(|e| internal(format!("failed to compare objects: {e}")))?;
        let mut diffs =
            Diffs::new(self.request.subject, self.live, &stored, (self.own.version.clone(), diff));
        let mut conflicts = Vec::new();
        let mut left = Managers::default();
        for (who, entry) in owners.0 {
            if who == me {
                continue;
            }
            let diff =
                diffs.at(&entry.version).map_err(|e| internal(format!("failed to compare objects: {e}")))?;
            let Some(diff) = diff else { continue };
            let common = set::intersection(&entry.fields, &diff.changed);
            conflicts.extend(Conflict::with(&who, &entry.version, &common));
            let fields = lose(entry.fields, diff);
            if !fields.is_empty() {
                left.0.insert(who, Entry { fields, ..entry });
            }
        }
        if !force && !conflicts.is_empty() {
            return Ok(Err(conflicts));
        }
        let changed = stored != *self.live;
        reset::strip(&mut fields);
        if !fields.is_empty() {
            let time = if changed { Some(self.request.now.to_owned()) } else { last.and_then(|l| l.time) };
            left.0.insert(me, Entry { version: self.own.version.clone(), time, fields });
        }
        Ok(Ok((changed.then_some(stored), left)))
    }

    /// Removes what the manager applied last time, does not name any more, and nobody else owns.
    fn prune(&self, merged: Value, last: &Entry, owners: &Managers) -> Value {
        if last.fields.is_empty() {
            return merged;
        }
        // A version that is not served any more names fields that nobody knows.
        let Some(at) = self.request.subject.at(&last.version) else { return merged };
        let stored = self.own.store(merged);
        let merged = at.present(&stored).into_owned();
        let named = |s: &Set, view: &View| {
            element::with_named_fields(s, Schema::builtin().root(view.id), Schema::builtin())
        };
        let without = |value: Value, fields: &Set, view: &View| match remove(
            value,
            fields,
            Schema::builtin().root(view.id),
            Schema::builtin(),
        ) {
            Value::Null => json!({}),
            rest => rest,
        };
        let set_of = |value: &Value, view: &View| {
            named(&extract::field_set(value, Schema::builtin().root(view.id), Schema::builtin()), view)
        };
        let lost = named(&last.fields, &at);
        let mut pruned = without(merged.clone(), &lost, &at);
        // What others own comes back, or what the new configuration names: first in the version of the last one.
        let mut versions: Vec<&str> = owners.0.values().map(|e| e.version.as_str()).collect();
        versions.sort_by_key(|v| (*v != last.version, *v));
        versions.dedup();
        for version in versions {
            let Some(view) = self.request.subject.at(version) else { continue };
            let mut owned = Set::new();
            for e in owners.0.values().filter(|e| e.version == version) {
                set::union(&mut owned, &e.fields);
            }
            let whole = view.present(&at.store(merged.clone())).into_owned();
            let part = view.present(&at.store(pruned)).into_owned();
            let mut keep = set_of(&part, &view);
            set::union(&mut keep, &named(&owned, &view));
            let gone = set::difference(&set_of(&whole, &view), &keep);
            pruned = at.present(&view.store(without(whole, &gone, &view))).into_owned();
        }
        // What the manager did not own stays, although its parent went.
        let gone = set::difference(&set_of(&merged, &at), &set_of(&pruned, &at));
        let gone = set::intersection(&gone, &lost);
        let rest = at.store(without(merged, &gone, &at));
        self.own.present(&rest).into_owned()
    }
}
