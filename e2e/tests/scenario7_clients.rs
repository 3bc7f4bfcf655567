//! Scenario 7: other people's clients, on a real cluster with containers. The libraries come from PyPI and npm; where
//! those cannot be reached the tests are skipped.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};
use e2e::Cluster;
use e2e::kubectl::Run;
use e2e::needs::{self, Skip};
use e2e::suite::{self, test};

/// What the containers of these tests are made of.
const IMAGE: &str = "skiff.local/hello:1";

fn main() -> ExitCode {
    suite::run(vec![test("python", python), test("node", node)])
}

/// Puts a library in place, or says why it cannot be had.
fn install(language: &str, programs: &[&str]) -> Result<std::path::PathBuf> {
    for name in programs {
        if needs::program(name).is_none() {
            return Err(Skip(format!("{name} is not installed")).into());
        }
    }
    let dir = needs::root().join("target/e2e-clients").join(language);
    let script = needs::root().join("e2e/clients/install.sh");
    let done = Command::new(&script).arg(language).arg(&dir).output().context("running install.sh")?;
    if done.status.success() {
        return Ok(dir);
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing");
    Err(Skip(format!("the {language} client cannot be installed: {last}")).into())
}

fn run(c: &Cluster, name: &str, run: Run, steps: &[&str]) -> Result<()> {
    let said = run.env("KUBECONFIG", c.kubeconfig()).env("HOME", c.dir()).limit(240).ok();
    let said = said.with_context(|| c.k(&format!("get pods,events -n {name}")).ok().unwrap_or_default())?;
    for step in steps {
        ensure!(said.contains(&format!("{step}: ok")), "{step} is not in\n{said}");
    }
    Ok(())
}

fn python(c: &Cluster) -> Result<()> {
    let dir = install("python", &["python3"])?;
    let ns = c.namespace("client-python")?;
    let script = needs::root().join("e2e/clients/client.py");
    let program = Run::new(&dir.join("venv/bin/python"), [script.as_os_str()]).arg(&ns.name).arg(IMAGE);
    run(c, &ns.name, program, &["versions", "objects", "pages", "watches", "applies", "pods"])
}

fn node(c: &Cluster) -> Result<()> {
    let dir = install("node", &["node", "npm"])?;
    let ns = c.namespace("client-node")?;
    let script = needs::root().join("e2e/clients/client.mjs");
    let node = needs::program("node").context("node is gone")?;
    let program =
        Run::new(&node, [script.as_os_str()]).arg(&ns.name).arg(IMAGE).env("SKIFF_CLIENT_DIR", &dir);
    run(c, &ns.name, program, &["crud", "watches", "applies", "informers", "pods"])
}
