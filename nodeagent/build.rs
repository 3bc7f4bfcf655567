//! Compiles the pause program, so that the product carries its own pause image and needs no registry.

use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=pause/pause.c");
    println!("cargo::rerun-if-env-changed=CC");
    let out = std::env::var("OUT_DIR").unwrap_or_else(|_| ".".to_owned());
    let target = Path::new(&out).join("pause");
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let status = Command::new(&compiler)
        .args(["-static", "-Os", "-s", "-Wall", "-Wl,--gc-sections", "-ffunction-sections", "-o"])
        .arg(&target)
        .arg("pause/pause.c")
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => panic!(
            "{compiler} could not build pause/pause.c statically ({status}): install gcc and libc6-dev"
        ),
        Err(error) => panic!("cannot run the C compiler {compiler} ({error}): install gcc and libc6-dev"),
    }
}
