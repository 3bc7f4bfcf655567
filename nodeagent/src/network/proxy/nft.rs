//! Loads a transaction with `nft -f -`.

use std::process::Stdio;

use tokio::{io::AsyncWriteExt, process::Command};

/// A transaction was not loaded; the ruleset is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program could not be run.
    #[error("cannot run nft: install nftables")]
    Run(#[source] std::io::Error),
    /// The kernel or nft refused.
    #[error("nft refused a transaction of {lines} lines: {reason}")]
    Refused {
        /// How long it was.
        lines: usize,
        /// The first lines of what nft said.
        reason: String,
    },
}

/// Loads `text` as a whole or not at all.
pub(super) async fn load(text: &str) -> Result<(), Error> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::Run)?;
    let input = child.stdin.take();
    let write = async {
        if let Some(mut input) = input {
            // nft tells why it stopped reading, if it did.
            let _ = input.write_all(text.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output.map_err(Error::Run)?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let reason: Vec<&str> = said.lines().take(4).collect();
    Err(Error::Refused { lines: text.lines().count(), reason: reason.join("; ") })
}
