//! A client that costs little: HTTP/1.1 over TLS, a connection for each request in flight. Answers are counted,
//! not parsed, so that what is measured is the server as far as one machine allows.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::target::Files;

/// How to reach a server as its administrator.
#[derive(Clone)]
pub struct Wire {
    tls: TlsConnector,
    port: u16,
}

/// One connection.
pub struct Conn(SendRequest<Full<Bytes>>);

/// What a request is.
pub struct Call {
    pub method: &'static str,
    pub path: String,
    pub body: Bytes,
}

/// What came back.
pub struct Reply {
    pub status: u16,
    /// Bytes of the body.
    pub size: usize,
    /// The body, when it was to be kept or is no success.
    pub body: Vec<u8>,
}

impl Call {
    pub fn get(path: impl Into<String>) -> Self {
        Self { method: "GET", path: path.into(), body: Bytes::new() }
    }
    pub fn with(method: &'static str, path: impl Into<String>, body: &serde_json::Value) -> Self {
        Self { method, path: path.into(), body: body.to_string().into() }
    }
}

impl Reply {
    pub fn success(self) -> Result<Self> {
        let text = || String::from_utf8_lossy(&self.body);
        ensure!((200..300).contains(&self.status), "status {}: {:.300}", self.status, text());
        Ok(self)
    }
}

impl Wire {
    pub fn new(files: &Files, port: u16) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&files.ca).context("reading the CA")?)?;
        let certificate =
            CertificateDer::from_pem_file(&files.cert).context("reading the client's certificate")?;
        let key = PrivateKeyDer::from_pem_file(&files.key).context("reading the client's key")?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), port })
    }

    pub async fn connect(&self) -> Result<Conn> {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from("127.0.0.1")?;
        let stream = self.tls.connect(name, stream).await.context("the TLS handshake")?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Its errors are those of the requests on it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Conn(sender))
    }

    /// One request on a connection of its own, its body kept.
    pub async fn once(&self, call: Call) -> Result<Reply> {
        self.connect().await?.send(call, true).await
    }
}

impl Conn {
    async fn start(&mut self, call: Call) -> Result<http::Response<Incoming>> {
        let mut request = Request::builder().method(call.method).uri(call.path).header(header::HOST, "bench");
        let media = match call.method {
            "GET" => None,
            "PATCH" => Some("application/merge-patch+json"),
            _ => Some("application/json"),
        };
        if let Some(media) = media {
            request = request.header(header::CONTENT_TYPE, media);
        }
        let request = request.header(header::ACCEPT, "application/json").body(Full::new(call.body))?;
        self.0.ready().await?;
        Ok(self.0.send_request(request).await?)
    }

    /// Sends a request and reads the whole answer.
    pub async fn send(&mut self, call: Call, keep: bool) -> Result<Reply> {
        let shown = format!("{} {}", call.method, call.path);
        let response = self.start(call).await.with_context(|| shown.clone())?;
        let (parts, mut incoming) = response.into_parts();
        let status = parts.status.as_u16();
        let (mut size, mut body) = (0, Vec::new());
        while let Some(frame) = incoming.frame().await {
            let Ok(data) = frame.with_context(|| format!("reading the answer of {shown}"))?.into_data()
            else {
                continue;
            };
            size += data.len();
            if keep || !parts.status.is_success() {
                body.extend_from_slice(&data);
            }
        }
        Ok(Reply { status, size, body })
    }

    /// Starts a watch; its bytes come as they are sent.
    pub async fn watch(mut self, path: String) -> Result<Watch> {
        let response = self.start(Call::get(path)).await?;
        ensure!(response.status() == 200, "a watch got status {}", response.status());
        Ok(Watch { body: response.into_body(), _conn: self })
    }
}

/// A running watch.
pub struct Watch {
    body: Incoming,
    _conn: Conn,
}

impl Watch {
    /// The next bytes; `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.context("reading a watch")?.into_data() {
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}
