//! HTTP(S) requests of probes and hooks: no certificate check, no following of redirects to other hosts (a
//! redirect counts as success), nothing kept open.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, HTTPGetAction, Pod};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;

use super::{port_of, tcp};

/// A request ready to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    tls: bool,
    host: String,
    port: u16,
    path: String,
    headers: Vec<(String, String)>,
}

impl Request {
    /// What an `httpGet` action asks for.
    pub fn new(
        _pod: &Pod,
        container: &Container,
        action: &HTTPGetAction,
        pod_ip: &str,
        agent: &str,
    ) -> Result<Request, String> {
        let path = action.path.clone().unwrap_or_default();
        let path = if path.starts_with('/') { path } else { format!("/{path}") };
        let host = action.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| pod_ip.to_owned());
        let mut headers: Vec<(String, String)> = action
            .http_headers
            .iter()
            .flatten()
            .map(|header| (header.name.clone(), header.value.clone()))
            .collect();
        for (name, value) in [("User-Agent", agent), ("Accept", "*/*"), ("Connection", "close")] {
            if !headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        Ok(Request {
            tls: action.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")),
            port: port_of(container, &action.port)?,
            host,
            path,
            headers,
        })
    }

    fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", tcp::join(&self.host, self.port), self.path)
    }

    /// Sends it and gives the status code; the error is in upstream's words.
    pub async fn send(&self, timeout: Duration) -> Result<u16, String> {
        let failed = |error: String| format!("Get {:?}: {error}", self.url());
        match tokio::time::timeout(timeout, self.exchange()).await {
            Ok(Ok(status)) => Ok(status),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(failed(
                "context deadline exceeded (Client.Timeout exceeded while awaiting headers)".to_owned(),
            )),
        }
    }

    async fn exchange(&self) -> Result<u16, String> {
        let stream = TcpStream::connect((self.host.as_str(), self.port))
            .await
            .map_err(|error| tcp::dial_error(&self.host, self.port, &error))?;
        if !self.tls {
            return self.over(stream).await;
        }
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate))
        .with_no_client_auth();
        let name = ServerName::try_from(self.host.clone()).map_err(|error| error.to_string())?;
        let stream = tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .map_err(|error| error.to_string())?;
        self.over(stream).await
    }

    async fn over<S>(&self, stream: S) -> Result<u16, String>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        let mut request = hyper::Request::get(&self.path);
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            request = request.header("Host", tcp::join(&self.host, self.port));
        }
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let answer = async {
            sender.send_request(request).await.map(|answer| answer.status().as_u16()).map_err(|error| {
                if error.is_incomplete_message() { "EOF".to_owned() } else { error.to_string() }
            })
        };
        // The connection has to be driven; whichever ends first, the answer is what counts.
        let mut answer = std::pin::pin!(answer);
        tokio::select! {
            status = &mut answer => status,
            ended = connection => {
                if let Err(error) = ended {
                    tracing::trace!(%error, "probe connection");
                }
                answer.await
            }
        }
    }
}

/// Probes check that something answers, not who: pods have no certificates the node could know.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[tokio::test]
    async fn the_status_code_comes_back() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            let size = stream.read(&mut buffer).await.unwrap();
            let request = String::from_utf8_lossy(&buffer[..size]).to_ascii_lowercase();
            assert!(request.starts_with("get /ready?x=1 http/1.1"));
            assert!(request.contains("user-agent: kube-probe/1.36"));
            stream.write_all(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n").await.unwrap();
        });
        let action: HTTPGetAction =
            serde_json::from_value(serde_json::json!({"port": port, "path": "/ready?x=1"})).unwrap();
        let request =
            Request::new(&Pod::default(), &Container::default(), &action, "127.0.0.1", "kube-probe/1.36")
                .unwrap();
        assert_eq!(request.send(Duration::from_secs(5)).await, Ok(503));
    }
}
