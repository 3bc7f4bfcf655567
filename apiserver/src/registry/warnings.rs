//! Sentences that the client should read, gathered on the way of its request and sent as `Warning` headers at its
//! end, whether it succeeds or not.

use std::sync::Arc;

use parking_lot::Mutex;

/// The sentences of one request, in the order in which they were found; clones share them.
#[derive(Clone, Debug, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Adds those that were not said yet: a change that is derived anew says the same again.
    pub fn add(&self, found: impl IntoIterator<Item = String>) {
        let mut all = self.0.lock();
        for w in found {
            if !w.is_empty() && !all.contains(&w) {
                all.push(w);
            }
        }
    }

    /// All of them so far.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().clone()
    }
}
