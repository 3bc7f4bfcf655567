//! The `skiff` binary: parse, build, run, wait, drain.

mod assemble;
mod cli;
#[cfg(test)]
mod cluster_tests;
mod commands;
mod credentials;
mod kubeconfig;
mod lock;
mod logging;
mod machine;
mod paths;
mod pki;
mod progress;
mod say;

use std::process::ExitCode;

use clap::Parser;

/// Gives memory back when a cache shrinks, which the system's allocator does not.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    logging::init(cli.verbose);
    // Whoever starts us may have blocked signals, and a mask is inherited: SIGTERM must reach us.
    if let Err(e) = nix::sys::signal::SigSet::all().thread_unblock() {
        tracing::warn!(error = %e, "signals stay blocked");
    }
    match commands::run(cli) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("skiff: {e:#}");
            ExitCode::FAILURE
        }
    }
}
