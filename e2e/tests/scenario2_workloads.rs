//! Scenario 2: scaling, rolling updates under load, a bad image and its undo, and the verbs an operator uses.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use e2e::load::{self, Load};
use e2e::suite::{self, alone, test};
use e2e::wait::seconds;
use e2e::{Cluster, Namespace, eventually};

fn main() -> ExitCode {
    suite::run(vec![
        test("scale_to_10_and_to_1", scale),
        test("bad_image_stops_and_undo_mends", bad_image),
        test("edit_patch_label_annotate", edits),
        test("diff_and_apply", diff),
        test("create_run_expose", create_run_expose),
        test("recreate_pause_resume_restart", strategies),
        test("wait_and_delete", wait_and_delete),
        test("config_reaches_containers", config),
        test("init_and_several_containers", several),
        test("pods_carry_their_token", token),
        test("pods_are_proxied_to", proxied),
        test("pods_and_nodes_are_debugged", debugged),
        // It asks for the whole node: nothing else runs.
        alone("resize_in_place", resize),
        // Timing matters: nothing else runs.
        alone("set_image_without_a_failed_request", rolling_update_under_load),
        // Last of all: the cluster is taken down in the middle of it, and must leave nothing all the same.
        alone("taken_down_while_pods_start", many_start),
    ])
}

/// A deployment of the test program with a Service.
fn deploy(
    ns: &Namespace<'_>,
    name: &str,
    replicas: u32,
    surge: &str,
    unavailable: &str,
) -> Result<SocketAddr> {
    ns.apply(&format!(
        "
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  strategy: {{rollingUpdate: {{maxSurge: {surge}, maxUnavailable: {unavailable}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      containers:
      - name: hello
        image: skiff.local/hello:1
        imagePullPolicy: IfNotPresent
        ports: [{{name: http, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /readyz, port: http}}, periodSeconds: 1, failureThreshold: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: 80, targetPort: http}}]
"
    ))?;
    ns.k(&format!("rollout status deployment/{name} --timeout=60s")).ok().with_context(|| ns.state())?;
    let ip: IpAddr = ns.field(&format!("service {name}"), "{.spec.clusterIP}")?.parse()?;
    Ok(SocketAddr::new(ip, 80))
}

fn scale(c: &Cluster) -> Result<()> {
    let ns = c.namespace("scale")?;
    deploy(&ns, "web", 2, "1", "1")?;
    for (replicas, limit) in [(10, 90), (1, 60)] {
        let said = ns.k(&format!("scale deployment/web --replicas={replicas}")).ok()?;
        ensure!(said.contains("deployment.apps/web scaled"), "{said}");
        ns.k("rollout status deployment/web --timeout=90s").ok().with_context(|| ns.state())?;
        eventually(&format!("{replicas} pods run"), seconds(limit), || {
            let pods = ns.k("get pods -l app=web --no-headers").ok()?;
            let running = pods.lines().filter(|l| l.contains("1/1") && l.contains("Running")).count();
            ensure!(running == replicas && pods.lines().count() == replicas, "{pods}");
            Ok(())
        })?;
        ns.wait_field("deployment web", "{.status.readyReplicas}", &replicas.to_string(), 10)?;
        eventually("the Service has as many endpoints", seconds(10), || {
            let addresses = ns.field("endpointslices", "{.items[*].endpoints[*].addresses[0]}")?;
            ensure!(addresses.split_whitespace().count() == replicas, "{addresses}");
            Ok(())
        })?;
    }
    let refused = ns.k("scale deployment/web --replicas=5 --current-replicas=3").fails()?;
    ensure!(refused.contains("Expected replicas to be 3, was 1"), "{refused}");
    Ok(())
}

fn many_start(c: &Cluster) -> Result<()> {
    // No namespace of the test's own, which would be deleted at its end.
    c.k("create deployment many --image=skiff.local/hello:1 --replicas=12").ok()?;
    eventually("the first of many pods have a sandbox", seconds(30), || {
        let conditions = "{.items[*].status.conditions[?(@.type=='PodReadyToStartContainers')].status}";
        let started = c.k("get pods -l app=many -o").arg(format!("jsonpath={conditions}")).ok()?;
        ensure!(started.contains("True"), "{started}");
        Ok(())
    })
}

fn debugged(c: &Cluster) -> Result<()> {
    const IMAGE: &str = "skiff.local/hello:2";
    let ns = c.namespace("debugged")?;
    ns.k("run web --image=skiff.local/hello:1").ok()?;
    ns.k("wait --for=condition=Ready pod/web --timeout=30s").ok().with_context(|| ns.state())?;
    // A copy with another image, and one with a container more that sees its processes.
    ns.k(&format!("debug web --copy-to=copy --set-image=*={IMAGE}")).ok()?;
    ns.k("wait --for=condition=Ready pod/copy --timeout=30s").ok().with_context(|| ns.state())?;
    ensure!(ns.field("pod copy", "{.spec.containers[*].image}")? == IMAGE, "{}", ns.state());
    ns.k(&format!(
        "debug web --copy-to=shared --share-processes --container=tools --image={IMAGE} -- sleep 600"
    ))
    .ok()?;
    ns.k("wait --for=condition=Ready pod/shared --timeout=30s").ok().with_context(|| ns.state())?;
    let seen = ns.k("exec shared -c tools -- sh -c").arg("cat /proc/[0-9]*/comm").ok()?;
    ensure!(seen.lines().any(|comm| comm == "hello") && seen.lines().any(|comm| comm == "sleep"), "{seen}");
    // A node's files and its network.
    let node = ns.field("pod web", "{.spec.nodeName}")?;
    let said = ns.k(&format!("debug node/{node} --image={IMAGE}")).ok()?;
    let pod = said.split_whitespace().find(|word| word.starts_with("node-debugger-"));
    let pod = pod.with_context(|| format!("no pod is named: {said}"))?;
    ns.k(&format!("wait --for=condition=Ready pod/{pod} --timeout=30s")).ok().with_context(|| ns.state())?;
    let there = ns.k(&format!("exec {pod} -- cat /host/etc/hostname")).ok()?;
    ensure!(there == std::fs::read_to_string("/etc/hostname")?, "{there}");
    ensure!(ns.field(&format!("pod {pod}"), "{.spec.hostNetwork}")? == "true", "{}", ns.state());
    Ok(())
}

fn rolling_update_under_load(c: &Cluster) -> Result<()> {
    let ns = c.namespace("rolling")?;
    let address = deploy(&ns, "web", 3, "1", "0")?;
    let load = Load::start(address, 4);
    let more = |n: u64| {
        let before = load.answered();
        eventually("requests are answered", seconds(10), || {
            let now = load.answered() - before;
            ensure!(now >= n, "{now} of {n}");
            Ok(())
        })
    };
    more(100)?;
    for version in ["2", "1"] {
        ns.k(&format!("set image deployment/web hello=skiff.local/hello:{version}")).ok()?;
        ns.k("rollout status deployment/web --timeout=90s").ok().with_context(|| ns.state())?;
        // The rollout counts as done when the last old pod is asked to end; its rules go a moment later.
        eventually("the new version answers", seconds(10), || {
            let body = load::get(address, "/")?;
            ensure!(body.contains(&format!("version {version}\n")), "{body}");
            Ok(())
        })?;
        more(100)?;
    }
    let (answered, failed) = load.stop();
    println!("{answered} requests were answered during two rolling updates, {} failed", failed.len());
    ensure!(failed.is_empty(), "{} requests failed:\n{}\n{}", failed.len(), failed.join("\n"), ns.state());
    let history = ns.k("rollout history deployment/web").ok()?;
    ensure!(history.contains("2") && history.contains("3"), "{history}");
    Ok(())
}

fn bad_image(c: &Cluster) -> Result<()> {
    let ns = c.namespace("bad-image")?;
    let address = deploy(&ns, "web", 4, "1", "1")?;
    ns.k("set image deployment/web hello=skiff.local/nothing:1").ok()?;
    // One of four may be away, one more may come: two of the new kind, three of the old stay.
    eventually("the rollout stands still with the new pods failing", seconds(60), || {
        let pods = ns.k("get pods --no-headers").ok()?;
        let failing =
            pods.lines().filter(|l| l.contains("ErrImagePull") || l.contains("ImagePullBackOff")).count();
        let running = pods.lines().filter(|l| l.contains("Running") && l.contains("1/1")).count();
        ensure!(failing == 2 && running == 3, "{pods}");
        Ok(())
    })
    .with_context(|| ns.state())?;
    let status = ns.k("rollout status deployment/web --timeout=2s").run()?;
    ensure!(status.code != 0, "{status}");
    let events = ns.k("get events").ok()?;
    ensure!(events.contains("Failed to pull image \"skiff.local/nothing:1\""), "{events}");
    load::get(address, "/")?;
    let available = ns.field("deployment web", "{.status.availableReplicas}")?;
    ensure!(available == "3", "{available} available");
    let said = ns.k("rollout undo deployment/web").ok()?;
    ensure!(said.contains("rolled back"), "{said}");
    ns.k("rollout status deployment/web --timeout=60s").ok().with_context(|| ns.state())?;
    let image = ns.field("deployment web", "{.spec.template.spec.containers[0].image}")?;
    ensure!(image == "skiff.local/hello:1", "{image}");
    eventually("four good pods are left", seconds(30), || {
        let pods = ns.k("get pods --no-headers").ok()?;
        ensure!(pods.lines().count() == 4 && pods.matches("1/1").count() == 4, "{pods}");
        Ok(())
    })
}

fn edits(c: &Cluster) -> Result<()> {
    let ns = c.namespace("edits")?;
    ns.k("create configmap settings --from-literal=colour=red").ok()?;
    let editor = "sed -i s/red/green/";
    let said = ns.k("edit configmap settings").env("KUBE_EDITOR", editor).ok()?;
    ensure!(said.contains("configmap/settings edited"), "{said}");
    ensure!(ns.field("configmap settings", "{.data.colour}")? == "green", "edit");
    let said = ns.k("edit configmap settings").env("KUBE_EDITOR", "true").run()?;
    ensure!(
        said.code == 0 && format!("{}{}", said.stdout, said.stderr).contains("no changes made"),
        "{said}"
    );

    ns.k("patch configmap settings --type=merge -p").arg(r#"{"data":{"colour":null,"size":"1"}}"#).ok()?;
    let patch = r#"[{"op":"test","path":"/data/size","value":"1"},{"op":"add","path":"/data/shape","value":"round"}]"#;
    ns.k("patch configmap settings --type=json -p").arg(patch).ok()?;
    let data = ns.field("configmap settings", "{.data}")?;
    ensure!(data == r#"{"shape":"round","size":"1"}"#, "{data}");
    let bad = ns.k("patch configmap settings --type=json -p").arg(patch.replace("\"1\"", "\"2\"")).fails()?;
    ensure!(bad.contains("Invalid") || bad.contains("invalid") || bad.contains("test"), "{bad}");
    let same = ns.k("patch configmap settings --type=merge -p").arg(r#"{"data":{"size":"1"}}"#).ok()?;
    ensure!(same.contains("(no change)"), "{same}");

    // A strategic merge patch merges containers by name.
    ns.k("create deployment web --image=skiff.local/hello:1 --replicas=0").ok()?;
    let patch = r#"{"spec":{"template":{"spec":{"containers":[{"name":"hello","env":[{"name":"A","value":"1"}]}]}}}}"#;
    ns.k("patch deployment web -p").arg(patch).ok()?;
    let first = ns.field("deployment web", "{.spec.template.spec.containers[*].image}")?;
    ensure!(first == "skiff.local/hello:1", "{first}");
    ns.k("set env deployment/web B=2").ok()?;
    let env = ns.field("deployment web", "{.spec.template.spec.containers[0].env[*].name}")?;
    ensure!(env == "A B", "{env}");
    ns.k("set resources deployment/web --limits=memory=64Mi").ok()?;

    ns.k("label configmap settings tier=back").ok()?;
    let refused = ns.k("label configmap settings tier=front").fails()?;
    ensure!(refused.contains("already has a value (back), and --overwrite is false"), "{refused}");
    ns.k("label configmap settings tier=front --overwrite").ok()?;
    let found = ns.k("get configmaps -l tier=front -o name").ok()?;
    ensure!(found == "configmap/settings\n", "{found}");
    ns.k("label configmap settings tier-").ok()?;
    ns.k("annotate configmap settings note=remember").ok()?;
    let metadata = ns.field("configmap settings", "{.metadata.labels}|{.metadata.annotations.note}")?;
    ensure!(metadata == "|remember", "{metadata}");
    ns.k("annotate configmap settings note-").ok()?;
    Ok(())
}

fn diff(c: &Cluster) -> Result<()> {
    let ns = c.namespace("diff")?;
    let manifest = |colour: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: m}}\ndata: {{colour: {colour}, size: '1'}}\n"
        )
    };
    ns.apply(&manifest("red"))?;
    let same = ns.k("diff -f -").stdin(manifest("red")).run()?;
    ensure!(same.code == 0 && same.stdout.is_empty(), "{same}");
    let other = ns.k("diff -f -").stdin(manifest("blue")).run()?;
    ensure!(other.code == 1, "{other}");
    ensure!(other.stdout.contains("-  colour: red") && other.stdout.contains("+  colour: blue"), "{other}");
    ensure!(ns.apply(&manifest("red"))?.contains("unchanged"), "unchanged");
    ensure!(ns.apply(&manifest("blue"))?.contains("configured"), "configured");
    // What the manifest no longer says is removed, what others have added stays.
    ns.k("patch configmap m --type=merge -p").arg(r#"{"data":{"theirs":"x"}}"#).ok()?;
    ns.apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {colour: blue}\n")?;
    let data = ns.field("configmap m", "{.data}")?;
    ensure!(data == r#"{"colour":"blue","theirs":"x"}"#, "{data}");
    let dry = ns.k("apply --dry-run=server -f -").stdin(manifest("dry")).ok()?;
    ensure!(dry.contains("(server dry run)"), "{dry}");
    ensure!(ns.field("configmap m", "{.data.colour}")? == "blue", "a dry run has written");
    let replaced = ns.k("replace -f -").stdin(manifest("green")).ok()?;
    ensure!(replaced.contains("replaced"), "{replaced}");
    Ok(())
}

fn create_run_expose(c: &Cluster) -> Result<()> {
    let ns = c.namespace("verbs")?;
    ns.k("create secret generic s --from-literal=password=geheim").ok()?;
    ensure!(ns.field("secret s", "{.data.password}")? == "Z2VoZWlt", "secret");
    ns.k("create serviceaccount robot").ok()?;
    ns.k("create role reader --verb=get,list --resource=pods").ok()?;
    ns.k("create rolebinding robot-reads --role=reader")
        .arg(format!("--serviceaccount={}:robot", ns.name))
        .ok()?;
    let asks = format!("auth can-i list pods --as=system:serviceaccount:{}:robot", ns.name);
    ensure!(ns.k(&asks).run()?.stdout.trim() == "yes", "the robot may list pods");
    let taken = ns.k("create configmap kube-root-ca.crt").fails()?;
    ensure!(taken.contains("AlreadyExists") || taken.contains("already exists"), "{taken}");

    ns.k("run web --image=skiff.local/hello:1 --image-pull-policy=IfNotPresent --port=8080 --labels=app=web")
        .ok()?;
    ns.k("wait pod/web --for=condition=Ready --timeout=30s").ok().with_context(|| ns.state())?;
    ns.k("expose pod web --port=80 --target-port=8080").ok()?;
    let ip: IpAddr = ns.field("service web", "{.spec.clusterIP}")?.parse()?;
    eventually("the exposed pod answers", seconds(5), || load::get(SocketAddr::new(ip, 80), "/"))?;
    ns.k("expose pod web --name=web-node --type=NodePort --port=80 --target-port=8080").ok()?;
    let port: u16 = ns.field("service web-node", "{.spec.ports[0].nodePort}")?.parse()?;
    let node: IpAddr = ns.field("nodes", "{.items[0].status.addresses[0].address}")?.parse()?;
    eventually("the node port answers", seconds(5), || load::get(SocketAddr::new(node, port), "/"))?;
    let local = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("the node port answers on loopback", seconds(5), || load::get(local, "/"))?;

    let done = ns
        .k("run once --image=skiff.local/hello:1 --restart=Never --command -- sh -c")
        .arg("echo done; exit 3");
    done.ok()?;
    ns.k("wait pod/once --for=jsonpath={.status.phase}=Failed --timeout=30s")
        .ok()
        .with_context(|| ns.state())?;
    let code = ns.field("pod once", "{.status.containerStatuses[0].state.terminated.exitCode}")?;
    ensure!(code == "3", "{code}");
    ensure!(ns.k("logs once").ok()? == "done\n", "logs of what has ended");
    let attached = ns.k("run asked --rm -i --image=skiff.local/hello:1 --restart=Never --command -- cat");
    let said = attached.stdin("through and back\n").run()?;
    ensure!(said.code == 0 && said.stdout.contains("through and back"), "{said}");
    Ok(())
}

fn strategies(c: &Cluster) -> Result<()> {
    let ns = c.namespace("strategies")?;
    deploy(&ns, "web", 2, "1", "0")?;
    ns.k("rollout pause deployment/web").ok()?;
    ns.k("set env deployment/web A=1").ok()?;
    let sets = ns.k("get replicasets -o name").ok()?;
    ensure!(sets.lines().count() == 1, "a paused deployment rolls: {sets}");
    ns.k("rollout resume deployment/web").ok()?;
    ns.k("rollout status deployment/web --timeout=60s").ok().with_context(|| ns.state())?;
    ns.k("rollout restart deployment/web").ok()?;
    ns.k("rollout status deployment/web --timeout=60s").ok().with_context(|| ns.state())?;
    let patch = r#"{"spec":{"strategy":{"type":"Recreate","rollingUpdate":null}}}"#;
    ns.k("patch deployment web -p").arg(patch).ok()?;
    ns.k("set image deployment/web hello=skiff.local/hello:2").ok()?;
    ns.k("rollout status deployment/web --timeout=60s").ok().with_context(|| ns.state())?;
    let history = ns.k("rollout history deployment/web").ok()?;
    ensure!(
        history.lines().filter(|l| l.starts_with(|c: char| c.is_ascii_digit())).count() == 4,
        "{history}"
    );
    ns.k("rollout undo deployment/web --to-revision=1").ok()?;
    ns.k("rollout status deployment/web --timeout=60s").ok().with_context(|| ns.state())?;
    let image = ns.field("deployment web", "{.spec.template.spec.containers[0].image}")?;
    ensure!(image == "skiff.local/hello:1", "{image}");
    Ok(())
}

fn wait_and_delete(c: &Cluster) -> Result<()> {
    let ns = c.namespace("deletes")?;
    deploy(&ns, "web", 2, "1", "0")?;
    ns.k("wait deployment/web --for=condition=Available --timeout=10s").ok()?;
    let late = ns.k("wait deployment/web --for=condition=Nothing --timeout=1s").fails()?;
    ensure!(late.contains("timed out waiting for the condition"), "{late}");
    // Background: the pods go because their owner went.
    ns.k("delete deployment web").ok()?;
    ns.k("wait pods -l app=web --for=delete --timeout=30s").ok().with_context(|| ns.state())?;
    deploy(&ns, "web", 1, "1", "0")?;
    ns.k("delete deployment web --cascade=foreground --timeout=30s").ok().with_context(|| ns.state())?;
    ensure!(ns.k("get pods,replicasets -o name").ok()?.is_empty(), "foreground has left something");
    deploy(&ns, "web", 1, "1", "0")?;
    ns.k("delete deployment web --cascade=orphan").ok()?;
    let left = ns.k("get pods,replicasets -o name").ok()?;
    ensure!(left.lines().count() == 2, "orphan: {left}");
    let owners = ns.field("replicasets", "{.items[0].metadata.ownerReferences}")?;
    ensure!(owners.is_empty(), "orphans have an owner: {owners}");
    ns.k("delete all --all --timeout=30s").ok()?;
    let said = ns.k("delete pod nothing").fails()?;
    ensure!(said.contains("pods \"nothing\" not found"), "{said}");
    ensure!(ns.k("delete pod nothing --ignore-not-found").ok()?.is_empty(), "ignore-not-found");
    Ok(())
}

/// A pod of the test program, ready.
fn pod(ns: &Namespace<'_>, name: &str) -> Result<()> {
    ns.apply(&format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: skiff.local/hello:1
    imagePullPolicy: IfNotPresent
    ports: [{{name: http, containerPort: 8080}}]
"
    ))?;
    ns.k(&format!("wait pod/{name} --for=condition=Ready --timeout=30s")).ok().with_context(|| ns.state())?;
    Ok(())
}

fn token(c: &Cluster) -> Result<()> {
    let ns = c.namespace("token")?;
    pod(&ns, "caller")?;
    let dir = "/var/run/secrets/kubernetes.io/serviceaccount";
    let read = |file: &str| ns.k(&format!("exec caller -- cat {dir}/{file}")).ok();
    let namespace = ns.field("pod caller", "{.metadata.namespace}")?;
    ensure!(read("namespace")? == namespace, "its namespace");
    ensure!(read("ca.crt")?.contains("BEGIN CERTIFICATE"), "the CA's certificate");
    let bearer = c.api()?.with_token(Some(&read("token")?))?;
    let who = bearer.post("/apis/authentication.k8s.io/v1/selfsubjectreviews", &serde_json::json!({}))?;
    let user = format!("system:serviceaccount:{namespace}:default");
    ensure!(who.text("/status/userInfo/username") == user, "{who:?}");
    let told = who.text("/status/userInfo/extra/authentication.kubernetes.io~1pod-name/0");
    ensure!(told == "caller", "the token is bound to its pod: {who:?}");
    ns.k("delete pod caller").ok()?;
    eventually("the token ends with its pod", seconds(10), || {
        let answer = bearer.get("/api")?;
        ensure!(answer.status == 401, "{answer:?}");
        Ok(())
    })
}

fn proxied(c: &Cluster) -> Result<()> {
    let ns = c.namespace("proxied")?;
    pod(&ns, "web")?;
    ns.k("expose pod web --port=80 --target-port=http --name=web").ok()?;
    let root = format!("/api/v1/namespaces/{}", ns.field("pod web", "{.metadata.namespace}")?);
    for path in ["pods/web/proxy/", "pods/http:web:8080/proxy/"] {
        let said = ns.k(&format!("get --raw {root}/{path}")).ok()?;
        ensure!(said.contains("web"), "{path}: {said}");
    }
    eventually("the service has its endpoints", seconds(20), || {
        let said = ns.k(&format!("get --raw {root}/services/web:80/proxy/")).ok()?;
        ensure!(said.contains("web"), "{said}");
        Ok(())
    })?;
    let node = ns.field("pod web", "{.spec.nodeName}")?;
    let said = ns.k(&format!("get --raw /api/v1/nodes/{node}/proxy/healthz")).ok()?;
    ensure!(said.contains("ok"), "{said}");
    Ok(())
}

fn config(c: &Cluster) -> Result<()> {
    let ns = c.namespace("config")?;
    ns.apply(
        "
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {COLOUR: red, file.txt: 'from a map'}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: geheim}
---
apiVersion: v1
kind: Pod
metadata: {name: reader, labels: {app: reader}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: c
    image: skiff.local/hello:1
    imagePullPolicy: IfNotPresent
    envFrom: [{configMapRef: {name: settings}}]
    env:
    - {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: BOTH, value: $(COLOUR)-$(TOKEN)}
    resources: {limits: {memory: 64Mi}, requests: {cpu: 20m}}
    volumeMounts:
    - {name: map, mountPath: /map}
    - {name: keys, mountPath: /keys, readOnly: true}
    - {name: scratch, mountPath: /scratch}
  volumes:
  - {name: map, configMap: {name: settings}}
  - {name: keys, secret: {secretName: keys, defaultMode: 0400}}
  - {name: scratch, emptyDir: {}}
",
    )?;
    ns.k("wait pod/reader --for=condition=Ready --timeout=30s").ok().with_context(|| ns.state())?;
    let line = "echo $COLOUR $TOKEN $BOTH; cat /map/file.txt; echo; cat /keys/token; echo; touch /scratch/x && echo ok";
    let said = ns.k("exec reader -- sh -c").arg(line).ok()?;
    ensure!(said == "red geheim red-geheim\nfrom a map\ngeheim\nok\n", "{said}");
    let node = ns.k("exec reader -- sh -c").arg("echo $NODE").ok()?;
    ensure!(node.trim() == ns.field("pod reader", "{.spec.nodeName}")?, "{node}");
    ns.k("patch configmap settings --type=merge -p").arg(r#"{"data":{"file.txt":"changed"}}"#).ok()?;
    eventually("the mounted map follows", seconds(90), || {
        let now = ns.k("exec reader -- cat /map/file.txt").ok()?;
        ensure!(now == "changed", "{now}");
        Ok(())
    })
}

fn several(c: &Cluster) -> Result<()> {
    let ns = c.namespace("several")?;
    ns.apply(
        "
apiVersion: v1
kind: Pod
metadata: {name: both}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: shared, emptyDir: {}}]
  initContainers:
  - {name: first, image: 'skiff.local/hello:1', command: [sh, -c, 'echo one >> /s/f'],
     volumeMounts: [{name: shared, mountPath: /s}]}
  - {name: second, image: 'skiff.local/hello:1', command: [sh, -c, 'echo two >> /s/f'],
     volumeMounts: [{name: shared, mountPath: /s}]}
  containers:
  - {name: web, image: 'skiff.local/hello:1', volumeMounts: [{name: shared, mountPath: /s}]}
  - {name: side, image: 'skiff.local/hello:1', command: [sh, -c, 'cat /s/f; sleep 1000']}
",
    )
    .context("apply")?;
    ns.k("wait pod/both --for=condition=Ready --timeout=30s").ok().with_context(|| ns.state())?;
    let said = ns.k("exec both -c web -- cat /s/f").ok()?;
    ensure!(said == "one\ntwo\n", "{said}");
    // It has no mount of the volume.
    eventually("the side car's own log", seconds(10), || {
        let log = ns.k("logs both -c side").ok()?;
        ensure!(log.contains("can't open '/s/f'"), "{log}");
        Ok(())
    })?;
    // From inside, the other container is on loopback.
    let page = ns.k("exec both -c side -- wget -qO- http://127.0.0.1:8080/").ok()?;
    ensure!(page.contains("Hello from both"), "{page}");
    Ok(())
}

/// The values of a cgroup below the cluster's own: CPU quota in microseconds a tenth of a second, and memory in bytes.
fn limits(c: &Cluster, group: &str) -> Result<(i64, i64)> {
    let root = std::path::Path::new("/sys/fs/cgroup");
    let read = |controller: &str, file: &str| -> Result<String> {
        let path = root.join(controller).join(c.slot().name()).join(group).join(file);
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    };
    if root.join("cgroup.controllers").exists() {
        let quota = read("", "cpu.max")?;
        let quota = quota.split_whitespace().next().context("an empty cpu.max")?.parse()?;
        return Ok((quota, read("", "memory.max")?.trim().parse()?));
    }
    let quota = read("cpu", "cpu.cfs_quota_us")?.trim().parse()?;
    Ok((quota, read("memory", "memory.limit_in_bytes")?.trim().parse()?))
}

fn resize(c: &Cluster) -> Result<()> {
    let ns = c.namespace("resize")?;
    let pod = |name: &str, containers: &str| {
        ns.apply(&format!(
            "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}}}, spec: {{terminationGracePeriodSeconds: 1, \
             containers: [{containers}]}}}}"
        ))
    };
    let container = |name: &str, port: u16, policy: &str| {
        format!(
            "{{name: {name}, image: 'skiff.local/hello:1', env: [{{name: PORT, value: '{port}'}}], \
             resources: {{limits: {{cpu: 100m, memory: 64Mi}}}}, resizePolicy: [{policy}]}}"
        )
    };
    let restarts = "{resourceName: memory, restartPolicy: RestartContainer}";
    pod("p", &format!("{}, {}", container("steady", 8080, ""), container("fickle", 8081, restarts)))?;
    ns.k("wait pod/p --for=condition=Ready --timeout=30s").ok().with_context(|| ns.state())?;
    let of = |name: &str, field: &str| {
        ns.field("pod p", &format!("{{.status.containerStatuses[?(@.name==\"{name}\")].{field}}}"))
    };
    let uid = ns.field("pod p", "{.metadata.uid}")?;
    let group = |name: &str| -> Result<String> {
        let id = of(name, "containerID")?;
        Ok(format!("pod{uid}/{}", id.rsplit('/').next().unwrap_or_default()))
    };
    let steady = group("steady")?;
    ensure!(limits(c, &steady)? == (10_000, 64 << 20), "{:?}", limits(c, &steady)?);
    let patch = |name: &str, cpu: &str, memory: &str| {
        let amounts = format!(r#"{{"cpu":"{cpu}","memory":"{memory}"}}"#);
        let resources = format!(r#"{{"requests":{amounts},"limits":{amounts}}}"#);
        let change = format!(r#"{{"spec":{{"containers":[{{"name":"{name}","resources":{resources}}}]}}}}"#);
        ns.k("patch pod p --subresource resize --patch").arg(change)
    };
    let has = |name: &str, cpu: &str, memory: &str| {
        ns.wait_field(
            "pod p",
            &format!("{{.status.containerStatuses[?(@.name==\"{name}\")].resources.limits}}"),
            &format!(r#"{{"cpu":"{cpu}","memory":"{memory}"}}"#),
            20,
        )
    };
    // In place, up and down again.
    for (cpu, memory, expected) in
        [("250m", "128Mi", (25_000, 128 << 20)), ("150m", "96Mi", (15_000, 96 << 20))]
    {
        patch("steady", cpu, memory).ok()?;
        has("steady", cpu, memory)?;
        ensure!(limits(c, &steady)? == expected, "{:?}", limits(c, &steady)?);
        let whole = (expected.0 + 10_000, expected.1 + (64 << 20));
        eventually("the pod's own limits follow", seconds(10), || {
            let now = limits(c, &format!("pod{uid}"))?;
            ensure!(now == whole, "{now:?}, not {whole:?}");
            Ok(())
        })?;
    }
    ensure!(of("steady", "restartCount")? == "0" && group("steady")? == steady, "{}", ns.state());
    // By a restart where memory changes, without one where it does not.
    patch("fickle", "150m", "64Mi").ok()?;
    has("fickle", "150m", "64Mi")?;
    ensure!(of("fickle", "restartCount")? == "0", "{}", ns.state());
    patch("fickle", "150m", "128Mi").ok()?;
    eventually("the container was restarted once", seconds(30), || {
        let count = of("fickle", "restartCount")?;
        ensure!(count == "1", "{count}");
        Ok(())
    })
    .with_context(|| ns.state())?;
    has("fickle", "150m", "128Mi")?;
    ensure!(limits(c, &group("fickle")?)? == (15_000, 128 << 20), "{:?}", limits(c, &group("fickle")?)?);
    ensure!(of("steady", "restartCount")? == "0", "{}", ns.state());
    // More than the node has is refused, more than it has left waits.
    let refused = patch("steady", "9000", "96Mi").fails()?;
    ensure!(refused.contains("node didn't have enough allocatable resources: cpu, requested:"), "{refused}");
    let declared = ns.field("nodes", "{.items[0].status.declaredFeatures}")?;
    ensure!(declared.contains("InPlacePodVerticalScalingInitContainers"), "{declared}");
    let cpus: i64 = ns.field("nodes", "{.items[0].status.allocatable.cpu}")?.parse()?;
    pod("q", &container("c", 8080, ""))?;
    ns.k("wait pod/q --for=condition=Ready --timeout=30s").ok().with_context(|| ns.state())?;
    let most = format!("{}m", cpus * 1000 - 150);
    patch("steady", &most, "96Mi").ok()?;
    let pending = "{.status.conditions[?(@.type==\"PodResizePending\")].reason}";
    ns.wait_field("pod p", pending, "Deferred", 20)?;
    ensure!(limits(c, &steady)? == (15_000, 96 << 20), "{:?}", limits(c, &steady)?);
    // A node agent that starts again restarts nothing, knows what is allocated and that more is wanted.
    c.kill()?;
    c.start()?;
    ns.k("wait nodes --all --for=condition=Ready --timeout=30s").ok()?;
    ensure!(limits(c, &steady)? == (15_000, 96 << 20), "{:?}", limits(c, &steady)?);
    ensure!(ns.field("pod p", pending)? == "Deferred", "{}", ns.state());
    ns.k("delete pod q").ok()?;
    ns.wait_field("pod p", pending, "", 30)?;
    eventually("it has what it wanted", seconds(20), || {
        let now = limits(c, &steady)?;
        ensure!(now == ((cpus * 1000 - 150) * 100, 96 << 20), "{now:?}");
        Ok(())
    })
    .with_context(|| ns.state())?;
    for reason in ["ResizeStarted", "ResizeCompleted", "ResizeDeferred"] {
        let events = ns.field("events", "{.items[*].reason}")?;
        ensure!(events.split_whitespace().any(|known| known == reason), "no {reason} in {events}");
    }
    ensure!(of("steady", "restartCount")? == "0" && of("fickle", "restartCount")? == "1", "{}", ns.state());
    Ok(())
}
