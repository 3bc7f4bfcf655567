//! One file a command.

mod component;
mod down;
mod image;
mod run;
mod snapshot;
mod status;
mod up;

use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::cli::{Cli, Command};

/// Worker threads at most: a small cluster needs few, and each costs memory.
const MAX_WORKERS: usize = 4;

/// Runs a command to its end.
pub fn run(cli: Cli) -> Result<ExitCode> {
    match cli.command {
        // Needs no runtime, and must not have threads when it starts another process.
        Command::Up(args) => up::up(&args, cli.verbose),
        command => runtime()?.block_on(dispatch(command)),
    }
}

async fn dispatch(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => up::up(&args, 0),
        Command::Down(args) => down::down(&args).await,
        Command::Status(dirs) => status::status(&dirs).await,
        Command::Run(args) => run::all_in_one(&args).await,
        Command::Server(args) => run::control_plane(&args).await,
        Command::Agent(args) => run::agent(&args).await,
        Command::Apiserver(args) => component::apiserver(&args).await,
        Command::Scheduler(args) => component::scheduler(&args).await,
        Command::Controllers(args) => component::controllers(&args).await,
        Command::Image(command) => image::image(&command).await,
        Command::Snapshot(command) => snapshot::snapshot(&command).await,
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let cpus = std::thread::available_parallelism().map_or(2, usize::from);
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cpus.clamp(2, MAX_WORKERS))
        .enable_all()
        .build()
        .context("starting the runtime")
}
