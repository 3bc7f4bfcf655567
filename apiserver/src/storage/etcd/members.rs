//! The members of etcd, and which of them is asked.
//!
//! All requests go to one member, and the watch with them: what a write or a read has told is then soon seen by the
//! watch, and a member that hangs (its disk stalls, say) is noticed once, not by every third request. A member that
//! does not answer, or whose watch falls behind what another has acknowledged, is left for the next one.
//!
//! Invariant: whoever leaves a member names the one it had asked, so that many failures of one member are one step.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use etcd_client::{Client, ConnectOptions, Error, KvClient};
use rand::RngExt;
use tokio::sync::watch;

use crate::storage::Revision;

/// How far behind what etcd has acknowledged a watch may be before its member is left.
const LAG: Duration = Duration::from_secs(3);

/// All members.
pub(super) struct Members {
    all: Vec<(String, Client, KvClient)>,
    current: AtomicUsize,
    /// The newest revision that any member has told of.
    newest: watch::Sender<Revision>,
}

/// The member that is asked.
pub(super) struct Member {
    /// Which it is, for [`Members::leave`].
    pub index: usize,
    /// Keys.
    pub kv: KvClient,
}

impl Members {
    /// Prepares the connections; they are made when they are used. Begins with any member, so that several API servers
    /// do not all ask the same.
    pub(super) async fn new(
        endpoints: &[String],
        options: &ConnectOptions,
        max_message: usize,
    ) -> Result<Self, Error> {
        let mut all = Vec::with_capacity(endpoints.len());
        for endpoint in endpoints {
            let client = Client::connect([endpoint], Some(options.clone())).await?;
            let kv = client
                .kv_client()
                .max_decoding_message_size(max_message)
                .max_encoding_message_size(max_message);
            all.push((endpoint.clone(), client, kv));
        }
        if all.is_empty() {
            return Err(Error::InvalidArgs("no endpoints of etcd are given".into()));
        }
        let first = rand::rng().random_range(0..all.len());
        Ok(Self { all, current: AtomicUsize::new(first), newest: watch::Sender::new(0) })
    }

    /// Whether there is another member to turn to.
    pub(super) fn several(&self) -> bool {
        self.all.len() > 1
    }

    /// The member to ask now.
    pub(super) fn current(&self) -> Member {
        let index = self.current.load(Ordering::Relaxed);
        Member { index, kv: self.all[index].2.clone() }
    }

    /// The client of that member, for everything but keys.
    pub(super) fn client(&self) -> (usize, &Client) {
        let index = self.current.load(Ordering::Relaxed);
        (index, &self.all[index].1)
    }

    /// The next member is asked from now on, unless somebody has turned to another than `index` already.
    pub(super) fn leave(&self, index: usize, why: &dyn std::fmt::Display) {
        let next = (index + 1) % self.all.len();
        if !self.several() {
            return;
        }
        let turned = self.current.compare_exchange(index, next, Ordering::Relaxed, Ordering::Relaxed);
        if turned.is_ok() {
            tracing::warn!(from = self.all[index].0, to = self.all[next].0, %why, "turning to another member of etcd");
        }
    }

    /// Takes note of a revision that etcd has told of.
    pub(super) fn told(&self, revision: Revision) {
        if self.several() {
            self.newest.send_if_modified(|newest| {
                let newer = revision > *newest;
                *newest = revision.max(*newest);
                newer
            });
        }
    }

    /// Ends when a watch that has seen everything up to `seen` is too far behind. Never, with one member.
    pub(super) async fn lags(&self, seen: Revision) {
        if !self.several() {
            return std::future::pending().await;
        }
        // The sender lives as long as this.
        if self.newest.subscribe().wait_for(|newest| *newest > seen).await.is_ok() {
            tokio::time::sleep(LAG).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn members(n: usize) -> Members {
        let endpoints: Vec<String> = (0..n).map(|i| format!("http://127.0.0.1:{}", i + 1)).collect();
        Members::new(&endpoints, &ConnectOptions::new(), 1 << 20).await.unwrap()
    }

    #[tokio::test]
    async fn many_failures_of_one_member_are_one_step() {
        let m = members(3).await;
        let first = m.current().index;
        for _ in 0..5 {
            m.leave(first, &"test");
        }
        assert_eq!(m.current().index, (first + 1) % 3);
        let one = members(1).await;
        one.leave(0, &"test");
        assert_eq!(one.current().index, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_lags_when_others_know_more_for_a_while() {
        let m = members(2).await;
        m.told(7);
        m.told(5);
        let waits = |seen| tokio::time::timeout(LAG * 2, m.lags(seen));
        assert!(waits(7).await.is_err(), "it has seen everything");
        assert!(waits(6).await.is_ok());
        let one = members(1).await;
        one.told(9);
        assert!(tokio::time::timeout(LAG * 2, one.lags(0)).await.is_err(), "nobody to turn to");
    }
}
