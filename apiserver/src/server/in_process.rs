//! The transport of components in the same process: no TCP, no TLS, the same checks.
//!
//! A request without a `User-Agent` gets the name that upstream's component of this identity has, because the
//! fields it writes are owned under it.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use http::{HeaderValue, Request, Response, header};
use tower::Service;

use super::Server;
use crate::authn::UserInfo;

/// A client connection that acts as one user.
#[derive(Clone)]
pub struct InProcess {
    server: Arc<Server>,
    user: Arc<UserInfo>,
}

impl Server {
    /// A Kubernetes client that acts as `user`.
    pub fn client(self: &Arc<Self>, user: UserInfo) -> kube::Client {
        kube::Client::new(InProcess { server: self.clone(), user: Arc::new(user) }, "default")
    }
}

/// The program that upstream runs as this user.
fn agent(user: &UserInfo) -> HeaderValue {
    HeaderValue::from_static(match user.name.as_str() {
        "system:kube-scheduler" => "kube-scheduler",
        "system:kube-proxy" => "kube-proxy",
        name if name.starts_with("system:node:") => "kubelet",
        name if name.starts_with("system:serviceaccount:kube-system:")
            || name == "system:kube-controller-manager" =>
        {
            "kube-controller-manager"
        }
        _ => "skiff",
    })
}

impl Service<Request<kube::client::Body>> for InProcess {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.headers_mut().entry(header::USER_AGENT).or_insert_with(|| agent(&self.user));
        request.extensions_mut().insert(self.user.clone());
        let server = self.server.clone();
        Box::pin(async move { Ok(server.handle(request).await) })
    }
}
