//! The small languages: selectors, quantities, schedules, field sets.

use std::collections::BTreeMap;

use api_types::apply::element::canonical_set;
use api_types::cron::Schedule;
use api_types::quantity::Quantity;
use api_types::selector::{FieldSelector, Selector};
use apiserver::request::options::{self, Manner};
use apiserver::request::query::Query;
use jiff::civil::date;
use jiff::tz::TimeZone;

use crate::runner::{Corpus, run};

fn text(input: &[u8]) -> Option<&str> {
    std::str::from_utf8(input).ok()
}

#[test]
fn label_selectors() {
    let seeds: &[&[u8]] =
        &[b"a=b,c!=d", b"a in (b,c),!d,e", b"x notin (a),y>3,z<5", b"example.com/a==b", b"a in ()", b"a,"];
    let words = ["=", "==", "!=", " in ", " notin ", "(", ")", ",", "!", ">", "<", "a", "b.c/d", "-", "_"];
    let labels: BTreeMap<String, String> = [("a", "b"), ("y", "4")].map(|(k, v)| (k.into(), v.into())).into();
    run(&Corpus { name: "label selectors", seeds, words: &words }, |input| {
        let Some(text) = text(input) else { return };
        let Ok(selector) = Selector::parse(text) else { return };
        let printed = selector.to_string();
        let again =
            Selector::parse(&printed).unwrap_or_else(|e| panic!("{printed:?} is not read again: {e}"));
        assert_eq!(again.to_string(), printed, "printing is stable");
        assert_eq!(again.matches(&labels), selector.matches(&labels), "{printed:?} selects something else");
    });
}

#[test]
fn field_selectors() {
    let seeds: &[&[u8]] = &[b"metadata.name=a,spec.nodeName!=b", b"a==b", b"a=\\,b\\=", b"status.phase="];
    let words = ["=", "==", "!=", ",", "\\", "\\,", "\\=", "metadata.name", "spec.nodeName"];
    run(&Corpus { name: "field selectors", seeds, words: &words }, |input| {
        let Some(text) = text(input) else { return };
        let Ok(selector) = FieldSelector::parse(text) else { return };
        let escape = |s: &str| s.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
        let terms = selector.terms.iter();
        let printed: Vec<_> = terms
            .map(|(f, v, equal)| format!("{f}{}{}", if *equal { "=" } else { "!=" }, escape(v)))
            .collect();
        let again = FieldSelector::parse(&printed.join(",")).unwrap_or_else(|e| panic!("{printed:?}: {e}"));
        assert_eq!(again.terms, selector.terms);
        assert!(selector.is_everything() == selector.terms.is_empty());
    });
}

#[test]
fn queries() {
    let seeds: &[&[u8]] =
        &[b"watch=true&limit=5&labelSelector=a%3Db", b"a&a=&&=b", b"dryRun=All&fieldManager=%F0%9F"];
    let words = ["&", "=", "%", "%00", "+", "resourceVersion=", "labelSelector=", "limit=", "true"];
    run(&Corpus { name: "queries", seeds, words: &words }, |input| {
        let Some(text) = text(input) else { return };
        let query = Query::parse(Some(text));
        assert!(query.flag("watch") == (query.optional_flag("watch") == Some(true)));
        if let Ok(Some(version)) = query.resource_version() {
            assert_eq!(query.get("resourceVersion").and_then(|v| v.parse().ok()), Some(version));
        }
        for number in ["limit", "timeoutSeconds"] {
            drop(query.number(number));
        }
        drop((query.label_selector(), query.field_selector(), options::list(&query), options::watch(&query)));
        // What is written for a trial is asked for by a word that nobody refuses.
        if options::write(&query, "CreateOptions", Manner::Object).is_ok() {
            assert_eq!(query.dry_run(), query.all("dryRun").iter().any(|v| !v.is_empty()));
        }
    });
}

#[test]
fn quantities() {
    let seeds: &[&[u8]] =
        &[b"1", b"100m", b"1.5Gi", b"-2e3", b"1E", b"12E6", b"0.000000001", b"9223372036854775807", b"+1n"];
    let words = [
        "n",
        "u",
        "m",
        "k",
        "M",
        "G",
        "T",
        "P",
        "E",
        "Ki",
        "Mi",
        "Gi",
        "Ei",
        "e",
        "E+",
        "-",
        "+",
        ".",
        "0",
        "9999999999",
    ];
    run(&Corpus { name: "quantities", seeds, words: &words }, |input| {
        let Some(text) = text(input) else { return };
        let Ok(quantity) = text.parse::<Quantity>() else { return };
        let printed = quantity.to_string();
        let again: Quantity = printed.parse().unwrap_or_else(|_| panic!("{printed:?} is not read again"));
        assert_eq!(again, quantity, "{printed:?} is another amount");
        assert_eq!(again.to_string(), printed, "the canonical form is stable");
        assert!(printed.len() <= 48, "{printed:?}");
        assert_eq!((quantity.value(), quantity.milli_value()), (again.value(), again.milli_value()));
        assert!(quantity.is_negative() || quantity + again >= quantity, "adding saturates");
        assert!((quantity - again).is_zero());
    });
}

#[test]
fn schedules() {
    let seeds: &[&[u8]] = &[
        b"*/5 * * * *",
        b"0 0 29 2 *",
        b"@daily",
        b"1-5,7 0-23/2 1 JAN-DEC MON",
        b"0 0 ? * 7",
        b"@every 1h30m",
        b"TZ=UTC 0 0 * * *",
    ];
    let words = [
        "*",
        "/",
        "-",
        ",",
        "?",
        " ",
        "@every ",
        "@hourly",
        "MON",
        "jan",
        "59",
        "60",
        "TZ=Europe/Berlin ",
        "L",
        "#",
    ];
    let start = date(2024, 2, 28).at(23, 59, 30, 7).to_zoned(TimeZone::UTC).unwrap();
    run(&Corpus { name: "schedules", seeds, words: &words }, |input| {
        let Some(schedule) = text(input).and_then(|t| Schedule::parse(t).ok()) else { return };
        let mut at = start.clone();
        for _ in 0..3 {
            let Some(next) = schedule.next(&at) else { return };
            assert!(next > at, "{next} does not follow {at}");
            at = next;
        }
    });
}

#[test]
fn field_sets() {
    let seeds: &[&[u8]] = &[
        br#"{"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{}}}}}"#,
        br#"{"f:metadata":{"f:finalizers":{"v:\"x/y\"":{}}},"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{}}}}"#,
        br#"{"i:0":{},"v:1.0":{},"v:null":{},"k:{}":{}}"#,
    ];
    let words = [
        "\"f:a\":{}",
        "\".\":{}",
        "\"v:1\":{}",
        "\"k:{\\\"a\\\":1}\":{}",
        "\"i:3\":{}",
        "{",
        "}",
        ",",
        "f:",
        "v:",
        "k:",
        "null",
    ];
    run(&Corpus { name: "field sets", seeds, words: &words }, |input| {
        let Ok(value) = serde_json::from_slice(input) else { return };
        let Ok(set) = canonical_set(&value) else { return };
        let printed = serde_json::to_string(&set).unwrap();
        let again =
            canonical_set(&serde_json::from_str(&printed).unwrap()).expect("the canonical form is one");
        assert_eq!(again, set, "{printed} is not stable");
        assert!(printed.len() <= 16 * input.len() + 64);
    });
}
