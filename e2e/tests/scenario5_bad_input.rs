//! Scenario 5: what upstream answers to bad input, and that the server is none the worse for it.
//!
//! Runs on a control plane alone.

mod bad_input {
    pub mod identity;
    pub mod objects;
    pub mod text;
}

use std::process::ExitCode;

use anyhow::{Result, ensure};
use e2e::Plane;
use e2e::client::Answer;
use e2e::suite::{self, alone, test};
use serde_json::{Value, json};

fn main() -> ExitCode {
    suite::run(vec![
        test("malformed_json_and_yaml", bad_input::text::malformed),
        test("unknown_fields_strict_warn_ignore", bad_input::text::unknown_fields),
        test("duplicate_fields", bad_input::text::duplicate_fields),
        test("kubectl_validates", bad_input::text::kubectl_validates),
        test("wrong_types", bad_input::text::wrong_types),
        test("oversize_bodies", bad_input::text::oversize),
        test("media_types", bad_input::text::media_types),
        test("bad_options", bad_input::text::options),
        test("invalid_names", bad_input::objects::names),
        test("invalid_objects", bad_input::objects::invalid),
        test("immutable_fields", bad_input::objects::immutable),
        test("conflicts", bad_input::objects::conflicts),
        test("missing_things", bad_input::objects::missing),
        test("unauthenticated", bad_input::identity::unauthenticated),
        test("unauthorised", bad_input::identity::unauthorised),
        alone("server_is_healthy", healthy),
    ])
}

fn healthy(p: &Plane) -> Result<()> {
    let api = p.api()?;
    for path in ["/livez", "/readyz", "/healthz"] {
        let answer = api.get(path)?;
        ensure!(answer.status == 200, "{path}: {answer:?}");
    }
    let made = api.post("/api/v1/namespaces/default/configmaps", &config_map("still-well"))?.success()?;
    ensure!(made.status == 201, "{made:?}");
    let listed = api.get("/api/v1/namespaces/default/configmaps")?.success()?;
    ensure!(listed.body["items"].as_array().is_some_and(|i| !i.is_empty()), "{listed:?}");
    Ok(())
}

/// A small valid object.
fn config_map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": "b"}})
}

/// A small valid deployment.
fn deployment(name: &str) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": 0, "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
}

/// A small valid pod.
fn pod(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

/// Checks a Status: code, reason, and parts of the message.
fn expect(what: &str, answer: &Answer, code: u16, reason: &str, message: &[&str]) -> Result<()> {
    let said = answer.text("/message");
    ensure!(answer.status == code, "{what}: status {} instead of {code}: {}", answer.status, answer.body);
    ensure!(
        answer.text("/kind") == "Status" && answer.text("/status") == "Failure",
        "{what}: {}",
        answer.body
    );
    ensure!(answer.body["code"] == code, "{what}: code in the body: {}", answer.body);
    ensure!(
        answer.text("/reason") == reason,
        "{what}: reason {:?} instead of {reason:?}",
        answer.text("/reason")
    );
    for part in message {
        ensure!(said.contains(part), "{what}: the message\n  {said}\ndoes not contain\n  {part}");
    }
    Ok(())
}
