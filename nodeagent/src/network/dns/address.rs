//! Puts the address of the name server on an interface of the machine.

use std::net::IpAddr;

use tokio::process::Command;

/// The address could not be put on the interface, or taken off it.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {address} on interface {device}: {reason}")]
pub struct Error {
    operation: &'static str,
    address: IpAddr,
    device: String,
    reason: String,
}

/// Puts `address` on `device`; fine if it is there already.
pub async fn assign(address: IpAddr, device: &str) -> Result<(), Error> {
    run("replace", address, device).await
}

/// Takes `address` off `device`; fine if it is not there.
pub async fn release(address: IpAddr, device: &str) -> Result<(), Error> {
    match run("del", address, device).await {
        Err(error) if error.reason.contains("Cannot assign requested address") => Ok(()),
        Err(error) if error.reason.contains("Address not found") => Ok(()),
        result => result,
    }
}

async fn run(operation: &'static str, address: IpAddr, device: &str) -> Result<(), Error> {
    let failed = |reason: String| Error { operation, address, device: device.to_owned(), reason };
    let length = if address.is_ipv4() { 32 } else { 128 };
    let output = Command::new("ip")
        .args(["address", operation, &format!("{address}/{length}"), "dev", device])
        .output()
        .await
        .map_err(|error| failed(format!("cannot run ip ({error}): apt install iproute2")))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
