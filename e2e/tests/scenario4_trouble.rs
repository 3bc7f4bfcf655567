//! Scenario 4: what goes wrong in a cluster, and how it is told and mended.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use e2e::load;
use e2e::suite::{self, test};
use e2e::wait::seconds;
use e2e::{Cluster, Namespace, eventually};

fn main() -> ExitCode {
    suite::run(vec![
        test("crash_backs_off_and_recovers", crash),
        test("out_of_memory_is_told", out_of_memory),
        test("unready_pod_leaves_the_service_within_2s", readiness),
        test("deleted_pod_is_replaced", replaced),
        test("namespace_deletion_removes_all", namespace),
        test("liveness_restarts", liveness),
        test("unschedulable_is_told_and_retried", unschedulable),
        test("missing_config_is_told_and_retried", missing_config),
        test("pre_stop_and_grace_are_kept", grace),
    ])
}

fn pod(name: &str, container: &str) -> String {
    format!(
        "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{app: {name}}}}}
spec:
  terminationGracePeriodSeconds: 2
  containers:
  - name: c
    image: skiff.local/hello:1
    imagePullPolicy: IfNotPresent
{container}
"
    )
}

fn pod_address(ns: &Namespace<'_>, name: &str) -> Result<SocketAddr> {
    let ip: IpAddr = ns.field(&format!("pod {name}"), "{.status.podIP}")?.parse().context("podIP")?;
    Ok(SocketAddr::new(ip, 8080))
}

fn ready(ns: &Namespace<'_>, what: &str) -> Result<()> {
    ns.k(&format!("wait {what} --for=condition=Ready --timeout=40s")).ok().with_context(|| ns.state())?;
    Ok(())
}

fn crash(c: &Cluster) -> Result<()> {
    let ns = c.namespace("crash")?;
    // Fails twice, then stays: it counts on a volume that outlives the container.
    ns.apply(&pod(
        "shaky",
        "    command: [sh, -c, 'echo x >> /v/n; echo try $(wc -l < /v/n); [ $(wc -l < /v/n) -gt 2 ] || exit 4; exec /hello']
    volumeMounts: [{name: v, mountPath: /v}]
  volumes: [{name: v, emptyDir: {}}]",
    ))?;
    let status = "{.status.containerStatuses[0].state.waiting.reason}";
    ns.wait_field("pod shaky", status, "CrashLoopBackOff", 30)?;
    let last = ns.field("pod shaky", "{.status.containerStatuses[0].lastState.terminated.exitCode}")?;
    ensure!(last == "4", "exit code {last:?}");
    let shown = ns.k("get pod shaky").ok()?;
    ensure!(
        shown.contains("CrashLoopBackOff") || shown.contains("Error") || shown.contains("Running"),
        "{shown}"
    );
    let events = ns.k("get events").ok()?;
    ensure!(events.contains("Back-off restarting failed container c in pod shaky"), "{events}");
    let previous = ns.k("logs shaky --previous").ok()?;
    ensure!(previous.contains("try "), "{previous}");
    ns.k("wait pod/shaky --for=condition=Ready --timeout=90s").ok().with_context(|| ns.state())?;
    let restarts = ns.field("pod shaky", "{.status.containerStatuses[0].restartCount}")?;
    ensure!(restarts == "2", "{restarts} restarts");
    Ok(())
}

fn out_of_memory(c: &Cluster) -> Result<()> {
    let ns = c.namespace("oom")?;
    ns.apply(&pod("greedy", "    resources: {limits: {memory: 32Mi}}"))?;
    ready(&ns, "pod/greedy")?;
    // The kernel ends it while it answers.
    if load::get(pod_address(&ns, "greedy")?, "/alloc?mb=200").is_ok() {
        bail!("200 MB were given to a container that may have 32");
    }
    let reason = "{.status.containerStatuses[0].lastState.terminated.reason}\
        {.status.containerStatuses[0].state.terminated.reason}";
    ns.wait_field("pod greedy", reason, "OOMKilled", 20)?;
    ready(&ns, "pod/greedy")?;
    let code = ns.field("pod greedy", "{.status.containerStatuses[0].lastState.terminated.exitCode}")?;
    ensure!(code == "137", "exit code {code}");
    Ok(())
}

fn readiness(c: &Cluster) -> Result<()> {
    let ns = c.namespace("readiness")?;
    let probe =
        "    readinessProbe: {httpGet: {path: /readyz, port: 8080}, periodSeconds: 1, failureThreshold: 1}";
    for name in ["one", "two"] {
        ns.apply(&pod(name, probe).replace(&format!("labels: {{app: {name}}}"), "labels: {app: web}"))?;
    }
    ready(&ns, "pod/one")?;
    ready(&ns, "pod/two")?;
    ns.k("create service clusterip web --tcp=80:8080").ok()?;
    let ip: IpAddr = ns.field("service web", "{.spec.clusterIP}")?.parse()?;
    let service = SocketAddr::new(ip, 80);
    let hosts = |n: usize| -> Result<std::collections::BTreeSet<String>> {
        (0..n)
            .map(|_| Ok(load::get(service, "/")?.split([' ', ',']).nth(2).unwrap_or("").to_owned()))
            .collect()
    };
    eventually("both answer", seconds(10), || {
        let seen = hosts(20)?;
        ensure!(seen.len() == 2, "{seen:?}");
        Ok(())
    })?;
    load::request(pod_address(&ns, "one")?, "POST", "/fail-readiness?seconds=8")?;
    let told = Instant::now();
    eventually("the unready pod gets no request", seconds(5), || {
        let seen = hosts(20)?;
        ensure!(seen.len() == 1 && seen.contains("two"), "{seen:?}");
        Ok(())
    })?;
    let took = told.elapsed().as_secs_f64();
    println!("the unready pod was out of the Service after {took:.2} s");
    // The period of the probe is a second of it.
    ensure!(took < 2.0, "it took {took:.2} s");
    let restarts = ns.field("pod one", "{.status.containerStatuses[0].restartCount}")?;
    ensure!(restarts == "0", "readiness has restarted the container");
    eventually("both answer again", seconds(20), || {
        let seen = hosts(20)?;
        ensure!(seen.len() == 2, "{seen:?}");
        Ok(())
    })
}

fn replaced(c: &Cluster) -> Result<()> {
    let ns = c.namespace("replaced")?;
    ns.k("create deployment web --image=skiff.local/hello:1 --replicas=2").ok()?;
    ns.k("rollout status deployment/web --timeout=60s").ok().with_context(|| ns.state())?;
    let before = ns.k("get pods -o name").ok()?;
    let victim = before.lines().next().context("no pod")?;
    ns.k(&format!("delete {victim} --timeout=30s")).ok().with_context(|| ns.state())?;
    eventually("another pod is ready", seconds(30), || {
        let pods = ns.k("get pods --no-headers").ok()?;
        let gone = !pods.contains(victim.trim_start_matches("pod/"));
        ensure!(gone && pods.lines().count() == 2 && pods.matches("1/1").count() == 2, "{pods}");
        Ok(())
    })?;
    // At once, without waiting for the container.
    let victim = ns.k("get pods -o name").ok()?.lines().next().context("no pod")?.to_owned();
    ns.k(&format!("delete {victim} --grace-period=0 --force")).ok()?;
    ns.k("rollout status deployment/web --timeout=60s").ok().with_context(|| ns.state())?;
    Ok(())
}

fn namespace(c: &Cluster) -> Result<()> {
    let ns = c.namespace("doomed")?;
    ns.k("create deployment web --image=skiff.local/hello:1 --replicas=2").ok()?;
    ns.k("create configmap m --from-literal=a=b").ok()?;
    ns.k("create secret generic s --from-literal=a=b").ok()?;
    ns.k("expose deployment web --port=80 --target-port=8080").ok()?;
    ns.k("rollout status deployment/web --timeout=60s").ok().with_context(|| ns.state())?;
    let said = c.k("delete namespace doomed --timeout=60s").ok().with_context(|| ns.state())?;
    ensure!(said.contains("deleted"), "{said}");
    let gone = c.k("get namespace doomed").fails()?;
    ensure!(gone.contains("namespaces \"doomed\" not found"), "{gone}");
    let kinds =
        "pods,services,deployments,replicasets,configmaps,secrets,serviceaccounts,endpointslices,events";
    let left = c.k(&format!("get {kinds} -n doomed -o name")).ok()?;
    ensure!(left.is_empty(), "left: {left}");
    let logs: Vec<_> = std::fs::read_dir(c.dir().join("logs"))?
        .flatten()
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .filter(|n| n.starts_with("doomed_"))
        .collect();
    eventually("logs of its pods are gone", seconds(20), || {
        let left = logs.iter().filter(|n| c.dir().join("logs").join(n).exists()).count();
        ensure!(left == 0, "{left} directories");
        Ok(())
    })
}

fn liveness(c: &Cluster) -> Result<()> {
    let ns = c.namespace("liveness")?;
    let probe = "    command: [sh, -c, 'touch /tmp/alive; exec /hello']
    startupProbe: {exec: {command: [test, -e, /tmp/alive]}, periodSeconds: 1}
    livenessProbe: {exec: {command: [test, -e, /tmp/alive]}, periodSeconds: 1, failureThreshold: 2}
    readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1}";
    ns.apply(&pod("mortal", probe))?;
    ready(&ns, "pod/mortal")?;
    ns.k("exec mortal -- rm /tmp/alive").ok()?;
    ns.wait_field("pod mortal", "{.status.containerStatuses[0].restartCount}", "1", 30)?;
    let events = ns.k("get events").ok()?;
    ensure!(events.contains("Liveness probe failed"), "{events}");
    ensure!(events.contains("Container c failed liveness probe, will be restarted"), "{events}");
    ready(&ns, "pod/mortal")
}

fn unschedulable(c: &Cluster) -> Result<()> {
    let ns = c.namespace("unschedulable")?;
    ns.apply(&pod("picky", "  nodeSelector: {disk: fast}"))?;
    let message = "{.status.conditions[?(@.type=='PodScheduled')].message}";
    let expected = "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector. ";
    eventually("why it is pending is told", seconds(10), || {
        let said = ns.field("pod picky", message)?;
        ensure!(said.starts_with(expected.trim_end()), "{said}");
        Ok(())
    })?;
    ensure!(ns.k("get events").ok()?.contains("FailedScheduling"), "no event");
    c.k("label node --all disk=fast").ok()?;
    let scheduled = ready(&ns, "pod/picky");
    c.k("label node --all disk-").ok()?;
    scheduled?;
    ns.apply(&pod("huge", "    resources: {requests: {cpu: '1000'}}"))?;
    eventually("what is lacking is told", seconds(10), || {
        let said = ns.field("pod huge", message)?;
        ensure!(said.starts_with("0/1 nodes are available: 1 Insufficient cpu."), "{said}");
        Ok(())
    })
}

fn missing_config(c: &Cluster) -> Result<()> {
    let ns = c.namespace("missing")?;
    ns.apply(&pod("needy", "    envFrom: [{configMapRef: {name: later}}]"))?;
    ns.wait_field(
        "pod needy",
        "{.status.containerStatuses[0].state.waiting.reason}",
        "CreateContainerConfigError",
        20,
    )?;
    ns.k("create configmap later --from-literal=A=b").ok()?;
    ready(&ns, "pod/needy")?;
    ensure!(ns.k("exec needy -- sh -c").arg("echo $A").ok()? == "b\n", "the variable");
    Ok(())
}

fn grace(c: &Cluster) -> Result<()> {
    let ns = c.namespace("grace")?;
    // preStop runs before TERM; what ignores TERM is killed when the time is over.
    let hooks = "    command: [sh, -c, 'trap \"\" TERM; echo up; while :; do sleep 1; done']
    lifecycle: {preStop: {exec: {command: [sh, -c, 'echo stopping > /proc/1/fd/1']}}}";
    ns.apply(&pod("stubborn", hooks))?;
    ready(&ns, "pod/stubborn")?;
    let follow = ns.k("logs -f stubborn").start()?;
    follow.wait_line("up", seconds(10))?;
    let asked = Instant::now();
    ns.k("delete pod stubborn --timeout=30s").ok().with_context(|| ns.state())?;
    let took = asked.elapsed().as_secs_f64();
    follow.wait_line("stopping", seconds(5))?;
    ensure!((1.5..12.0).contains(&took), "gone after {took:.1} s with 2 s of grace");
    Ok(())
}
