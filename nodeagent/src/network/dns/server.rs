//! Takes questions over UDP and TCP and answers them.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    rr::{DNSClass, Record, RecordType},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    sync::Semaphore,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info};

use super::{
    forward::Forwarder,
    zone::{Answer, Zone},
};
use crate::network::proxy::ServiceCache;

/// Largest answer over UDP, whatever the client says it takes: larger ones get lost on the way.
const LARGEST_UDP: u16 = 1232;
/// Questions that are being answered at a time, over both.
const IN_FLIGHT: usize = 1024;
/// TCP connections at a time.
const CONNECTIONS: usize = 256;
/// How long a TCP connection may be idle.
const IDLE: Duration = Duration::from_secs(10);

/// Configuration of the name server.
#[derive(Clone)]
pub struct Config {
    /// Services; shared with the service proxy.
    pub services: Arc<ServiceCache>,
    /// Address and port it answers at; the address has to be on an interface already ([`super::assign`]).
    pub listen: SocketAddr,
    /// The cluster's domain, `cluster.local`.
    pub domain: String,
    /// Networks of services and pods: reverse names in them are answered without asking elsewhere.
    pub networks: Vec<String>,
    /// Where the machine's own name servers are written.
    pub resolv_conf: PathBuf,
}

impl Config {
    /// The usual configuration.
    pub fn new(services: Arc<ServiceCache>, address: IpAddr) -> Self {
        Config {
            services,
            listen: SocketAddr::new(address, 53),
            domain: "cluster.local".to_owned(),
            networks: Vec::new(),
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

/// The name server cannot be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address cannot be listened on.
    #[error("cannot answer name queries at {address} over {protocol}")]
    Listen {
        /// Address and port.
        address: SocketAddr,
        /// UDP or TCP.
        protocol: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A network cannot be read.
    #[error("{0:?} is not a network")]
    Network(String),
    /// The domain is no name.
    #[error("{0:?} is not a domain name")]
    Domain(String),
}

struct Shared {
    services: Arc<ServiceCache>,
    zone: Zone,
    forwarder: Forwarder,
    slots: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    turn: AtomicUsize,
}

/// The name server, listening but not answering yet.
pub struct Server {
    shared: Arc<Shared>,
    udp: Arc<UdpSocket>,
    tcp: TcpListener,
}

impl Server {
    /// Binds the sockets.
    pub async fn build(config: Config) -> Result<Self, Error> {
        let mut reverse = Vec::new();
        for network in &config.networks {
            let parsed = network.split_once('/').and_then(|(address, length)| {
                Some((address.parse::<IpAddr>().ok()?, length.parse::<u8>().ok()?))
            });
            reverse.push(parsed.ok_or_else(|| Error::Network(network.clone()))?);
        }
        let domain = config.domain.trim_matches('.').to_ascii_lowercase();
        let zone = Zone { domain, reverse };
        if zone.domain.is_empty() || zone.soa().is_none() {
            return Err(Error::Domain(config.domain));
        }
        let address = config.listen;
        let failed = |protocol| move |source| Error::Listen { address, protocol, source };
        let tcp = TcpListener::bind(address).await.map_err(failed("TCP"))?;
        // With port 0 both get the same one.
        let address = tcp.local_addr().map_err(failed("TCP"))?;
        let udp = UdpSocket::bind(address).await.map_err(failed("UDP"))?;
        let shared = Arc::new(Shared {
            services: config.services,
            zone,
            forwarder: Forwarder::new(config.resolv_conf, address.ip()),
            slots: Arc::new(Semaphore::new(IN_FLIGHT)),
            connections: Arc::new(Semaphore::new(CONNECTIONS)),
            turn: AtomicUsize::new(0),
        });
        Ok(Server { shared, udp: Arc::new(udp), tcp })
    }

    /// The address and port it answers at.
    pub fn address(&self) -> Option<SocketAddr> {
        self.tcp.local_addr().ok()
    }

    /// Answers until `token` is cancelled and every task has ended.
    pub async fn run(self, token: CancellationToken) {
        let tasks = TaskTracker::new();
        info!(address = self.address().map(tracing::field::display), "answering name queries");
        let serve = async {
            tokio::join!(
                serve_udp(&self.shared, &self.udp, &tasks),
                serve_tcp(&self.shared, &self.tcp, &tasks, &token)
            )
        };
        token.run_until_cancelled(serve).await;
        tasks.close();
        tasks.wait().await;
    }
}

async fn serve_udp(shared: &Arc<Shared>, socket: &Arc<UdpSocket>, tasks: &TaskTracker) {
    let mut buffer = vec![0; 4096];
    loop {
        let (length, client) = match socket.recv_from(&mut buffer).await {
            Ok(received) => received,
            Err(error) => {
                // An ICMP message about an earlier answer; the socket is still good.
                debug!(%error, "no question received");
                continue;
            }
        };
        // Dropped when too many wait: the client asks again.
        let Ok(slot) = shared.slots.clone().try_acquire_owned() else { continue };
        let (shared, socket, question) = (shared.clone(), socket.clone(), buffer[..length].to_vec());
        tasks.spawn(async move {
            let _slot = slot;
            let Some(answer) = shared.answer(&question, false).await else { return };
            if let Err(error) = socket.send_to(&answer, client).await {
                debug!(%client, %error, "answer not sent");
            }
        });
    }
}

async fn serve_tcp(
    shared: &Arc<Shared>,
    listener: &TcpListener,
    tasks: &TaskTracker,
    token: &CancellationToken,
) {
    loop {
        let Ok(slot) = shared.connections.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "connection not accepted");
                // Most likely out of file descriptors: do not spin.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (shared, token) = (shared.clone(), token.clone());
        tasks.spawn(async move {
            let _slot = slot;
            if let Some(Err(error)) = token.run_until_cancelled(converse(&shared, stream)).await {
                debug!(%error, "connection ended");
            }
        });
    }
}

async fn converse(shared: &Shared, mut stream: TcpStream) -> std::io::Result<()> {
    loop {
        let Ok(length) = timeout(IDLE, stream.read_u16()).await else { return Ok(()) };
        let length = match length {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            length => length?,
        };
        let mut question = vec![0; length.into()];
        let Ok(read) = timeout(IDLE, stream.read_exact(&mut question)).await else { return Ok(()) };
        read?;
        let Some(answer) = shared.answer(&question, true).await else { return Ok(()) };
        let Ok(length) = u16::try_from(answer.len()) else { return Ok(()) };
        stream.write_all(&[&length.to_be_bytes()[..], &answer].concat()).await?;
    }
}

impl Shared {
    /// The answer to the bytes of a question; nothing for what is no question at all.
    async fn answer(&self, bytes: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
        let request = match Message::from_vec(bytes) {
            Ok(request) if request.metadata.message_type == MessageType::Query => request,
            Ok(_) => return None,
            Err(error) => {
                debug!(%error, "a question cannot be read");
                let id = u16::from_be_bytes([*bytes.first()?, *bytes.get(1)?]);
                return Message::error_msg(id, OpCode::Query, ResponseCode::FormErr).to_vec().ok();
            }
        };
        let mut response = reply_to(&request);
        let question = match request.queries.as_slice() {
            [question] => question,
            _ => {
                response.metadata.response_code = ResponseCode::FormErr;
                return encode(response, &request, over_tcp);
            }
        };
        if request.metadata.op_code != OpCode::Query {
            response.metadata.response_code = ResponseCode::NotImp;
            return encode(response, &request, over_tcp);
        }
        let known = match question.query_class() {
            DNSClass::IN | DNSClass::ANY => {
                self.zone.answer(&self.services, question.name(), question.query_type())
            }
            _ => Answer::NotOurs,
        };
        match known {
            Answer::NotOurs => match self.forwarder.ask(bytes, over_tcp).await {
                Some(answer) => return Some(answer),
                None => response.metadata.response_code = ResponseCode::ServFail,
            },
            Answer::Found(mut records, additional) => {
                self.rotate(&mut records);
                response.metadata.authoritative = true;
                response.answers = records;
                response.additionals = additional;
            }
            Answer::Alias(record, target) => {
                response.metadata.authoritative = true;
                response.answers = vec![*record];
                let found = self.resolve(target, question.query_type()).await;
                response.answers.extend(found);
            }
            Answer::NoData => {
                response.metadata.authoritative = true;
                response.authorities.extend(self.zone.soa());
            }
            Answer::NoName => {
                response.metadata.authoritative = true;
                response.metadata.response_code = ResponseCode::NXDomain;
                response.authorities.extend(self.zone.soa());
            }
        }
        encode(response, &request, over_tcp)
    }

    /// Clients that take the first address shall not all take the same one.
    fn rotate(&self, records: &mut [Record]) {
        if records.len() > 1 {
            let by = self.turn.fetch_add(1, Ordering::Relaxed) % records.len();
            records.rotate_left(by);
        }
    }

    /// The records behind an alias: a client in a pod cannot ask for them itself.
    async fn resolve(&self, target: hickory_proto::rr::Name, type_: RecordType) -> Vec<Record> {
        if let Answer::Found(records, _) = self.zone.answer(&self.services, &target, type_) {
            return records;
        }
        let mut message = Message::query();
        message.metadata.recursion_desired = true;
        message.add_query(Query::query(target, type_));
        let Ok(question) = message.to_vec() else { return Vec::new() };
        let answer = match self.forwarder.ask(&question, false).await {
            Some(answer) => Message::from_vec(&answer).ok(),
            None => None,
        };
        answer.map(|message| message.answers).unwrap_or_default()
    }
}

fn reply_to(request: &Message) -> Message {
    let mut response = Message::response(request.metadata.id, request.metadata.op_code);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.recursion_available = true;
    response.add_queries(request.queries.iter().cloned());
    if request.edns.is_some() {
        let mut edns = Edns::new();
        edns.set_max_payload(LARGEST_UDP);
        response.set_edns(edns);
    }
    response
}

fn encode(response: Message, request: &Message, over_tcp: bool) -> Option<Vec<u8>> {
    let bytes = response.to_vec().ok()?;
    let largest = usize::from(request.max_payload().clamp(512, LARGEST_UDP));
    if over_tcp || bytes.len() <= largest {
        return Some(bytes);
    }
    // What is additional can be asked for; what is still too long has to be asked for over TCP.
    let mut shorter = response;
    shorter.additionals.clear();
    let bytes = shorter.to_vec().ok()?;
    if bytes.len() <= largest { Some(bytes) } else { shorter.truncate().to_vec().ok() }
}

#[cfg(test)]
mod tests {
    use hickory_proto::rr::Name;

    use super::*;
    use crate::network::dns::zone::tests::services;

    async fn start(resolv_conf: &str) -> (SocketAddr, CancellationToken, tokio::task::JoinHandle<()>) {
        let config = Config {
            listen: "127.0.0.1:0".parse().expect("an address"),
            resolv_conf: resolv_conf.into(),
            ..Config::new(services(), IpAddr::from([127, 0, 0, 1]))
        };
        let server = Server::build(config).await.expect("the server listens");
        let (address, token) = (server.address().expect("an address"), CancellationToken::new());
        let task = tokio::spawn(server.run(token.clone()));
        (address, token, task)
    }

    fn question(name: &str, type_: RecordType) -> Vec<u8> {
        let mut message = Message::query();
        message.add_query(Query::query(Name::from_ascii(name).expect("a name"), type_));
        message.to_vec().expect("a message")
    }

    async fn ask(server: SocketAddr, name: &str, type_: RecordType) -> Message {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        socket.send_to(&question(name, type_), server).await.expect("sent");
        let mut buffer = [0; 4096];
        let wait = timeout(Duration::from_secs(10), socket.recv(&mut buffer)).await;
        let length = wait.expect("an answer in time").expect("an answer");
        Message::from_vec(&buffer[..length]).expect("a message")
    }

    #[tokio::test]
    async fn questions_are_answered_over_udp_and_tcp() {
        let (server, token, task) = start("/nonexistent").await;
        let answer = ask(server, "web.default.svc.cluster.local.", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.metadata.authoritative);
        assert_eq!(answer.answers.len(), 1);
        let answer = ask(server, "nobody.default.svc.cluster.local.", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NXDomain);
        assert_eq!(answer.authorities.len(), 1, "a negative answer says how long it may be kept");
        let answer = ask(server, "web.default.svc.cluster.local.", RecordType::MX).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::NoError);
        assert!(answer.answers.is_empty());

        let mut stream = TcpStream::connect(server).await.expect("connected");
        let question = question("db.default.svc.cluster.local.", RecordType::A);
        let length = u16::try_from(question.len()).expect("short").to_be_bytes();
        stream.write_all(&[&length[..], &question].concat()).await.expect("sent");
        let mut answer = vec![0; stream.read_u16().await.expect("a length").into()];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(Message::from_vec(&answer).expect("a message").answers.len(), 2);
        drop(stream);
        token.cancel();
        task.await.expect("the server ends");
    }

    #[tokio::test]
    async fn without_name_servers_other_names_fail() {
        let (server, token, task) = start("/nonexistent").await;
        let answer = ask(server, "example.com.", RecordType::A).await;
        assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
        let answer = ask(server, "outside.other.svc.cluster.local.", RecordType::A).await;
        assert_eq!(answer.answers.len(), 1, "the alias is told even if its target cannot be found");
        token.cancel();
        task.await.expect("the server ends");
    }
}
