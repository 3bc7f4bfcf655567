//! Reads what is left of a request's body before a refusal is sent.
//!
//! A request may be answered before its body is read: it is too large, or nobody knows the sender. On HTTP/1 the
//! connection is closed then, and a client that is still writing sees a broken pipe in place of the answer. So the
//! rest is read first, within bounds; HTTP/2 can end a stream on its own and needs none of this.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::{Request, Response, Version};
use tokio::sync::oneshot;

/// Bytes of a body that are read only to be thrown away.
const MAX_IGNORED: usize = 16 << 20;
/// How long a client may take to send them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers a request with `handler`; where that has left a part of the body, reads it first.
pub async fn answer<F>(request: Request<Incoming>, handler: impl FnOnce(Request<Body>) -> F) -> Response<Body>
where
    F: Future<Output = Response<Body>>,
{
    if request.version() >= Version::HTTP_2 || request.body().is_end_stream() {
        return handler(request.map(Body::new)).await;
    }
    let (give_back, mut left) = oneshot::channel();
    let lent = |body| Body::new(Lent { body: Some(body), give_back: Some(give_back) });
    let response = handler(request.map(lent)).await;
    // A handler that still reads (a proxied upload) has given nothing back.
    if let Ok(body) = left.try_recv() {
        ignore(body).await;
    }
    response
}

/// Reads a body to its end or to the bounds.
async fn ignore(mut body: Incoming) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(frame)) = body.frame().await {
            read += frame.data_ref().map_or(0, Bytes::len);
            if read > MAX_IGNORED {
                return;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, reading).await.is_err() {
        tracing::debug!("a client that was refused goes on sending slowly");
    }
}

/// A body that comes back when its reader drops it before its end.
struct Lent {
    body: Option<Incoming>,
    give_back: Option<oneshot::Sender<Incoming>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let (Some(body), Some(give_back)) = (self.body.take(), self.give_back.take())
            && !body.is_end_stream()
        {
            // Nobody waits for it when the connection has gone.
            drop(give_back.send(body));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// Refuses every request without reading its body, and answers the text that a client reads which writes `size`
    /// bytes before it looks.
    async fn refused(size: usize) -> std::io::Result<String> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service_fn(|r| async {
                let refuse = |_| async {
                    Response::builder().status(413).body(Body::from("too large")).unwrap_or_default()
                };
                Ok::<_, std::convert::Infallible>(answer(r, refuse).await)
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            drop(http.keep_alive(false).serve_connection(TokioIo::new(stream), service).await);
        });
        let mut client = TcpStream::connect(address).await?;
        let head = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n");
        client.write_all(head.as_bytes()).await?;
        client.write_all(&vec![b'x'; size]).await?;
        let mut text = String::new();
        client.read_to_string(&mut text).await?;
        server.await.unwrap();
        Ok(text)
    }

    #[tokio::test]
    async fn a_client_that_writes_all_before_it_reads_sees_its_refusal() {
        for _ in 0..5 {
            let text = refused(8 << 20).await.unwrap();
            assert!(text.starts_with("HTTP/1.1 413 ") && text.ends_with("too large"), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_read_in_vain_is_bounded() {
        assert!(refused(64 << 20).await.is_err());
    }
}
