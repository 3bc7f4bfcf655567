//! Scenario 1: the demo manifest on real containers, driven with two kubectls an operator may have.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::kubectl::Run;
use e2e::load;
use e2e::needs;
use e2e::suite::{self, test};
use e2e::wait::seconds;
use e2e::{Cluster, Namespace, eventually};

fn main() -> ExitCode {
    suite::run(vec![
        test("node_is_described", node),
        test("demo_with_kubectl_1_36", |c| Demo::new(c, "1.36", 80)?.all()),
        test("demo_with_kubectl_1_32", |c| Demo::new(c, "1.32", 82)?.all()),
    ])
}

fn node(c: &Cluster) -> Result<()> {
    let wide = c.k("get nodes -o wide").ok()?;
    ensure!(wide.contains("Ready") && wide.contains("containerd://"), "{wide}");
    let described = c.k("describe nodes").ok()?;
    for expected in ["Capacity:", "Allocatable:", "MemoryPressure", "Allocated resources:"] {
        ensure!(described.contains(expected), "{expected} is not in\n{described}");
    }
    let lease = c.k("get leases -n kube-node-lease -o name").ok()?;
    ensure!(lease.starts_with("lease.coordination.k8s.io/"), "{lease}");
    let ready = c.k("wait node --all --for=condition=Ready --timeout=10s").ok()?;
    ensure!(ready.contains("condition met"), "{ready}");
    Ok(())
}

/// A part of the demonstration.
type Step<'a> = fn(&Demo<'a>) -> Result<()>;

struct Demo<'a> {
    ns: Namespace<'a>,
    program: std::path::PathBuf,
    node_port: u16,
}

impl<'a> Demo<'a> {
    fn new(c: &'a Cluster, version: &str, port: u16) -> Result<Self> {
        let program = needs::pinned("kubectl", version)?;
        let ns = c.namespace(&format!("demo-{}", version.replace('.', "-")))?;
        Ok(Self { ns, program, node_port: c.slot().node_port(port) })
    }

    fn k(&self, args: &str) -> Run {
        self.ns.k_of(&self.program, args)
    }

    fn all(&self) -> Result<()> {
        let steps: [(&str, Step<'a>); 11] = [
            ("apply and rollout", Self::apply),
            ("answers", Self::answers),
            ("get", Self::get),
            ("describe and explain", Self::describe),
            ("logs", Self::logs),
            ("exec", Self::exec),
            ("exec -it", Self::terminal),
            ("attach", Self::attach),
            ("cp", Self::cp),
            ("port-forward", Self::port_forward),
            ("apply again and delete", Self::delete),
        ];
        for (name, step) in steps {
            step(self).with_context(|| format!("step {name}")).with_context(|| self.ns.state())?;
        }
        Ok(())
    }

    fn apply(&self) -> Result<()> {
        let manifest = std::fs::read_to_string(needs::root().join("manifests/hello.yaml"))?;
        let manifest = manifest.replace("30080", &self.node_port.to_string());
        std::fs::write(self.file("hello.yaml"), manifest)?;
        let said = self.k("apply -f").arg(self.file("hello.yaml")).ok()?;
        ensure!(
            said.contains("deployment.apps/hello created") && said.contains("service/hello created"),
            "{said}"
        );
        let rollout = self.k("rollout status deployment/hello --timeout=60s").ok()?;
        ensure!(rollout.contains("successfully rolled out"), "{rollout}");
        let phases = self.k("get pods -l app=hello").arg("-o=jsonpath={.items[*].status.phase}").ok()?;
        ensure!(phases == "Running Running Running", "{phases}");
        Ok(())
    }

    fn answers(&self) -> Result<()> {
        let ip: IpAddr = self.ns.field("service hello", "{.spec.clusterIP}")?.parse()?;
        let node: IpAddr = self.ns.field("nodes", "{.items[0].status.addresses[0].address}")?.parse()?;
        for address in [SocketAddr::new(ip, 80), SocketAddr::new(node, self.node_port)] {
            let body = eventually(&format!("{address} answers"), seconds(5), || load::get(address, "/"))?;
            ensure!(body.starts_with("Hello from hello-") && body.contains(", version 1\n"), "{body}");
            ensure!(body.contains(&format!("POD_NAMESPACE={}\n", self.ns.name)), "{body}");
        }
        // All three share the work.
        let mut seen = std::collections::BTreeSet::new();
        eventually("every pod answers through the Service", seconds(10), || {
            seen.insert(load::get(SocketAddr::new(ip, 80), "/")?.lines().next().unwrap_or("").to_owned());
            ensure!(seen.len() == 3, "{seen:?}");
            Ok(())
        })
    }

    fn get(&self) -> Result<()> {
        let plain = self.k("get pods").ok()?;
        ensure!(header(&plain) == "NAME READY STATUS RESTARTS AGE", "{plain}");
        ensure!(plain.matches("1/1").count() == 3, "{plain}");
        let wide = self.k("get pods -o wide").ok()?;
        ensure!(
            header(&wide) == "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
            "{wide}"
        );
        let deployments = self.k("get deployments -o wide").ok()?;
        ensure!(
            header(&deployments) == "NAME READY UP-TO-DATE AVAILABLE AGE CONTAINERS IMAGES SELECTOR",
            "{deployments}"
        );
        let services = self.k("get svc").ok()?;
        ensure!(header(&services) == "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE", "{services}");
        ensure!(services.contains(&format!("80:{}/TCP", self.node_port)), "{services}");
        let yaml = self.k("get deployment hello -o yaml").ok()?;
        ensure!(yaml.starts_with("apiVersion: apps/v1\nkind: Deployment\n"), "{yaml}");
        let json: serde_json::Value = serde_json::from_str(&self.k("get deployment hello -o json").ok()?)?;
        ensure!(json["status"]["readyReplicas"] == 3, "{json}");
        ensure!(json["spec"]["progressDeadlineSeconds"] == 600, "defaults: {json}");
        let image = self.ns.field("deployment hello", "{.spec.template.spec.containers[0].image}")?;
        ensure!(image == "skiff.local/hello:1", "{image}");
        let custom =
            self.k("get pods --no-headers -o custom-columns=N:.metadata.name,P:.status.phase").ok()?;
        ensure!(custom.lines().count() == 3 && custom.lines().all(|l| l.ends_with("Running")), "{custom}");
        let names = self.k("get pods -o name -l app=hello --field-selector status.phase=Running").ok()?;
        ensure!(names.lines().count() == 3, "{names}");
        ensure!(
            self.k("get pods -l app!=hello").run()?.stderr.contains("No resources found"),
            "label selector"
        );
        let all = self.k("get all").ok()?;
        for kind in ["pod/hello-", "service/hello", "deployment.apps/hello", "replicaset.apps/hello-"] {
            ensure!(all.contains(kind), "{all}");
        }
        let slices = self.k("get endpointslices -l kubernetes.io/service-name=hello").ok()?;
        ensure!(header(&slices) == "NAME ADDRESSTYPE PORTS ENDPOINTS AGE", "{slices}");
        ensure!(self.k("api-resources").ok()?.contains("deployments"), "api-resources");
        ensure!(self.k("get --raw /readyz").ok()? == "ok", "readyz");
        Ok(())
    }

    fn describe(&self) -> Result<()> {
        let described = self.k("describe deployment hello").ok()?;
        for expected in
            ["3 desired | 3 updated | 3 total | 3 available", "ScalingReplicaSet", "Scaled up replica set"]
        {
            ensure!(described.contains(expected), "{expected} is not in\n{described}");
        }
        let described = self.k(&format!("describe {}", self.pod()?)).ok()?;
        for expected in
            ["Successfully assigned", "Image ID:", "Started", "QoS Class:", "Ready:          True"]
        {
            ensure!(described.contains(expected), "{expected} is not in\n{described}");
        }
        let service = self.k("describe service hello").ok()?;
        ensure!(service.contains("Endpoints:") && service.matches(":8080").count() >= 3, "{service}");
        let explained = self.k("explain deployment.spec.strategy.rollingUpdate.maxSurge").ok()?;
        ensure!(explained.contains("maxSurge"), "{explained}");
        Ok(())
    }

    fn logs(&self) -> Result<()> {
        let pod = self.pod()?;
        let log = self.k(&format!("logs {pod}")).ok()?;
        ensure!(log.contains("hello 1 listens on port 8080"), "{log}");
        let follow = self.k(&format!("logs -f {pod} --tail=0")).start()?;
        let address = self.address(&pod)?;
        // The follower tells nothing when it has begun: write until it sees a line.
        eventually("logs -f shows a new line", seconds(10), || {
            load::get(address, "/log?line=marker&n=2")?;
            follow.wait_line("marker 2", Duration::from_millis(300))
        })?;
        let tail = self.k(&format!("logs {pod} --tail=1")).ok()?;
        ensure!(tail == "marker 2\n", "{tail:?}");
        let stamped = self.k(&format!("logs {pod} --tail=1 --timestamps")).ok()?;
        ensure!(stamped.starts_with("20") && stamped.ends_with(" marker 2\n"), "{stamped:?}");
        let by_label = self.k("logs -l app=hello --prefix --tail=-1").ok()?;
        ensure!(by_label.matches("listens on port 8080").count() == 3, "{by_label}");
        let error = self.k(&format!("logs {pod} -c nobody")).fails()?;
        ensure!(error.contains("container nobody is not valid for pod"), "{error}");
        let error = self.k(&format!("logs {pod} --previous")).fails()?;
        ensure!(error.contains("previous terminated container \"hello\" in pod"), "{error}");
        Ok(())
    }

    fn exec(&self) -> Result<()> {
        let pod = self.pod()?;
        let said = self.k(&format!("exec {pod} -- sh -c")).arg("echo out; echo err >&2; exit 7").run()?;
        ensure!(said.code == 7, "{said}");
        ensure!(said.stdout == "out\n" && said.stderr.contains("err\n"), "{said}");
        let copied = self.k(&format!("exec -i {pod} -- cat")).stdin(vec![b'x'; 300_000]).ok()?;
        ensure!(copied.len() == 300_000, "{} bytes came back", copied.len());
        let names = self
            .k(&format!("exec {pod} -- nslookup -type=a hello.{}.svc.cluster.local", self.ns.name))
            .ok()?;
        ensure!(names.contains(&self.ns.field("service hello", "{.spec.clusterIP}")?), "{names}");
        let page = self.k(&format!("exec deploy/hello -- wget -qO- http://hello.{}/", self.ns.name)).ok()?;
        ensure!(page.starts_with("Hello from"), "{page}");
        let error = self.k(&format!("exec {pod} -- /no/such/program")).fails()?;
        ensure!(error.contains("no such file or directory"), "{error}");
        Ok(())
    }

    fn terminal(&self) -> Result<()> {
        let script = needs::program("script").ok_or_else(|| needs::Skip("script is not installed".into()))?;
        // The size arrives in a message of its own.
        let inside = "tty; until stty size 2>/dev/null | grep -v ^0; do :; done; echo end of $TERM";
        let line = format!(
            "stty rows 33 cols 77; exec {} -n {} exec -it {} -- sh -c '{inside}'",
            self.program.display(),
            self.ns.name,
            self.pod()?
        );
        let said = Run::new(&script, ["-qefc", &line, "/dev/null"])
            .env("KUBECONFIG", self.ns.cluster.kubeconfig())
            .env("HOME", self.ns.cluster.dir())
            .env("SHELL", "/bin/sh")
            .limit(20)
            .ok()?;
        ensure!(said.contains("/dev/pts/"), "{said:?}");
        ensure!(said.contains("33 77"), "{said:?}");
        ensure!(said.contains("end of"), "{said:?}");
        Ok(())
    }

    fn attach(&self) -> Result<()> {
        let pod = self.pod()?;
        let attached = self.k(&format!("attach {pod}")).start()?;
        let address = self.address(&pod)?;
        eventually("attach shows what the container prints", seconds(10), || {
            load::get(address, "/log?line=attached")?;
            attached.wait_line("attached 1", Duration::from_millis(300)).map(|_| ())
        })
    }

    fn cp(&self) -> Result<()> {
        let pod = self.pod()?;
        let pod = pod.trim_start_matches("pod/");
        let bytes: Vec<u8> = (0..1_000_003u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let (there, back) = (self.file("there"), self.file("back"));
        std::fs::create_dir_all(&there)?;
        std::fs::write(there.join("file"), &bytes)?;
        std::fs::write(there.join("small"), "small\n")?;
        self.k("cp").arg(&there).arg(format!("{pod}:/tmp/there")).ok()?;
        let sum = self
            .k(&format!("exec {pod} -- sh -c"))
            .arg("wc -c < /tmp/there/file; cat /tmp/there/small")
            .ok()?;
        ensure!(sum == "1000003\nsmall\n", "{sum}");
        self.k("cp").arg(format!("{pod}:/tmp/there")).arg(&back).ok()?;
        ensure!(std::fs::read(back.join("file"))? == bytes, "the file has changed on its way");
        Ok(())
    }

    fn port_forward(&self) -> Result<()> {
        for target in [self.pod()?, "service/hello".to_owned()] {
            let port = if target.starts_with("pod") { ":8080" } else { ":80" };
            let forward = self.k(&format!("port-forward --address 127.0.0.1 {target} {port}")).start()?;
            let line = forward.wait_line("Forwarding from", seconds(10))?;
            let port = line.split([':', ' ']).find_map(|w| w.parse::<u16>().ok()).context("no port")?;
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            for _ in 0..5 {
                let body = load::get(address, "/")?;
                ensure!(body.starts_with("Hello from hello-"), "{body}");
            }
            let side_by_side: Vec<_> =
                (0..8).map(|_| std::thread::spawn(move || load::get(address, "/delay?ms=200"))).collect();
            for thread in side_by_side {
                let body = thread.join().ok().context("a request panicked")??;
                ensure!(body == "waited 200 ms\n", "{body}");
            }
        }
        Ok(())
    }

    fn delete(&self) -> Result<()> {
        let said = self.k("apply -f").arg(self.file("hello.yaml")).ok()?;
        ensure!(
            said.contains("deployment.apps/hello unchanged") && said.contains("service/hello unchanged"),
            "{said}"
        );
        let same = self.k("diff -f").arg(self.file("hello.yaml")).run()?;
        ensure!(same.code == 0, "{same}");
        let said = self.k("delete --timeout=60s -f").arg(self.file("hello.yaml")).ok()?;
        ensure!(said.contains("deleted"), "{said}");
        eventually("no pod is left", seconds(30), || {
            let pods = self.k("get pods -o name").ok()?;
            ensure!(pods.is_empty(), "{pods}");
            Ok(())
        })
    }

    /// A running pod, as pod/NAME.
    fn pod(&self) -> Result<String> {
        let names = self.k("get pods -o name -l app=hello").ok()?;
        names.lines().next().map(str::to_owned).context("there is no pod")
    }

    fn address(&self, pod: &str) -> Result<SocketAddr> {
        let ip = self.ns.field(pod, "{.status.podIP}")?;
        Ok(SocketAddr::new(ip.parse().with_context(|| format!("podIP {ip:?}"))?, 8080))
    }

    fn file(&self, name: &str) -> std::path::PathBuf {
        Path::new(&self.ns.cluster.dir()).join(format!("{}-{name}", self.ns.name))
    }
}

/// The header of a table with single blanks.
fn header(table: &str) -> String {
    table.lines().next().unwrap_or("").split_whitespace().collect::<Vec<_>>().join(" ")
}
