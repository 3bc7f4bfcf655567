//! A control plane alone (`skiff server`): quick to start, kill and start again; needs no containers and no root.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::client::Api;
use crate::kubectl::{Background, Run};
use crate::needs;
use crate::slot::Slot;

/// A control plane.
pub struct Plane {
    slot: Slot,
    extra: Vec<String>,
    process: Mutex<Option<Background>>,
}

impl Plane {
    /// Starts one; `extra` are further options of `skiff server`.
    pub fn up(slot: Slot, extra: &[String]) -> Result<Self> {
        // What a killed test has left.
        if slot.dir().exists() {
            std::fs::remove_dir_all(slot.dir())
                .with_context(|| format!("removing {}", slot.dir().display()))?;
        }
        let plane = Self { slot, extra: extra.to_vec(), process: Mutex::new(None) };
        plane.start()?;
        Ok(plane)
    }

    /// Starts the process, first or again, and waits until it is ready.
    pub fn start(&self) -> Result<()> {
        let dir = self.dir();
        let args = [
            ("--data-dir", dir.join("data").display().to_string()),
            ("--run-dir", dir.join("run").display().to_string()),
            ("--bind-address", "127.0.0.1".into()),
            ("--advertise-address", "127.0.0.1".into()),
            ("--port", self.slot.api_port().to_string()),
            ("--service-cidr", self.slot.service_cidr()),
        ];
        let args = args.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
        let args = std::iter::once("server".to_owned()).chain(args).chain(self.extra.iter().cloned());
        let mut process = Run::new(&needs::skiff()?, args).start()?;
        let ready = crate::eventually("the API server is ready", Duration::from_secs(30), || {
            if let Ok(code) = process.wait_end(Duration::ZERO) {
                anyhow::bail!("it ended with {code}: {}", process.lines().join("\n"));
            }
            let answer = self.api()?.get("/readyz")?;
            anyhow::ensure!(answer.status == 200, "{}", answer.body);
            Ok(())
        });
        ready.with_context(|| process.lines().join("\n"))?;
        *self.process() = Some(process);
        Ok(())
    }

    /// `kill -9`, at once.
    pub fn kill(&self) {
        *self.process() = None;
    }

    fn process(&self) -> MutexGuard<'_, Option<Background>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends it and removes what it has written; safe to call again.
    pub fn stop(&self) -> Result<()> {
        self.kill();
        match std::fs::remove_dir_all(self.dir()) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(e).with_context(|| format!("removing {}", self.dir().display()))
            }
            _ => Ok(()),
        }
    }

    /// Its process.
    pub fn pid(&self) -> Option<u32> {
        self.process().as_ref().map(Background::pid)
    }
    /// What it has said.
    pub fn said(&self) -> String {
        self.process().as_ref().map(|p| p.lines().join("\n")).unwrap_or_default()
    }
    /// The slot on this machine.
    pub fn slot(&self) -> &Slot {
        &self.slot
    }
    /// Directory of everything.
    pub fn dir(&self) -> PathBuf {
        self.slot.dir()
    }
    /// The administrator's kubeconfig.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir().join("data/admin.kubeconfig")
    }
    /// An API client with the administrator's identity.
    pub fn api(&self) -> Result<Api> {
        Api::from_kubeconfig(&self.kubeconfig())
    }
    /// kubectl with blank-separated arguments.
    pub fn k(&self, args: &str) -> Result<Run> {
        let run = Run::new(&needs::kubectl()?, args.split_whitespace());
        Ok(run.env("KUBECONFIG", self.kubeconfig()).env("HOME", self.dir()))
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        if let Err(e) = self.stop() {
            eprintln!("{e:#}");
        }
    }
}
