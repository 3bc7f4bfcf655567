//! gRPC probes: `grpc.health.v1.Health/Check`.

use std::time::Duration;

use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;

use super::Outcome;

#[derive(Clone, PartialEq, prost::Message)]
struct CheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

const SERVING: i32 = 1;

/// Asks the health service.
pub async fn probe(host: &str, port: u16, service: String, timeout: Duration) -> Outcome {
    match tokio::time::timeout(timeout, check(host, port, service)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let address = super::tcp::join(host, port);
            Outcome::Failure(format!("timeout: failed to connect service {address:?} within {timeout:?}"))
        }
    }
}

async fn check(host: &str, port: u16, service: String) -> Outcome {
    let address = super::tcp::join(host, port);
    let endpoint = match Endpoint::from_shared(format!("http://{address}")) {
        Ok(endpoint) => endpoint.user_agent("kube-probe/1.36"),
        Err(error) => return Outcome::Failure(error.to_string()),
    };
    let connector = tower::service_fn({
        let host = host.to_owned();
        move |_| {
            let host = host.clone();
            async move {
                let stream = tokio::net::TcpStream::connect((host.as_str(), port)).await?;
                Ok::<_, std::io::Error>(hyper_util::rt::TokioIo::new(stream))
            }
        }
    });
    let channel = match endpoint.map(|endpoint| endpoint.connect_with_connector_lazy(connector)) {
        Ok(channel) => channel,
        Err(error) => return Outcome::Failure(error.to_string()),
    };
    let mut client = tonic::client::Grpc::new(channel);
    if let Err(error) = client.ready().await {
        return Outcome::Failure(format!("error: failed to connect service {address:?}: {error}"));
    }
    let codec: tonic_prost::ProstCodec<CheckRequest, CheckResponse> = Default::default();
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    match client.unary(tonic::Request::new(CheckRequest { service }), path, codec).await {
        Ok(answer) if answer.get_ref().status == SERVING => Outcome::Success,
        Ok(answer) => Outcome::Failure(format!(
            "service unhealthy (responded with {:?})",
            match answer.get_ref().status {
                2 => "NOT_SERVING",
                3 => "SERVICE_UNKNOWN",
                _ => "UNKNOWN",
            }
        )),
        Err(status) => Outcome::Failure(format!("error: health rpc probe failed: {}", status.message())),
    }
}
