//! Parameters of operations.

use serde_json::{Value, json};

use super::Dialect;

/// A parameter: name, where it is, type, what it is for.
type Parameter = (&'static str, Place, &'static str, &'static str);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Query,
}
use Place::{Path, Query};

const ALL: &[Parameter] = &[
    (
        "allowWatchBookmarks",
        Query,
        "boolean",
        "Whether a watch may send bookmarks: events that tell its version only.",
    ),
    (
        "command",
        Query,
        "string",
        "The command to run and its arguments, one a parameter; not run in a shell.",
    ),
    ("container", Query, "string", "The container; may be left out where the pod has one only."),
    ("continue", Query, "string", "The token that came with the page before: the list goes on behind it."),
    ("dryRun", Query, "string", "`All`: everything is done but nothing is stored."),
    (
        "fieldManager",
        Query,
        "string",
        "Who owns the fields that this changes; at most 128 printable characters.",
    ),
    ("fieldSelector", Query, "string", "Only objects whose fields are so."),
    (
        "fieldValidation",
        Query,
        "string",
        "What becomes of unknown and repeated fields: Ignore, Warn (the default) or Strict.",
    ),
    ("follow", Query, "boolean", "Whether the log is followed as it grows."),
    ("force", Query, "boolean", "An apply takes fields over that others own. Not for other patches."),
    ("gracePeriodSeconds", Query, "integer", "How long the object has to end; zero is at once."),
    (
        "insecureSkipTLSVerifyBackend",
        Query,
        "boolean",
        "The node's certificate is not verified: the log may be anybody's.",
    ),
    ("labelSelector", Query, "string", "Only objects whose labels are so."),
    ("limit", Query, "integer", "How many objects a page has at most; the answer tells how to go on."),
    ("limitBytes", Query, "integer", "How much of the log is sent at most."),
    ("name", Path, "string", "Its name."),
    ("namespace", Path, "string", "Its namespace."),
    ("orphanDependents", Query, "boolean", "Deprecated: see propagationPolicy."),
    ("path", Query, "string", "The path that is asked for."),
    ("ports", Query, "integer", "The ports to forward, with WebSockets."),
    ("pretty", Query, "string", "Accepted and without effect: answers are never indented."),
    ("previous", Query, "boolean", "The log of the container that ended before."),
    (
        "propagationPolicy",
        Query,
        "string",
        "What becomes of its dependents: Orphan, Background or Foreground.",
    ),
    ("resourceVersion", Query, "string", "The version a read is about; see resourceVersionMatch."),
    ("resourceVersionMatch", Query, "string", "How a list reads resourceVersion: Exact or NotOlderThan."),
    (
        "sendInitialEvents",
        Query,
        "boolean",
        "A watch begins with what there is, and tells by a bookmark where that ends.",
    ),
    ("sinceSeconds", Query, "integer", "Only what was written in the last so many seconds."),
    ("stderr", Query, "boolean", "Whether the standard error is attached."),
    ("stdin", Query, "boolean", "Whether the standard input is attached."),
    ("stdout", Query, "boolean", "Whether the standard output is attached."),
    ("stream", Query, "string", "Which stream of the log: All, Stdout or Stderr."),
    ("tailLines", Query, "integer", "Only so many lines from the end."),
    ("timeoutSeconds", Query, "integer", "How long a list or a watch may take."),
    ("timestamps", Query, "boolean", "Whether each line begins with the time it was written at."),
    ("tty", Query, "boolean", "Whether a terminal is made for it."),
    ("watch", Query, "boolean", "Changes as they happen instead of a list."),
];

/// What a list and a watch take.
pub const LIST: &[&str] = &[
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
];
/// What a deletion of many takes.
pub const DELETE_COLLECTION: &[&str] = &[
    "continue",
    "dryRun",
    "fieldSelector",
    "gracePeriodSeconds",
    "labelSelector",
    "limit",
    "orphanDependents",
    "propagationPolicy",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
];
/// What a deletion takes.
pub const DELETE: &[&str] = &["dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy"];
/// What a POST and a PUT take.
pub const WRITE: &[&str] = &["dryRun", "fieldManager", "fieldValidation"];
/// What a PATCH takes.
pub const PATCH: &[&str] = &["dryRun", "fieldManager", "fieldValidation", "force"];

/// One parameter as the documents have it. Names that are not in the table are parts of a path.
pub fn parameter(name: &str, dialect: Dialect) -> Value {
    let known = ALL.iter().find(|(n, ..)| *n == name);
    let (place, ty, description) = known.map_or((Path, "string", ""), |(_, place, ty, d)| (*place, *ty, *d));
    described(name, place, ty, description, dialect)
}

/// The rest of a path that is proxied to.
pub fn rest_of_path(dialect: Dialect) -> Value {
    described("path", Path, "string", "The path that is asked for.", dialect)
}

fn described(name: &str, place: Place, ty: &str, description: &str, dialect: Dialect) -> Value {
    let mut p = json!({"name": name, "in": if place == Path { "path" } else { "query" }, "uniqueItems": true,
        "description": description});
    match dialect {
        Dialect::V2 => p["type"] = ty.into(),
        Dialect::V3 => p["schema"] = json!({"type": ty, "uniqueItems": true}),
    }
    if place == Path {
        p["required"] = true.into();
    }
    p
}

/// Several.
pub fn parameters(names: &[&str], dialect: Dialect) -> Vec<Value> {
    names.iter().map(|name| parameter(name, dialect)).collect()
}
