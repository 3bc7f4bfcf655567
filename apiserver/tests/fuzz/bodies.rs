//! Bodies in JSON, YAML and protobuf.

use api_types::catalog;
use apiserver::request::body::{self, Media};
use apiserver::request::query::FieldValidation;

use crate::objects::{DEPLOYMENT, JSON_WORDS, POD, SERVICE};
use crate::runner::{Corpus, run};

/// What an object may grow to when it is read: YAML's aliases repeat.
const MAX_EXPANDED: usize = 8 * body::MAX_BODY;

/// A body that is read is read the same again from what it was read as, and fits its type from then on.
fn read(input: &[u8], media: Media) {
    let Ok(parsed) = body::parse(input, media) else { return };
    let text = parsed.value.to_string();
    let bound = if media == Media::Yaml { MAX_EXPANDED } else { 64 * input.len() + 4_096 };
    assert!(text.len() <= bound, "{} bytes became {}", input.len(), text.len());
    let again = body::parse(text.as_bytes(), Media::Json).expect("what we print we read");
    assert_eq!(again.value, parsed.value, "{text}");
    assert!(again.duplicates.is_empty());
    for (group, version, kind) in [("", "v1", "Pod"), ("apps", "v1", "Deployment"), ("", "v1", "Service")] {
        let kind = catalog::by_kind(group, version, kind).unwrap();
        let Ok(once) = body::decode(text.as_bytes(), Media::Json, kind, FieldValidation::Ignore) else {
            continue;
        };
        let fitted = once.object.to_string();
        let twice = body::decode(fitted.as_bytes(), Media::Json, kind, FieldValidation::Strict)
            .unwrap_or_else(|s| panic!("{fitted} was fitted and is refused: {}", s.message));
        assert_eq!(twice.object, once.object, "{fitted}");
    }
}

#[test]
fn json() {
    let seeds: &[&[u8]] =
        &[POD.as_bytes(), DEPLOYMENT.as_bytes(), SERVICE.as_bytes(), b"null", b"{\"a\":1,\"a\":2}"];
    run(&Corpus { name: "json", seeds, words: JSON_WORDS }, |input| read(input, Media::Json));
}

#[test]
fn yaml() {
    let seeds: &[&[u8]] = &[
        b"apiVersion: v1\nkind: Pod\nmetadata:\n  name: p\n  labels: &l {a: b}\nspec:\n  nodeSelector: *l\n  containers:\n  - name: c\n    image: i\n    args: [\"a\", 'b', 0o17, 0x1f, 1e3, ~, yes]\n",
        b"a: &a [x, x, x, x]\nb: &b [*a, *a, *a, *a]\nc: &c [*b, *b, *b, *b]\nd: [*c, *c, *c, *c]\n",
        b"kind: Service\napiVersion: v1\nspec:\n  ports:\n  - {port: 80}\n---\nkind: x\n",
        b"data:\n  text: |-\n    line\n     two\n  fold: >+\n    a\n    b\n\n  ? complex\n  : value\n  <<: {m: n}\n",
        POD.as_bytes(),
    ];
    let words = [
        "- ",
        ": ",
        "&a ",
        "*a",
        "*a, ",
        "|\n  ",
        ">-\n",
        "!!str ",
        "!!binary ",
        "<<: *a",
        "---\n",
        "...\n",
        "? ",
        "\n  ",
        "[",
        "]",
        "{",
        "}",
        "~",
        ".inf",
        "%YAML 1.1\n",
    ];
    run(&Corpus { name: "yaml", seeds, words: &words }, |input| read(input, Media::Yaml));
}

#[test]
fn protobuf() {
    // Unknown{typeMeta{apiVersion: v1, kind: Namespace|Pod}, raw: Object}
    let namespace =
        b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09Namespace\x12\x0b\x0a\x05\x0a\x01n\x12\x00\x12\x00\x1a\x00";
    let pod = b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x19\x0a\x05\x0a\x01p\x12\x00\x12\x0c\x12\x0a\x0a\x01c\x12\x01i\x2a\x02ab\x1a\x00\x1a\x00\"\x00";
    let deployment = b"k8s\0\x0a\x15\x0a\x07apps/v1\x12\x0aDeployment\x12\x0b\x0a\x05\x0a\x01n\x12\x00\x12\x02\x08\x03\x1a\x00";
    for whole in [&namespace[..], pod, deployment] {
        body::parse(whole, Media::Protobuf).unwrap_or_else(|e| panic!("{}: {e}", whole.escape_ascii()));
    }
    let seeds: &[&[u8]] = &[namespace, pod, deployment, b"k8s\0"];
    let words = [
        "\u{a}\u{2}v1",
        "\u{12}\u{3}Pod",
        "\u{12}\u{0}",
        "\u{8}\u{1}",
        "\u{7f}",
        "k8s\0",
        "\u{12}\u{9}Namespace",
    ];
    run(&Corpus { name: "protobuf", seeds, words: &words }, |input| read(input, Media::Protobuf));
}

#[test]
fn a_few_bytes_of_yaml_do_not_become_gigabytes() {
    let scalar = "x".repeat(100_000);
    let aliases = "*a,".repeat(20_000);
    for text in [
        format!("a: &a {scalar}\nb: [{aliases}]\n"),
        format!("a: &a [{}]\nb: [{aliases}]\n", "x,".repeat(50_000)),
        format!("a: &a {{{scalar}: 1}}\nb: [{aliases}]\n"),
    ] {
        let read = body::parse(text.as_bytes(), Media::Yaml).map(|p| p.value.to_string().len());
        assert!(read.as_ref().is_err() || read.as_ref().is_ok_and(|n| *n <= MAX_EXPANDED), "{read:?}");
    }
}
