//! `skiff up`: starts the cluster detached, shows its steps, returns when the node is Ready.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::assemble;
use crate::cli::UpArgs;
use crate::kubeconfig::{self, Merged};
use crate::lock;
use crate::machine;
use crate::paths::{self, Paths};
use crate::pki::Pki;
use crate::progress::Step;
use crate::say::say;

/// Starts the cluster.
pub fn up(args: &UpArgs, verbose: u8) -> Result<ExitCode> {
    machine::require_root("up")?;
    let paths = Paths::from(&args.run.server.dirs);
    if let Some(pid) = lock::holder(&paths) {
        say!("skiff is running already (process {pid}); see `skiff status`");
        merge_kubeconfig(args, &paths)?;
        return Ok(ExitCode::SUCCESS);
    }
    paths::private_dir(&paths.data).with_context(|| {
        format!("making the data directory {}; choose another with --data-dir", paths.data.display())
    })?;
    let started = Instant::now();
    let child = spawn(&paths, verbose)?;
    follow(child, args, &paths, started)?;
    merge_kubeconfig(args, &paths)?;
    say!(
        "\nThe cluster is up. Try:\n  kubectl get nodes -o wide\n  kubectl get pods --all-namespaces\n  skiff status"
    );
    Ok(ExitCode::SUCCESS)
}

/// Starts ourselves with the same options in the background.
fn spawn(paths: &Paths, verbose: u8) -> Result<Child> {
    let program = std::env::current_exe().context("finding our own program")?;
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .open(paths.log())
        .with_context(|| format!("opening {}", paths.log().display()))?;
    let mut own: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    let at = own.iter().position(|a| a == "up").ok_or_else(|| anyhow!("`up` is not among our arguments"))?;
    own[at] = "run".into();
    own.push("--detached".into());
    drop_up_only(&mut own);
    let mut command = Command::new(program);
    command.args(own).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).current_dir("/");
    if verbose == 0 && std::env::var_os("SKIFF_LOG").is_none() {
        command.env(
            "SKIFF_LOG",
            "warn,skiff=info,apiserver=info,scheduler=info,controllers=info,nodeagent=info",
        );
    }
    command.spawn().context("starting the background process")
}

/// Options that only `up` knows.
fn drop_up_only(own: &mut Vec<std::ffi::OsString>) {
    own.retain(|a| a != "--no-kubeconfig" && !a.to_string_lossy().starts_with("--timeout="));
    if let Some(at) = own.iter().position(|a| a == "--timeout") {
        own.drain(at..(at + 2).min(own.len()));
    }
}

/// Shows the steps until the last one.
fn follow(mut child: Child, args: &UpArgs, paths: &Paths, started: Instant) -> Result<()> {
    let out = child.stdout.take().context("the background process has no output")?;
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(Result::ok) {
            // We stop listening after the last step.
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let deadline = started + Duration::from_secs(args.timeout);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left) {
            Ok(line) => {
                let Ok(step) = serde_json::from_str::<Step>(&line) else { continue };
                if let Some(error) = step.error {
                    bail!("{error}\nThe log is in {}", paths.log().display());
                }
                say!("{:>7.3} s  {}", started.elapsed().as_secs_f64(), step.name);
                if step.last {
                    return Ok(());
                }
            }
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!(
                    "the node was not Ready within {} s; it goes on starting in the background: see `skiff status` and {}",
                    args.timeout,
                    paths.log().display()
                );
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => {
                let status = child.wait().context("waiting for the background process")?;
                bail!("the background process ended ({status}); its log is in {}", paths.log().display());
            }
        }
    }
}

fn merge_kubeconfig(args: &UpArgs, paths: &Paths) -> Result<()> {
    if args.no_kubeconfig {
        say!("kubeconfig: {}", paths.admin_kubeconfig().display());
        return Ok(());
    }
    let Some(file) = kubeconfig::user_file() else {
        say!("kubeconfig: {} (no HOME to merge it into)", paths.admin_kubeconfig().display());
        return Ok(());
    };
    let ours = kubeconfig::make(&Pki::existing(paths), "admin", &assemble::server_url(&args.run.server))?;
    match kubeconfig::merge(&file, &ours)? {
        Merged::Current => say!("kubectl uses context {:?} of {}", kubeconfig::CONTEXT, file.display()),
        Merged::Beside(other) => say!(
            "context {:?} was added to {}; the current one stays {other:?}. Switch with: kubectl config use-context {}",
            kubeconfig::CONTEXT,
            file.display(),
            kubeconfig::CONTEXT
        ),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_up_are_not_passed_on() {
        let mut own: Vec<std::ffi::OsString> =
            ["run", "--timeout", "5", "--port", "1", "--no-kubeconfig", "--timeout=3"]
                .map(Into::into)
                .to_vec();
        drop_up_only(&mut own);
        assert_eq!(own, ["run", "--port", "1"]);
    }
}
