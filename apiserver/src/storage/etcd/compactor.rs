//! Compacts etcd's history on a timer, together with every other API server on the same etcd.
//!
//! The protocol is upstream's: a key outside the data counts rounds and holds the revision of its last
//! one. Whoever wins the transaction of a round compacts to the revision of the round before, so that
//! between one and two intervals of history remain whatever the number of servers.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, Error, Txn, TxnOp, TxnOpResponse};

use super::members::Members;

const KEY: &str = "compact_rev_key";

/// Runs until aborted by its owner.
pub(super) async fn run(members: Arc<Members>, interval: Duration) {
    let (mut round, mut revision) = (0, 0);
    loop {
        tokio::time::sleep(interval).await;
        let (index, client) = members.client();
        match tokio::time::timeout(interval, step(&mut client.clone(), round, revision)).await {
            Ok(Ok(next)) => (round, revision) = next,
            Ok(Err(error)) => tracing::warn!(%error, "compacting etcd failed, it is tried again"),
            Err(elapsed) => {
                tracing::warn!("compacting etcd was not answered, it is tried again");
                members.leave(index, &elapsed);
            }
        }
    }
}

/// One round. Returns the round and revision to continue with.
async fn step(client: &mut Client, round: i64, revision: i64) -> Result<(i64, i64), Error> {
    let txn = Txn::new()
        .when([Compare::version(KEY, CompareOp::Equal, round)])
        .and_then([TxnOp::put(KEY, revision.to_string(), None)])
        .or_else([TxnOp::get(KEY, None)]);
    let response = client.txn(txn).await?;
    let current = response.header().map_or(0, etcd_client::ResponseHeader::revision);
    if !response.succeeded() {
        let version = response.op_responses().iter().find_map(|op| match op {
            TxnOpResponse::Get(got) => got.kvs().first().map(etcd_client::KeyValue::version),
            _ => None,
        });
        return Ok((version.unwrap_or(0), current));
    }
    if revision > 0 {
        client.compact(revision, None).await?;
        tracing::debug!(revision, "compacted etcd");
    }
    Ok((round + 1, current))
}
