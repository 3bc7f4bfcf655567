//! What a test needs of the machine, and where the tools are.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The reason why a test did not run; not a failure.
#[derive(Debug)]
pub struct Skip(pub String);

impl fmt::Display for Skip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Skip {}

/// Finds a program on PATH.
pub fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(name)).find(|p| p.is_file())
}

/// Why containers cannot be run on this machine.
pub fn containers() -> Result<(), Skip> {
    if !nix::unistd::geteuid().is_root() {
        return Err(Skip("containers need root".into()));
    }
    for name in ["containerd", "runc", "nft", "ip", "busybox"] {
        if program(name).is_none() {
            return Err(Skip(format!("{name} is not installed; `make test` installs it")));
        }
    }
    Ok(())
}

/// The root of the project.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The program under test: `SKIFF_BIN`, else the one cargo has built beside this test.
pub fn skiff() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("SKIFF_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe().context("finding our own program")?;
    // target/debug/deps/test-1234 or target/debug/bench
    for dir in own.ancestors().skip(1).take(2) {
        let path = dir.join("skiff");
        if path.is_file() {
            return Ok(path);
        }
    }
    bail!("the skiff program is not built: cargo build -p skiff")
}

/// A pinned version of a program that was fetched, such as kubectl "1.36".
pub fn pinned(program: &str, version: &str) -> Result<PathBuf, Skip> {
    let path = root().join(format!("target/tools/{program}-{version}/usr/bin/{program}"));
    if path.is_file() {
        return Ok(path);
    }
    Err(Skip(format!(
        "{program} {version} is not there; e2e/scripts/fetch.sh {program}-{version} fetches it"
    )))
}

/// The kubectl that scenarios use: 1.36, else whatever is on PATH.
pub fn kubectl() -> Result<PathBuf> {
    if let Ok(path) = pinned("kubectl", "1.36") {
        return Ok(path);
    }
    program("kubectl").context("no kubectl; e2e/scripts/fetch.sh kubectl-1.36 fetches one")
}

/// The archives of the demo image; made when they are not there. `make test` makes sure they are up to date.
pub fn images() -> Result<Vec<PathBuf>> {
    let dir = root().join("target/e2e-images");
    let archives: Vec<_> = ["hello-1.tar", "hello-2.tar"].iter().map(|f| dir.join(f)).collect();
    if archives.iter().all(|a| a.is_file()) {
        return Ok(archives);
    }
    let script = root().join("e2e/scripts/build-images.sh");
    let done = std::process::Command::new(&script)
        .arg(skiff()?)
        .arg(&dir)
        .output()
        .with_context(|| format!("running {}", script.display()))?;
    if !done.status.success() {
        bail!("{}: {}", script.display(), String::from_utf8_lossy(&done.stderr));
    }
    Ok(archives)
}
