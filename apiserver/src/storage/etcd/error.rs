//! What a failure of etcd means to a caller.
//!
//! etcd tells most failures apart by their text only; the texts matched here are those of its
//! `rpctypes`, stable since 3.0.

use etcd_client::Error;

use crate::storage::error::BoxError;
use crate::storage::{Revision, StorageError};

/// gRPC codes, numbered as on the wire.
const RESOURCE_EXHAUSTED: i32 = 8;
const UNAUTHENTICATED: i32 = 16;
const PERMISSION_DENIED: i32 = 7;

/// What happened, before it is known which operation it happened to.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub(super) enum Kind {
    Compacted,
    Future,
    NoSpace,
    TooLarge,
    LeaseGone,
    /// Nothing was applied; later it may work.
    Refused,
    /// It never will.
    Fatal,
    /// The request may or may not have been applied.
    Unknown,
}

pub(super) fn kind(error: &Error) -> Kind {
    let Error::GRpcStatus(status) = error else {
        return match error {
            Error::TransportError(_) | Error::IoError(_) => Kind::Unknown,
            _ => Kind::Fatal,
        };
    };
    let text = status.message();
    let says = |part: &str| text.contains(part);
    if says("required revision has been compacted") {
        Kind::Compacted
    } else if says("required revision is a future revision") {
        Kind::Future
    } else if says("database space exceeded") {
        Kind::NoSpace
    } else if says("request is too large") || says("message larger than max") {
        Kind::TooLarge
    } else if says("requested lease not found") {
        Kind::LeaseGone
    } else if says("too many requests") || says("no leader") || says("tcp connect error") || says("dns error")
    {
        Kind::Refused
    } else {
        match status.code() as i32 {
            RESOURCE_EXHAUSTED => Kind::Refused,
            UNAUTHENTICATED | PERMISSION_DENIED => Kind::Fatal,
            _ => Kind::Unknown,
        }
    }
}

/// The error of a read: whatever was unknown is merely unavailable.
pub(super) fn of_read(
    operation: &'static str,
    place: &str,
    error: Error,
    revision: Revision,
) -> StorageError {
    match kind(&error) {
        // etcd does not say in a range response what its oldest revision is; it is later than this one.
        Kind::Compacted => StorageError::Compacted { requested: revision, oldest: revision + 1 },
        Kind::Future => {
            StorageError::FutureRevision { requested: revision, current: revision.saturating_sub(1) }
        }
        Kind::Fatal => StorageError::Failed { operation, source: boxed(error) },
        Kind::NoSpace => StorageError::NoSpace { operation, place: place.to_owned() },
        _ => StorageError::Unavailable { operation, source: boxed(error) },
    }
}

/// The error of a write.
pub(super) fn of_write(
    operation: &'static str,
    key: &str,
    size: usize,
    place: &str,
    error: Error,
) -> StorageError {
    match kind(&error) {
        Kind::NoSpace => StorageError::NoSpace { operation, place: place.to_owned() },
        Kind::TooLarge => {
            StorageError::TooLarge { operation, key: key.to_owned(), size, limit: super::MAX_REQUEST }
        }
        Kind::Refused | Kind::LeaseGone => StorageError::Unavailable { operation, source: boxed(error) },
        Kind::Unknown => StorageError::Ambiguous { operation, key: key.to_owned(), source: boxed(error) },
        Kind::Compacted | Kind::Future | Kind::Fatal => {
            StorageError::Failed { operation, source: boxed(error) }
        }
    }
}

fn boxed(error: Error) -> BoxError {
    Box::new(error)
}
