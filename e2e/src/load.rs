//! A client that sends requests to a Service all the time and counts what failed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// One request on a connection of its own; the body of a 200.
pub fn get(address: SocketAddr, path: &str) -> Result<String> {
    request(address, "GET", path)
}

/// The same with a body in JSON.
pub fn post(address: SocketAddr, path: &str, body: &str) -> Result<String> {
    send(address, "POST", path, body)
}

/// One request with any method.
pub fn request(address: SocketAddr, method: &str, path: &str) -> Result<String> {
    send(address, method, path, "")
}

fn send(address: SocketAddr, method: &str, path: &str, body: &str) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3))
        .with_context(|| format!("connecting to {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.set_write_timeout(Some(Duration::from_secs(10)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut text = String::new();
    stream.read_to_string(&mut text).with_context(|| format!("reading from {address}"))?;
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no answer: {text:?}"))?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok(body.to_owned())
}

/// A running load.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Load {
    /// Starts `clients` threads, each with one request at a time.
    pub fn start(address: SocketAddr, clients: usize) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..clients)
            .map(|_| {
                let (stop, answered) = (stop.clone(), answered.clone());
                std::thread::spawn(move || {
                    let mut failed = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        match get(address, "/delay?ms=5") {
                            Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                            Err(e) if failed.len() < 100 => failed.push(format!("{e:#}")),
                            Err(_) => {}
                        }
                    }
                    failed
                })
            })
            .collect();
        Self { stop, answered, threads }
    }

    /// How many requests were answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Ends it: answered requests, and why others were not.
    pub fn stop(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.threads.into_iter().flat_map(|t| t.join().unwrap_or_default()).collect();
        (self.answered.load(Ordering::Relaxed), failed)
    }
}
