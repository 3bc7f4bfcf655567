//! For the tests of every crate; nothing else uses it.

use std::io::Write as _;

/// Says that the running test cannot run here and why; the caller returns. The standard test runner knows of no test
/// that finds this out by itself and counts it as passed; `e2e/scripts/test.sh` counts these lines and takes them off.
///
/// # Panics
/// When it cannot be said: a test that was skipped without a word would be taken for one that has passed.
pub fn skipped(reason: impl std::fmt::Display) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // Not by `println!`, of which the runner shows nothing when a test passes; on a line of its own and in one piece.
    let line = format!("\nSKIPPED BY ITSELF {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).expect("standard error takes a line");
}
