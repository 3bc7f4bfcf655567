//! The demo and test program: a small HTTP server whose misbehaviour can be ordered.
//!
//! `GET /` tells host name, version and the chosen environment; `/healthz` and `/readyz` are for probes;
//! `/env`, `/delay?ms=`, `/crash?code=`, `/alloc?mb=`, `/log?line=&n=` and `/fail-readiness?seconds=` do what they
//! say. SIGTERM lets it drain: it goes on answering for `DRAIN_MS` (closing connections as it answers them) and ends
//! with 0 when no request is left.
//!
//! Environment: `PORT` (8080), `VERSION` (else the file `/version`), `SHOW_ENV` (names shown by `/`, comma-separated),
//! `FAIL_READINESS` (any value: never ready), `LOG_REQUESTS=1`, `DRAIN_MS` (1500), `EXIT_AFTER_MS`.

mod http;
mod state;

use std::net::{Ipv4Addr, TcpListener};
use std::process::exit;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use crate::state::State;

fn main() {
    // Blocked before any thread exists, so that every thread inherits it and only `wait` sees the signal.
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGTERM);
    signals.add(Signal::SIGINT);
    if let Err(e) = signals.thread_block() {
        fail(&format!("blocking signals: {e}"));
    }
    let state = Arc::new(State::from_env());
    let port = state.port;
    let listener = match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)) {
        Ok(listener) => listener,
        Err(e) => fail(&format!("listening on port {port}: {e}")),
    };
    println!("hello {} listens on port {port}", state.version);
    if let Some(after) = state.exit_after {
        thread::spawn(move || {
            thread::sleep(after);
            println!("hello exits as ordered");
            exit(1);
        });
    }
    let serving = state.clone();
    thread::spawn(move || http::serve(&listener, &serving));
    match signals.wait() {
        Ok(signal) => println!("hello got {signal}, draining"),
        Err(e) => fail(&format!("waiting for signals: {e}")),
    }
    state.start_draining();
    thread::sleep(state.drain);
    // What came in meanwhile is finished, but not for ever.
    if !state.wait_idle(Duration::from_secs(20)) {
        fail("requests were left");
    }
    println!("hello has drained");
}

fn fail(what: &str) -> ! {
    eprintln!("hello: {what}");
    exit(1)
}
