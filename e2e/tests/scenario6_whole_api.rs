//! Scenario 6: kubectl's read and write commands against every kind of the API. Runs on a control plane alone.

use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use e2e::Plane;
use e2e::kubectl::Run;
use e2e::suite::{self, alone, test};

fn main() -> ExitCode {
    suite::run(vec![
        alone("every_kind_is_read_and_written", every_kind),
        test("applied_on_the_server", applied_on_the_server),
        test("made_in_words", made_in_words),
        test("tokens_and_rights", tokens_and_rights),
        test("certificates_are_asked_for", certificates),
        test("nodes_are_drained", drained),
        test("explained", explained),
    ])
}

/// Kinds of which kubectl sends a list again and again that the server completes, or that is not kept as it is sent;
/// with upstream, too, it calls them configured every time.
const COMPLETED: [&str; 10] = [
    "secret/",
    "limitrange/",
    "endpoints/",
    "endpointslice.",
    "validatingwebhookconfiguration.",
    "mutatingwebhookconfiguration.",
    "validatingadmissionpolicy.",
    "mutatingadmissionpolicy.",
    "resourceclaim.",
    "resourceclaimtemplate.",
];

const KINDS: &str = include_str!("whole_api/kinds.yaml");

fn with_kinds(p: &Plane, args: &str) -> Result<Run> {
    Ok(p.k(args)?.stdin(KINDS).limit(120))
}

/// The objects of the file, as `kind.group/name`.
fn objects(p: &Plane) -> Result<Vec<String>> {
    Ok(with_kinds(p, "get -f - -o name")?.ok()?.lines().map(str::to_owned).collect())
}

fn every_kind(p: &Plane) -> Result<()> {
    let count = KINDS.split("\n---\n").count();
    let said = with_kinds(p, "apply -f -")?.ok()?;
    ensure!(said.lines().filter(|l| l.ends_with(" created")).count() == count, "{said}");
    let all = objects(p)?;
    ensure!(all.len() == count, "{} of {count}: {all:?}", all.len());
    // A kind that is served and not in the file is not tried: it must be added.
    let listed = p.k("api-resources --verbs=create,get,list,delete -o name")?.ok()?;
    for resource in listed.lines().filter(|r| !r.is_empty()) {
        let out = p.k(&format!("get {resource} -A -o name"))?.ok()?;
        // Another test makes these.
        let elsewhere = resource == "certificatesigningrequests.certificates.k8s.io";
        ensure!(!out.is_empty() || elsewhere, "no object of {resource}");
    }
    let said = with_kinds(p, "apply -f -")?.ok()?;
    let changed: Vec<&str> = said
        .lines()
        .filter(|l| !l.ends_with(" unchanged") && !COMPLETED.iter().any(|k| l.starts_with(k)))
        .collect();
    ensure!(changed.is_empty(), "a second apply changes {changed:?}");
    with_kinds(p, "diff -f -")?.ok().context("diff after apply")?;
    for form in
        ["wide", "yaml", "json", "jsonpath={.items[*].metadata.uid}", "custom-columns=N:.metadata.name"]
    {
        let out = with_kinds(p, &format!("get -f - -o {form}"))?.ok()?;
        ensure!(out.contains("it") || out.len() > count * 36, "{form}: {out}");
    }
    let described = with_kinds(p, "describe -f -")?.ok()?;
    ensure!(described.matches("\nName:").count() + 1 >= count / 2, "{described}");
    for verb in ["label", "annotate"] {
        let said = with_kinds(p, &format!("{verb} -f - tried=yes"))?.ok()?;
        ensure!(said.lines().count() == count, "{verb}: {said}");
    }
    let labelled =
        with_kinds(p, "get -f - -o jsonpath={range.items[*]}{.metadata.labels.tried},{end}")?.ok()?;
    ensure!(labelled.matches("yes,").count() == count, "{labelled}");
    let other = with_kinds(p, "apply -f - --server-side --field-manager=other --force-conflicts")?.ok()?;
    ensure!(other.lines().count() == count, "{other}");
    with_kinds(p, "delete -f - --ignore-not-found --wait=false")?.ok()?;
    e2e::eventually("everything is gone", e2e::wait::seconds(60), || {
        let left = with_kinds(p, "get -f - --ignore-not-found -o name")?.run()?.stdout;
        ensure!(left.trim().is_empty(), "{left}");
        Ok(())
    })
}

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: applied}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: applied}}
  template:
    metadata: {labels: {app: applied}}
    spec:
      nodeSelector: {no: such}
      containers: [{name: c, image: IMAGE, ports: [{containerPort: 80}]}]
";

fn applied_on_the_server(p: &Plane) -> Result<()> {
    let text = |replicas: &str, image: &str| DEPLOYMENT.replace("REPLICAS", replicas).replace("IMAGE", image);
    let apply = |manager: &str, text: String, more: &str| -> Result<Run> {
        let args = format!("apply --server-side --field-manager={manager} -f - {more}");
        Ok(p.k(&args)?.stdin(text))
    };
    let said = apply("first", text("1", "a"), "")?.ok()?;
    ensure!(said.contains("deployment.apps/applied serverside-applied"), "{said}");
    let refused = apply("second", text("2", "a"), "")?.fails()?;
    for part in
        ["Apply failed with 1 conflict: conflict with \"first\"", ".spec.replicas", "--force-conflicts"]
    {
        ensure!(refused.contains(part), "{part:?} is not in: {refused}");
    }
    apply("second", text("2", "a"), "--force-conflicts")?.ok()?;
    let managers = p.k("get deployment applied -o yaml --show-managed-fields")?.ok()?;
    for part in ["manager: first", "manager: second", "f:replicas", "k:{\"name\":\"c\"}"] {
        ensure!(managers.contains(part), "{part:?} is not in: {managers}");
    }
    // What its last owner no longer applies is gone.
    let without = text("2", "a").replace(", ports: [{containerPort: 80}]", "");
    apply("first", without.clone().replace("  replicas: 2\n", ""), "")?.ok()?;
    apply("second", without, "")?.ok()?;
    let ports = p.k("get deployment applied -o jsonpath={.spec.template.spec.containers[0].ports}")?.ok()?;
    ensure!(ports.is_empty(), "{ports}");
    // From client-side to server-side apply: no conflict with oneself.
    p.k("apply -f -")?.stdin(text("1", "b").replace("applied", "migrated")).ok()?;
    let migrated = text("3", "b").replace("applied", "migrated");
    p.k("apply --server-side -f -")?.stdin(migrated).ok().context("migration")?;
    let replicas = p.k("get deployment migrated -o jsonpath={.spec.replicas}")?.ok()?;
    ensure!(replicas == "3", "{replicas}");
    p.k("delete deployment applied migrated")?.ok()?;
    Ok(())
}

fn made_in_words(p: &Plane) -> Result<()> {
    p.k("create namespace words")?.ok()?;
    for (command, shown) in [
        ("create configmap c --from-literal=a=b", "configmap/c created"),
        ("create secret generic s --from-literal=a=b", "secret/s created"),
        ("create secret docker-registry r --docker-username=u --docker-password=p", "secret/r created"),
        ("create serviceaccount a", "serviceaccount/a created"),
        ("create deployment d --image=i --replicas=0", "deployment.apps/d created"),
        ("create job j --image=i", "job.batch/j created"),
        ("create cronjob j --image=i --schedule=@daily", "cronjob.batch/j created"),
        ("create ingress g --rule=a.example/*=s:80", "ingress.networking.k8s.io/g created"),
        (
            "create poddisruptionbudget b --selector=app=d --min-available=1",
            "poddisruptionbudget.policy/b created",
        ),
        ("create quota q --hard=pods=9", "resourcequota/q created"),
        ("create priorityclass words --value=5", "priorityclass.scheduling.k8s.io/words created"),
        ("create role r --verb=get --resource=pods", "role.rbac.authorization.k8s.io/r created"),
        (
            "create rolebinding b --role=r --serviceaccount=words:a",
            "rolebinding.rbac.authorization.k8s.io/b created",
        ),
        (
            "create clusterrole words --verb=get --resource=pods",
            "clusterrole.rbac.authorization.k8s.io/words created",
        ),
        (
            "create clusterrolebinding words --clusterrole=words --user=u",
            "clusterrolebinding.rbac.authorization.k8s.io/words created",
        ),
        ("create service clusterip p --tcp=80", "service/p created"),
        ("create service externalname e --external-name=a.example", "service/e created"),
        ("expose deployment d --port=80", "service/d exposed"),
        ("autoscale deployment d --max=3 --cpu=50%", "horizontalpodautoscaler.autoscaling/d autoscaled"),
        ("set image deployment/d i=j", "deployment.apps/d image updated"),
        ("set env deployment/d A=b", "deployment.apps/d env updated"),
        ("set resources deployment/d --limits=cpu=1", "deployment.apps/d resource requirements updated"),
        ("set serviceaccount deployment/d a", "deployment.apps/d serviceaccount updated"),
        ("set selector service/p app=d", "service/p selector updated"),
        ("scale deployment/d --replicas=0", "deployment.apps/d scaled"),
        ("rollout pause deployment/d", "deployment.apps/d paused"),
        ("rollout resume deployment/d", "deployment.apps/d resumed"),
        ("rollout history deployment/d", "REVISION"),
        ("patch configmap c -p {\"data\":{\"a\":\"c\"}}", "configmap/c patched"),
        (
            "patch configmap c --type=json -p [{\"op\":\"remove\",\"path\":\"/data/a\"}]",
            "configmap/c patched",
        ),
        ("run r --image=i", "pod/r created"),
        ("delete pod r --grace-period=0 --force", "pod \"r\" force deleted"),
        ("get all", "deployment.apps/d"),
        ("get events", ""),
        ("delete namespace words --wait=false", "deleted"),
    ] {
        let said = p.k(&format!("-n words {command}"))?.ok().with_context(|| command.to_owned())?;
        ensure!(said.contains(shown), "{command}: {said}");
    }
    p.k("delete priorityclass,clusterrole,clusterrolebinding words")?.ok()?;
    let replaced = p.k("create configmap re --from-literal=a=b -o yaml")?.ok()?;
    p.k("replace -f -")?.stdin(replaced.replace("a: b", "a: c")).ok()?;
    let stale = p.k("replace -f -")?.stdin(replaced.replace("a: b", "a: d")).fails()?;
    ensure!(stale.contains("the object has been modified"), "{stale}");
    p.k("delete configmap re")?.ok()?;
    Ok(())
}

fn tokens_and_rights(p: &Plane) -> Result<()> {
    p.k("create serviceaccount teller")?.ok()?;
    let token = p.k("create token teller --duration=15m")?.ok()?;
    let bearer = p.api()?.with_token(Some(token.trim()))?;
    let who = bearer.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &serde_json::json!({}))?;
    ensure!(who.text("/status/userInfo/username") == "system:serviceaccount:default:teller", "{who:?}");
    ensure!(bearer.get("/api/v1/namespaces/default/secrets")?.status == 403);
    let account = "--as=system:serviceaccount:default:teller";
    let said = p.k(&format!("auth can-i list secrets {account}"))?.run()?;
    ensure!(said.stdout.trim() == "no", "{said}");
    p.k("create rolebinding teller --clusterrole=view --serviceaccount=default:teller")?.ok()?;
    e2e::eventually("the binding is in force", e2e::wait::seconds(10), || {
        ensure!(bearer.get("/api/v1/namespaces/default/configmaps")?.status == 200);
        Ok(())
    })?;
    ensure!(bearer.get("/api/v1/namespaces/default/secrets")?.status == 403, "view shows no secrets");
    let rights = p.k(&format!("auth can-i --list {account}"))?.ok()?;
    ensure!(rights.contains("configmaps") && !rights.contains("secrets "), "{rights}");
    let me = p.k("auth whoami")?.ok()?;
    ensure!(me.contains("kubernetes-admin"), "{me}");
    p.k("delete serviceaccount teller")?.ok()?;
    e2e::eventually("the token is void", e2e::wait::seconds(10), || {
        ensure!(bearer.get("/api/v1/namespaces/default/configmaps")?.status == 401);
        Ok(())
    })?;
    p.k("delete rolebinding teller")?.ok()?;
    Ok(())
}

/// A request for a client certificate of `CN=jane`, made once with openssl; its key was thrown away.
const REQUEST: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlISU1IRUNBUUF3RHpFTk1Bc0dBMVVFQXd3RWFtRnVaVEJaTUJN\
    R0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSApBMElBQkVNZ1p4anh6dFVrWHVZOHBLV09jaHpzMWc5aGFvUWpqUVR5WXRnU3AzYmJQ\
    QnhMNVR6b2J6N29LNjEvCkEycGt1aVc1YVBwMEVSOCtQWVVUMS8vSThNR2dBREFLQmdncWhrak9QUVFEQWdOSEFEQkVBaUFJd1Nu\
    M2pJcU8KemJPVnE2RmpXWkdpdDdjbTlBcVV1RG5qNUQ3UllqL0UyZ0lnY211K3ZmM1ZpUDBaU2NZVGZ6ZzE3b2xkcGpkbQpoVk5s\
    MWYySGZNOGFaY2s9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";
/// PEM's frame around nothing.
const TORN: &str = "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0K";

fn certificates(p: &Plane) -> Result<()> {
    let yaml = |request: &str| {
        format!(
            "
apiVersion: certificates.k8s.io/v1
kind: CertificateSigningRequest
metadata: {{name: jane}}
spec:
  request: {request}
  signerName: skiff.local/nobody
  usages: [client auth]
"
        )
    };
    let torn = p.k("apply -f -")?.stdin(yaml(TORN)).fails()?;
    ensure!(torn.contains("spec.request: Invalid value"), "{torn}");
    p.k("apply -f -")?.stdin(yaml(REQUEST)).ok()?;
    let said = p.k("certificate approve jane")?.ok()?;
    ensure!(said.contains("jane approved"), "{said}");
    let shown = p.k("get csr jane")?.ok()?;
    ensure!(shown.contains("kubernetes-admin") && shown.contains("Approved"), "{shown}");
    p.k("delete csr jane")?.ok()?;
    Ok(())
}

fn drained(p: &Plane) -> Result<()> {
    let node = "
apiVersion: v1
kind: Node
metadata: {name: drained}
---
apiVersion: v1
kind: Pod
metadata: {name: guest, labels: {app: guest}}
spec:
  nodeName: drained
  terminationGracePeriodSeconds: 0
  containers: [{name: c, image: i}]
";
    p.k("apply -f -")?.stdin(node).ok()?;
    let said = p.k("cordon drained")?.ok()?;
    ensure!(said.contains("node/drained cordoned"), "{said}");
    p.k("taint node drained tried=yes:NoSchedule")?.ok()?;
    let said = p.k("drain drained --force --timeout=30s")?.ok()?;
    ensure!(said.contains("evicting pod default/guest") || said.contains("pod/guest evicted"), "{said}");
    ensure!(p.k("get pod guest --ignore-not-found -o name")?.ok()?.is_empty());
    p.k("uncordon drained")?.ok()?;
    p.k("delete node drained")?.ok()?;
    Ok(())
}

fn explained(p: &Plane) -> Result<()> {
    let all = p.k("api-resources -o name --verbs=list")?.ok()?;
    for resource in all.lines() {
        // kubectl takes this one for a field of the other events.
        if resource == "events.events.k8s.io" {
            continue;
        }
        let said = p.k(&format!("explain {resource} --recursive"))?.ok()?;
        ensure!(said.contains("DESCRIPTION:") && said.contains("FIELDS:"), "{resource}: {said}");
        ensure!(!said.contains("<empty>"), "{resource} has no description: {said}");
    }
    Ok(())
}
