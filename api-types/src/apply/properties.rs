//! What holds for any sequence of applies, tried on many made from a small vocabulary with a fixed seed.

use serde_json::{Map, Value, json};

use super::configuration::{Apply, apply};
use super::managers::{self, Managers};
use super::set::{self, Set};
use super::shape::Schema;
use super::update::Subject;
use super::{extract, reset};
use crate::catalog;
use crate::schema::{Table, decode};

/// A small generator with a known sequence.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }

    fn often(&mut self) -> bool {
        self.roll(3) > 0
    }

    /// Some of these words, in any order, each once.
    fn some(&mut self, words: &[&'static str]) -> Vec<&'static str> {
        let mut out: Vec<&str> = words.iter().copied().filter(|_| self.often()).collect();
        for i in (1..out.len()).rev() {
            let j = self.roll(i as u64 + 1) as usize;
            out.swap(i, j);
        }
        out
    }
}

fn filled(map: Map<String, Value>, into: &mut Value, name: &str) {
    if !map.is_empty() {
        into[name] = map.into();
    }
}

/// A pod as somebody might want it: maps, keyed lists in keyed lists, sets, atomic lists and maps.
fn configuration(dice: &mut Dice) -> Value {
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}});
    let labels =
        dice.some(&["a", "b", "c"]).into_iter().map(|k| (k.to_owned(), dice.roll(3).to_string().into()));
    let labels: Map<String, Value> = labels.collect();
    filled(labels, &mut pod["metadata"], "labels");
    let finalizers = dice.some(&["x/a", "x/b", "x/c"]);
    if !finalizers.is_empty() {
        pod["metadata"]["finalizers"] = finalizers.into();
    }
    let mut containers = Vec::new();
    for name in dice.some(&["one", "two", "three"]) {
        let mut c = json!({"name": name, "image": dice.roll(2).to_string()});
        if dice.often() {
            c["args"] = json!([dice.roll(2).to_string()]);
        }
        let ports: Vec<Value> = dice
            .some(&["80", "81"])
            .into_iter()
            .map(|p| json!({"containerPort": p.parse::<i64>().unwrap(), "protocol": "TCP", "hostPort": dice.roll(2) + 1}))
            .collect();
        if !ports.is_empty() {
            c["ports"] = ports.into();
        }
        containers.push(c);
    }
    if !containers.is_empty() {
        pod["spec"]["containers"] = containers.into();
    }
    if dice.often() {
        pod["spec"]["nodeSelector"] = json!({dice.some(&["n", "m"]).first().copied().unwrap_or("k"): "v"});
    }
    pod
}

/// The fields of an object that somebody can own.
fn fields(object: &Value) -> Set {
    let schema = Schema::builtin();
    let mut bare = object.clone();
    managers::set(&mut bare, None);
    let mut set = extract::field_set(&bare, schema.root(schema.table.find("core.v1.Pod").unwrap()), schema);
    reset::strip(&mut set);
    set
}

#[test]
fn every_field_has_an_owner_and_every_owner_its_fields() {
    let kind = catalog::by_kind("", "v1", "Pod").unwrap();
    let table = Table::builtin();
    let id = table.find("core.v1.Pod").unwrap();
    let mut dice = Dice(7);
    for round in 0..100 {
        let mut object: Option<Value> = None;
        for step in 0..8 {
            let name = ["a", "b", "c"][dice.roll(3) as usize];
            let config = configuration(&mut dice);
            let request = Apply {
                subject: Subject::Object(kind, ""),
                kind: ("v1", "Pod"),
                manager: name,
                force: true,
                now: "2026-01-01T00:00:00Z",
            };
            let mut next = apply(object.as_ref(), &config, request).unwrap();
            decode::normalize(&mut next, id, table).unwrap();
            let why = format!("round {round}, step {step}: {name} applies {config} to {object:?}");
            // The same again changes nothing.
            let mut again = apply(Some(&next), &config, Apply { force: false, ..request }).unwrap();
            decode::normalize(&mut again, id, table).unwrap();
            assert_eq!(again, next, "{why}");
            // The applier owns what it names.
            let owners = Managers::read(managers::of(&next).unwrap_or_default(), true).unwrap();
            let mine = owners.0.iter().find(|(m, _)| m.name == name).map(|(_, e)| e.fields.clone());
            assert_eq!(mine.unwrap_or_default(), fields(&config), "{why}");
            // What is there belongs to somebody, and what belongs to somebody is there.
            let mut owned = Set::new();
            for entry in owners.0.values() {
                set::union(&mut owned, &entry.fields);
            }
            let there = fields(&next);
            assert_eq!(Value::Object(set::difference(&there, &owned)), json!({}), "{why}\n{next}");
            assert_eq!(Value::Object(set::difference(&owned, &there)), json!({}), "{why}\n{next}");
            object = Some(next);
        }
    }
}
