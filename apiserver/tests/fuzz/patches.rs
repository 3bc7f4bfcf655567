//! Each patch language, on objects that fit their type.

use api_types::apply::configuration::{self, Apply};
use api_types::apply::update::Subject;
use api_types::catalog::{self, Kind};
use api_types::json::Parsed;
use api_types::patch::{json_patch, merge_patch, strategic};
use api_types::schema::Table;
use api_types::schema::decode::Reader;
use apiserver::request::body::{self, Media};
use apiserver::request::query::FieldValidation;
use serde_json::Value;

use crate::objects::{DEPLOYMENT, JSON_WORDS, POD, SERVICE};
use crate::runner::{Corpus, run, run_with};

/// What a patch of some kilobytes may add to an object.
const MAX_GROWTH: usize = 4 * body::MAX_BODY;

fn objects() -> Vec<(&'static Kind, Value)> {
    [("", "Pod", POD), ("apps", "Deployment", DEPLOYMENT), ("", "Service", SERVICE)]
        .map(|(group, kind, text)| {
            (catalog::by_kind(group, "v1", kind).unwrap(), serde_json::from_str(text).unwrap())
        })
        .to_vec()
}

/// As a PATCH would be read.
fn document(input: &[u8]) -> Option<Value> {
    body::parse(input, Media::Json).ok().map(|parsed| parsed.value)
}

/// What comes out is an object like another: decoding it may refuse it, no more.
fn fits(kind: &Kind, value: Value) -> Option<Value> {
    let parsed = Parsed { value, duplicates: Vec::new() };
    body::normalize(parsed, kind, FieldValidation::Ignore, Reader::Json).ok().map(|decoded| decoded.object)
}

const PATCHES: &[&[u8]] = &[
    br#"{"metadata":{"labels":{"a":null,"c":"d"}},"spec":{"containers":[{"name":"c","image":"j"}]}}"#,
    br#"{"spec":{"$setElementOrder/containers":[{"name":"d"},{"name":"c"}],"containers":[{"$patch":"delete","name":"c"}]}}"#,
    br#"{"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"},"template":{"spec":{"containers":[{"name":"d","image":"k"}]}}}}"#,
    br#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["x/y"],"finalizers":["z/z"]},"spec":{"$patch":"replace"}}"#,
    br#"{"spec":{"ports":[{"port":80,"$patch":"delete"},{"port":81}],"selector":{"$patch":"replace","x":"y"}}}"#,
];

#[test]
fn strategic_patches() {
    let (objects, table) = (objects(), Table::builtin());
    run(&Corpus { name: "strategic patches", seeds: PATCHES, words: JSON_WORDS }, |input| {
        let Some(patch) = document(input) else { return };
        for (kind, object) in &objects {
            let id = table.find(kind.type_name).unwrap();
            let mut once = object.clone();
            if strategic::apply(&mut once, &patch, id, table).is_err() {
                continue;
            }
            let mut again = object.clone();
            strategic::apply(&mut again, &patch, id, table).expect("what works once works again");
            assert_eq!(again, once);
            let size = once.to_string().len();
            assert!(size <= object.to_string().len() + 2 * patch.to_string().len() + 64, "{size} bytes");
            drop(fits(kind, once));
        }
    });
}

#[test]
fn merge_patches() {
    let objects = objects();
    run(&Corpus { name: "merge patches", seeds: PATCHES, words: JSON_WORDS }, |input| {
        let Some(patch) = document(input) else { return };
        for (kind, object) in &objects {
            let mut once = object.clone();
            merge_patch(&mut once, &patch);
            let mut twice = once.clone();
            merge_patch(&mut twice, &patch);
            assert_eq!(twice, once, "merging again changes nothing");
            drop(fits(kind, once));
        }
    });
}

#[test]
fn json_patches() {
    let seeds: &[&[u8]] = &[
        br#"[{"op":"add","path":"/spec/containers/-","value":{"name":"x"}},{"op":"remove","path":"/metadata/labels"}]"#,
        br#"[{"op":"test","path":"/metadata/name","value":"p"},{"op":"replace","path":"/spec/containers/0/image","value":1}]"#,
        br#"[{"op":"copy","from":"","path":"/a"},{"op":"copy","from":"","path":"/b"},{"op":"copy","from":"","path":"/c"}]"#,
        br#"[{"op":"move","from":"/spec/containers/0","path":"/spec/x"},{"op":"add","path":"/a~1b~0c","value":null}]"#,
    ];
    let words = [
        "{\"op\":\"copy\",\"from\":\"\",\"path\":\"/a\"},",
        "{\"op\":\"move\",\"from\":\"/spec\",\"path\":\"/spec/a\"},",
        "\"op\":\"add\"",
        "\"path\":\"/spec/containers/0\"",
        "/-",
        "/01",
        "/18446744073709551616",
        "~0",
        "~2",
        "\"value\":[]",
        "\"from\":",
        "\"\"",
        "{",
        "}",
        "[",
        "]",
        ",",
    ];
    let objects = objects();
    run(&Corpus { name: "json patches", seeds, words: &words }, |input| {
        let Some(patch) = document(input) else { return };
        for (kind, object) in &objects {
            let mut once = object.clone();
            let failed = json_patch(&mut once, &patch).is_err();
            let size = once.to_string().len();
            assert!(size <= object.to_string().len() + patch.to_string().len() + MAX_GROWTH, "{size} bytes");
            if !failed {
                drop(fits(kind, once));
            }
        }
    });
}

#[test]
fn applied_configurations() {
    let mut words = JSON_WORDS.to_vec();
    words.extend([
        "\"finalizers\":[\"a/b\",\"a/b\"]",
        "\"ports\":[{\"port\":80},{\"port\":80}]",
        "\"kind\":\"Pod\"",
    ]);
    let seeds: Vec<&[u8]> = [POD, DEPLOYMENT, SERVICE].iter().map(|text| text.as_bytes()).collect();
    let objects = objects();
    run_with(&Corpus { name: "applied configurations", seeds: &seeds, words: &words }, 1_500, |input| {
        let Some(config) = document(input) else { return };
        for (kind, live) in &objects {
            let version = kind.api_version();
            let ask = |manager, force| Apply {
                subject: Subject::Object(kind, ""),
                kind: (&version, kind.kind),
                manager,
                force,
                now: "2026-01-01T00:00:00Z",
            };
            let mut object = None;
            for manager in ["a", "b"] {
                let Ok(once) = configuration::apply(object.as_ref(), &config, ask(manager, true)) else {
                    continue;
                };
                let again = configuration::apply(Some(&once), &config, ask(manager, false));
                let again = again.unwrap_or_else(|s| panic!("applying again is refused: {}", s.message));
                assert_eq!(again, once, "applying the same again changes nothing");
                object = Some(once);
            }
            drop(configuration::apply(Some(live), &config, ask("a", false)));
            drop(object.and_then(|object| fits(kind, object)));
        }
    });
}
