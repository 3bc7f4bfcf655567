//! One question to etcd for the revision answers everybody who has been waiting for it.
//!
//! A consistent read needs the revision as of some moment after it began. Of reads that wait, one asks when the
//! question before is answered, and all that came before it asked share the answer: as many questions are under way
//! as one, however many read. Invariant: nobody gets the answer to a question sent before they came.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::storage::{Revision, StorageError};

/// The questions, counted.
#[derive(Debug, Default)]
pub(super) struct SharedRevision {
    /// How many have been sent. Written under the lock of `last`.
    sent: AtomicU64,
    last: Mutex<Last>,
}

/// The last question that was answered.
#[derive(Debug)]
struct Last {
    number: u64,
    /// Why there is none, in words: an error goes to one only.
    revision: Result<Revision, String>,
}

impl Default for Last {
    fn default() -> Self {
        Self { number: 0, revision: Ok(0) }
    }
}

impl SharedRevision {
    /// The answer of `ask`, called here or by somebody else after this call began. May be dropped at any time.
    pub(super) async fn get(
        &self,
        ask: impl AsyncFnOnce() -> Result<Revision, StorageError>,
    ) -> Result<Revision, StorageError> {
        let wanted = self.sent.load(Ordering::SeqCst) + 1;
        let mut last = self.last.lock().await;
        if last.number >= wanted {
            return last.revision.clone().map_err(|source| StorageError::Unavailable {
                operation: "read the revision",
                source: source.into(),
            });
        }
        let number = self.sent.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = ask().await;
        match &answer {
            Ok(revision) => *last = Last { number, revision: Ok(*revision) },
            // Those who wait need not each find out that etcd does not answer.
            Err(StorageError::Unavailable { source, .. }) => {
                *last = Last { number, revision: Err(source.to_string()) };
            }
            Err(_) => {}
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{mpsc, oneshot};

    use super::*;

    type Question = oneshot::Sender<Result<Revision, StorageError>>;

    /// Starts a read; its question, if it asks one, comes over the channel.
    fn read(
        shared: &Arc<SharedRevision>,
        questions: &mpsc::UnboundedSender<Question>,
    ) -> tokio::task::JoinHandle<Result<Revision, StorageError>> {
        let (shared, questions) = (shared.clone(), questions.clone());
        tokio::spawn(async move {
            let ask = async || {
                let (reply, answer) = oneshot::channel();
                questions.send(reply).unwrap();
                answer.await.unwrap()
            };
            shared.get(ask).await
        })
    }

    /// Lets every other task go on until it waits (there is one thread).
    async fn settle() {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn those_who_wait_share_one_question_sent_after_they_came() {
        let shared = Arc::new(SharedRevision::default());
        let (send, mut questions) = mpsc::unbounded_channel();
        let first = read(&shared, &send);
        let asked = questions.recv().await.unwrap();
        // The first question is under way: its answer is too old for these.
        let later: Vec<_> = (0..10).map(|_| read(&shared, &send)).collect();
        settle().await;
        assert!(questions.try_recv().is_err(), "one question at a time");
        asked.send(Ok(5)).unwrap();
        assert_eq!(first.await.unwrap().unwrap(), 5);
        questions.recv().await.unwrap().send(Ok(7)).unwrap();
        for read in later {
            assert_eq!(read.await.unwrap().unwrap(), 7);
        }
        assert!(questions.try_recv().is_err(), "ten reads have asked once");
    }

    #[tokio::test]
    async fn a_failure_is_shared_and_a_reader_that_leaves_is_replaced() {
        let shared = Arc::new(SharedRevision::default());
        let (send, mut questions) = mpsc::unbounded_channel();
        let first = read(&shared, &send);
        let asked = questions.recv().await.unwrap();
        let later: Vec<_> = (0..3).map(|_| read(&shared, &send)).collect();
        settle().await;
        first.abort();
        drop(asked);
        let gone = StorageError::Unavailable { operation: "test", source: "no leader".into() };
        questions.recv().await.unwrap().send(Err(gone)).unwrap();
        for read in later {
            assert!(matches!(read.await.unwrap(), Err(StorageError::Unavailable { .. })));
        }
        let next = read(&shared, &send);
        questions.recv().await.unwrap().send(Ok(9)).unwrap();
        assert_eq!(next.await.unwrap().unwrap(), 9, "a failure is not kept");
    }
}
