//! Sends questions on to the name servers the machine itself uses.
//!
//! The servers are read from `resolv.conf`, again whenever the file changed. A question is sent as it came, from a
//! port of its own each time; the answer is passed back as it came. The next server is asked when one is silent.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};

/// Questions that are under way at a time.
const IN_FLIGHT: usize = 512;
/// How long one server may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// How many servers are asked.
const SERVERS: usize = 3;

#[derive(Default)]
struct Known {
    changed: Option<SystemTime>,
    servers: Vec<SocketAddr>,
}

/// Where questions are sent on to.
pub(super) struct Forwarder {
    path: PathBuf,
    own: IpAddr,
    known: Mutex<Known>,
    slots: Arc<Semaphore>,
}

impl Forwarder {
    /// Servers are read from `path`; `own` is never asked.
    pub(super) fn new(path: PathBuf, own: IpAddr) -> Self {
        Forwarder { path, own, known: Mutex::default(), slots: Arc::new(Semaphore::new(IN_FLIGHT)) }
    }

    fn servers(&self) -> Vec<SocketAddr> {
        let changed = std::fs::metadata(&self.path).and_then(|metadata| metadata.modified()).ok();
        let mut known = self.known.lock();
        if changed.is_none() || known.changed != changed {
            let text = std::fs::read_to_string(&self.path).unwrap_or_default();
            known.servers = name_servers(&text);
            known.servers.retain(|server| server.ip() != self.own);
            known.changed = changed;
        }
        known.servers.clone()
    }

    /// The answer of the first server that gives one.
    pub(super) async fn ask(&self, question: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        // Too many wait already: an answer that says so at once is worth more than one that comes too late.
        let _slot = self.slots.clone().try_acquire_owned().ok()?;
        for server in self.servers() {
            let attempt = async {
                if over_tcp { ask_tcp(server, question).await } else { ask_udp(server, question).await }
            };
            match timeout(PATIENCE, attempt).await {
                Ok(Ok(answer)) => return Some(answer),
                Ok(Err(error)) => tracing::debug!(%server, %error, "name server cannot be asked"),
                Err(_) => tracing::debug!(%server, "name server is silent"),
            }
        }
        None
    }
}

async fn ask_udp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut answer).await?;
        // Anything else is a late or forged answer to another question.
        if length >= 12 && answer.get(..2) == question.get(..2) {
            answer.truncate(length);
            answer.shrink_to_fit();
            return Ok(answer);
        }
    }
}

async fn ask_tcp(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(std::io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; length.into()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn name_servers(text: &str) -> Vec<SocketAddr> {
    let mut servers = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if words.next() != Some("nameserver") {
            continue;
        }
        let address = words.next().and_then(|word| word.split('%').next()?.parse::<IpAddr>().ok());
        servers.extend(address.map(|address| SocketAddr::new(address, 53)));
    }
    servers.truncate(SERVERS);
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolv_conf_is_read_as_libc_reads_it() {
        let text = "# nameserver 1.1.1.1\nsearch a b\nnameserver 10.0.0.1 # first\n nameserver\tfe80::1%eth0\nnameserver x\n\
                    nameserver 10.0.0.3\nnameserver 10.0.0.4\n";
        let servers: Vec<String> = name_servers(text).iter().map(|server| server.ip().to_string()).collect();
        assert_eq!(servers, ["10.0.0.1", "fe80::1", "10.0.0.3"]);
    }
}
