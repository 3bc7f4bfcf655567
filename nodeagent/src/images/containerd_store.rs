//! containerd's own content, image and lease services: what CRI lacks to bring an image in without a registry.
//!
//! Only the few messages used are declared; field numbers are containerd's, stable since 1.0.

use std::collections::HashMap;
use std::path::Path;

use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Channel;

use crate::runtime::cri::channel;

#[derive(Clone, PartialEq, prost::Message)]
struct WriteContentRequest {
    #[prost(int32, tag = "1")]
    action: i32,
    #[prost(string, tag = "2")]
    reference: String,
    #[prost(int64, tag = "3")]
    total: i64,
    #[prost(string, tag = "4")]
    expected: String,
    #[prost(int64, tag = "5")]
    offset: i64,
    #[prost(bytes = "vec", tag = "6")]
    data: Vec<u8>,
    #[prost(map = "string, string", tag = "7")]
    labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WriteContentResponse {
    #[prost(int32, tag = "1")]
    action: i32,
    #[prost(int64, tag = "4")]
    offset: i64,
}

/// What an image points at.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Descriptor {
    /// Media type of the blob.
    #[prost(string, tag = "1")]
    pub media_type: String,
    /// Its digest.
    #[prost(string, tag = "2")]
    pub digest: String,
    /// Its size.
    #[prost(int64, tag = "3")]
    pub size: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Image {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(map = "string, string", tag = "2")]
    labels: HashMap<String, String>,
    #[prost(message, optional, tag = "3")]
    target: Option<Descriptor>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageRequest {
    #[prost(message, optional, tag = "1")]
    image: Option<Image>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ImageResponse {
    #[prost(message, optional, tag = "1")]
    image: Option<Image>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct LeaseRequest {
    #[prost(string, tag = "1")]
    id: String,
    #[prost(map = "string, string", tag = "3")]
    labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

const STAT: i32 = 0;
const WRITE: i32 = 1;
const COMMIT: i32 = 2;
/// Below containerd's message limit, large enough for few round trips.
pub const CHUNK: usize = 1 << 20;

/// A client of containerd's stores, in the namespace Kubernetes uses.
pub struct Store {
    channel: Channel,
    lease: String,
}

type Result<T> = std::result::Result<T, tonic::Status>;

impl Store {
    /// A client with a lease of its own, so that nothing it writes is collected before an image refers to it.
    pub async fn open(socket: &Path) -> Result<Store> {
        let store = Store { channel: channel(socket), lease: format!("skiff-{}", uuid::Uuid::new_v4()) };
        let expire = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(1);
        let labels = HashMap::from([("containerd.io/gc.expire".to_owned(), expire.to_string())]);
        let request = LeaseRequest { id: store.lease.clone(), labels };
        store.call::<_, Nothing>("/containerd.services.leases.v1.Leases/Create", request, false).await?;
        Ok(store)
    }

    /// Gives up the lease.
    pub async fn close(self) -> Result<()> {
        let request = LeaseRequest { id: self.lease.clone(), labels: HashMap::new() };
        self.call::<_, Nothing>("/containerd.services.leases.v1.Leases/Delete", request, false)
            .await
            .map(drop)
    }

    /// Writes one blob; one that is there already is no error.
    pub async fn write(
        &self,
        digest: &str,
        data: Vec<Vec<u8>>,
        labels: HashMap<String, String>,
    ) -> Result<()> {
        let total: i64 = data.iter().map(|chunk| chunk.len() as i64).sum();
        let reference = format!("skiff-import-{digest}");
        let start = WriteContentRequest {
            action: STAT,
            reference: reference.clone(),
            total,
            expected: digest.to_owned(),
            ..Default::default()
        };
        let mut messages = vec![start];
        let mut offset = 0;
        for chunk in data {
            let length = chunk.len() as i64;
            messages.push(WriteContentRequest {
                action: WRITE,
                reference: reference.clone(),
                offset,
                data: chunk,
                ..Default::default()
            });
            offset += length;
        }
        messages.push(WriteContentRequest {
            action: COMMIT,
            reference,
            total,
            offset,
            expected: digest.to_owned(),
            labels,
            ..Default::default()
        });
        match self.stream(messages).await {
            Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(()),
            other => other,
        }
    }

    async fn stream(&self, messages: Vec<WriteContentRequest>) -> Result<()> {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let path = PathAndQuery::from_static("/containerd.services.content.v1.Content/Write");
        let codec: tonic_prost::ProstCodec<WriteContentRequest, WriteContentResponse> = Default::default();
        let mut request = tonic::Request::new(futures::stream::iter(messages));
        self.annotate(request.metadata_mut(), true)?;
        let mut answers = client.streaming(request, path, codec).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok(())
    }

    /// Makes the image name point at the target, whether or not it exists already.
    pub async fn put_image(&self, name: &str, target: Descriptor) -> Result<()> {
        let image = Image { name: name.to_owned(), labels: HashMap::new(), target: Some(target) };
        let request = ImageRequest { image: Some(image) };
        let create = "/containerd.services.images.v1.Images/Create";
        match self.call::<_, ImageResponse>(create, request.clone(), true).await {
            Err(status) if status.code() == tonic::Code::AlreadyExists => {
                let update = "/containerd.services.images.v1.Images/Update";
                self.call::<_, ImageResponse>(update, request, true).await.map(drop)
            }
            other => other.map(drop),
        }
    }

    fn annotate(&self, metadata: &mut tonic::metadata::MetadataMap, lease: bool) -> Result<()> {
        metadata.insert("containerd-namespace", tonic::metadata::MetadataValue::from_static("k8s.io"));
        if lease {
            let value = self.lease.parse().map_err(|_| tonic::Status::internal("unusable lease id"))?;
            metadata.insert("containerd-lease", value);
        }
        Ok(())
    }

    async fn call<Q, A>(&self, path: &'static str, message: Q, lease: bool) -> Result<A>
    where
        Q: prost::Message + Send + Sync + 'static,
        A: prost::Message + Default + Send + Sync + 'static,
    {
        let mut client = tonic::client::Grpc::new(self.channel.clone());
        client.ready().await.map_err(|error| tonic::Status::unavailable(error.to_string()))?;
        let codec: tonic_prost::ProstCodec<Q, A> = Default::default();
        let mut request = tonic::Request::new(message);
        request.set_timeout(std::time::Duration::from_secs(30));
        self.annotate(request.metadata_mut(), lease)?;
        Ok(client.unary(request, PathAndQuery::from_static(path), codec).await?.into_inner())
    }
}
