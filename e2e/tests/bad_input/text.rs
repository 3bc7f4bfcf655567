//! Bodies that cannot be read, or not as they were meant.

use anyhow::{Context, Result, ensure};
use e2e::Plane;
use serde_json::json;

use crate::{config_map, deployment, expect};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: (&str, &str) = ("content-type", "application/json");
const YAML: (&str, &str) = ("content-type", "application/yaml");

pub fn malformed(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let table: [(&str, (&str, &str), &str); 6] = [
        ("cut short", JSON, r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"x""#),
        ("no JSON", JSON, "this is no JSON"),
        ("an array", JSON, "[1,2]"),
        ("empty", JSON, ""),
        ("bad indentation", YAML, "apiVersion: v1\nkind: ConfigMap\n metadata:\n  name: x\n"),
        ("not closed", YAML, "apiVersion: v1\nkind: \"ConfigMap\nmetadata: {name: x}\n"),
    ];
    for (what, header, body) in table {
        let answer = api.send("POST", MAPS, &[header], body.into())?;
        expect(what, &answer, 400, "BadRequest", &[])?;
    }
    // The kind is the URL's when none is said: what is missing is the name.
    let answer = api.send("POST", MAPS, &[JSON], b"{}".into())?;
    expect("empty object", &answer, 422, "Invalid", &["name or generateName is required"])?;
    let other = api.post(MAPS, &json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "x"}}))?;
    expect("another kind", &other, 400, "BadRequest", &["Secret", "ConfigMap"])?;
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let answer = api.send("POST", MAPS, &[JSON], deep.into())?;
    expect("deeply nested", &answer, 400, "BadRequest", &[])?;
    let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b]\n\
        d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: &f [*e,*e,*e,*e,*e,*e,*e,*e,*e]\n\
        g: [*f,*f,*f,*f,*f,*f,*f,*f,*f]\n";
    let answer = api.send("POST", MAPS, &[YAML], bomb.into())?;
    ensure!((400..500).contains(&answer.status), "a YAML bomb: {answer:?}");
    Ok(())
}

pub fn unknown_fields(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let mut body = deployment("unknown");
    body["spec"]["template"]["spec"]["containers"][0]["imagePullPolice"] = "Always".into();
    body["spec"]["replicaz"] = 3.into();
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let strict = api.post(&format!("{path}?fieldValidation=Strict"), &body)?;
    expect(
        "strict",
        &strict,
        400,
        "BadRequest",
        &[
            "strict decoding error: ",
            "unknown field \"spec.replicaz\"",
            "unknown field \"spec.template.spec.containers[0].imagePullPolice\"",
        ],
    )?;
    for (mode, warns) in [("Warn", true), ("Ignore", false)] {
        let answer = api.post(&format!("{path}?fieldValidation={mode}&dryRun=All"), &body)?;
        ensure!(answer.status == 201, "{mode}: {answer:?}");
        let told = answer.warnings.iter().any(|w| w.contains("unknown field \\\"spec.replicaz\\\""));
        ensure!(told == warns, "{mode}: warnings {:?}", answer.warnings);
        ensure!(answer.body["spec"].get("replicaz").is_none(), "{mode}: the field was kept");
    }
    let default = api.post(&format!("{path}?dryRun=All"), &body)?;
    ensure!(default.status == 201 && !default.warnings.is_empty(), "Warn is the default: {default:?}");
    let nonsense = api.post(&format!("{path}?fieldValidation=Maybe"), &body)?;
    expect("nonsense", &nonsense, 422, "Invalid", &["fieldValidation", "Unsupported value", "Maybe"])?;
    Ok(())
}

pub fn duplicate_fields(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let body =
        r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"twice"},"data":{"a":"1","a":"2"}}"#;
    let strict = api.send("POST", &format!("{MAPS}?fieldValidation=Strict"), &[JSON], body.into())?;
    expect("strict", &strict, 400, "BadRequest", &["duplicate field \"data.a\""])?;
    let warn = api.send("POST", &format!("{MAPS}?fieldValidation=Warn&dryRun=All"), &[JSON], body.into())?;
    ensure!(warn.status == 201, "{warn:?}");
    ensure!(warn.warnings.iter().any(|w| w.contains("duplicate field")), "{warn:?}");
    ensure!(warn.body["data"]["a"] == "2", "the last one wins: {warn:?}");
    Ok(())
}

pub fn kubectl_validates(p: &Plane) -> Result<()> {
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: seen\n  lables: {a: b}\ndata:\n  a: b\n";
    let error = p.k("apply -f -")?.stdin(yaml).fails()?;
    ensure!(error.contains("unknown field \"metadata.lables\""), "{error}");
    let warned = p.k("apply --validate=warn --dry-run=server -f -")?.stdin(yaml).run()?;
    ensure!(warned.code == 0 && warned.stderr.contains("Warning: unknown field"), "{warned}");
    let ignored = p.k("apply --validate=ignore --dry-run=server -f -")?.stdin(yaml).run()?;
    ensure!(ignored.code == 0 && !ignored.stderr.contains("unknown field"), "{ignored}");
    let error = p.k("apply -f -")?.stdin("apiVersion: v1\nkind: [oops\n").fails()?;
    ensure!(error.contains("error parsing STDIN") || error.contains("error converting YAML"), "{error}");
    let error = p.k("apply -f -")?.stdin("apiVersion: v1\nkind: Nothing\nmetadata: {name: x}\n").fails()?;
    ensure!(error.contains("no matches for kind \"Nothing\" in version \"v1\""), "{error}");
    let error = p.k("get nothings")?.fails()?;
    ensure!(error.contains("the server doesn't have a resource type \"nothings\""), "{error}");
    Ok(())
}

pub fn wrong_types(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let mut text = deployment("typed");
    text["spec"]["replicas"] = "three".into();
    let mut list = config_map("typed");
    list["data"] = json!(["a"]);
    let mut number = config_map("typed");
    number["data"] = json!({"a": 1});
    let mut labels = config_map("typed");
    labels["metadata"]["labels"] = json!({"a": true});
    let deployments = "/apis/apps/v1/namespaces/default/deployments";
    for (what, path, body) in [
        ("text for a number", deployments, text),
        ("a list for a map", MAPS, list),
        ("a number for text", MAPS, number),
        ("a truth value for text", MAPS, labels),
    ] {
        let answer = api.post(path, &body)?;
        expect(what, &answer, 400, "BadRequest", &["cannot unmarshal"]).context(what)?;
    }
    let mut quantity = crate::pod("quantity");
    quantity["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "lots"}});
    let answer = api.post("/api/v1/namespaces/default/pods", &quantity)?;
    expect("no quantity", &answer, 400, "BadRequest", &["quantities must match the regular expression"])?;
    Ok(())
}

pub fn oversize(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let mut big = config_map("big");
    big["data"] = json!({"a": "x".repeat(1024 * 1024 + 1)});
    let answer = api.post(MAPS, &big)?;
    expect("a map of more than 1 MiB", &answer, 422, "Invalid", &["Too long"])?;
    let body = format!(
        r#"{{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"huge"}},"data":{{"a":"{}"}}}}"#,
        "x".repeat(4 * 1024 * 1024)
    );
    let answer = api.send("POST", MAPS, &[JSON], body.into())?;
    expect("a body of more than 3 MiB", &answer, 413, "RequestEntityTooLarge", &["limit is 3145728"])?;
    Ok(())
}

pub fn media_types(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let answer = api.send("POST", MAPS, &[("content-type", "text/css")], b"a{}".into())?;
    expect("a style sheet", &answer, 415, "UnsupportedMediaType", &["application/json"])?;
    let path = format!("{MAPS}/kube-root-ca.crt");
    let answer = api.send("PATCH", &path, &[("content-type", "application/json")], b"{}".into())?;
    expect("a patch of no kind", &answer, 415, "UnsupportedMediaType", &["application/merge-patch+json"])?;
    let answer = api.send("GET", MAPS, &[("accept", "image/png")], Vec::new())?;
    ensure!(answer.status == 406, "a picture: {answer:?}");
    Ok(())
}

pub fn options(p: &Plane) -> Result<()> {
    let api = p.api()?;
    let answer = api.get(&format!("{MAPS}?labelSelector=a%20in%20("))?;
    expect("label selector", &answer, 400, "BadRequest", &[])?;
    let answer = api.get(&format!("{MAPS}?fieldSelector=spec.nothing%3Dx"))?;
    expect("field selector", &answer, 400, "BadRequest", &["spec.nothing"])?;
    let answer = api.get(&format!("{MAPS}?limit=many"))?;
    expect("limit", &answer, 400, "BadRequest", &[])?;
    let answer = api.get(&format!("{MAPS}?continue=nonsense&limit=5"))?;
    expect("continue", &answer, 400, "BadRequest", &["continue"])?;
    let answer = api.get(&format!("{MAPS}?resourceVersion=abc"))?;
    ensure!((400..500).contains(&answer.status), "resource version: {answer:?}");
    let answer = api.post(&format!("{MAPS}?dryRun=Some"), &config_map("dry"))?;
    expect("dryRun", &answer, 422, "Invalid", &["dryRun"])?;
    Ok(())
}
