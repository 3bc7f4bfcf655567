//! What the pods of this node hold of its CPU and memory, and which of them wait for more.
//!
//! A pod that shrinks goes on holding what its containers still have. Whenever something becomes free, those waiting
//! are gone through in upstream's order and each that fits now is given what it wants and woken; its worker asks again
//! and is answered yes. Pods the scheduler sends are counted, never refused.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::amounts::Totals;
use crate::pod::resources::Qos;

/// Why something does not fit; upstream's text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Node didn't have enough resource: {resource}, requested: {requested}, used: {used}, capacity: {capacity}"
)]
pub struct Shortage {
    /// `cpu` or `memory`.
    pub resource: &'static str,
    /// What the pod wants.
    pub requested: i64,
    /// What the others hold.
    pub used: i64,
    /// What pods may use of the node.
    pub capacity: i64,
}

/// Who is served first: resizes that want no more than before, then the higher priority, then guaranteed pods, then
/// who has waited longest.
pub type Rank = (bool, Reverse<i32>, bool, Timestamp);

/// The rank of a resize.
pub fn rank(grows: bool, priority: i32, qos: Qos, since: Timestamp) -> Rank {
    (grows, Reverse(priority), qos != Qos::Guaranteed, since)
}

struct Waiting {
    uid: String,
    wanted: Totals,
    rank: Rank,
    wake: Arc<Notify>,
}

#[derive(Default)]
struct Books {
    open: bool,
    held: HashMap<String, Totals>,
    used: Totals,
    waiting: Vec<Waiting>,
}

/// The node's books.
pub struct NodeAllocations {
    capacity: Totals,
    books: Mutex<Books>,
}

/// The answer to a pod that wants more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// It has it now.
    Granted,
    /// Not yet: it will be woken.
    Short(Shortage),
    /// Not all pods of the node are known: it will be woken when they are.
    Unknown,
}

impl NodeAllocations {
    /// Books of a node that has this much for pods. Nothing is granted before [`Self::open`].
    pub fn new(capacity: Totals) -> NodeAllocations {
        NodeAllocations { capacity, books: Mutex::default() }
    }

    /// The pod holds this much, whether there is room or not.
    pub fn hold(&self, uid: &str, totals: Totals) {
        let mut books = self.books.lock();
        let before = books.put(uid, totals);
        if before.exceeds(totals) {
            books.serve(self.capacity);
        }
    }

    /// All pods the node had are counted: those that wait are answered.
    pub fn open(&self) {
        let mut books = self.books.lock();
        books.open = true;
        books.serve(self.capacity);
        for waiting in &books.waiting {
            waiting.wake.notify_one();
        }
    }

    /// The pod wants to hold this much. Where it does not fit, the pod waits and `wake` is called once it does.
    pub fn resize(&self, uid: &str, wanted: Totals, rank: Rank, wake: &Arc<Notify>) -> Answer {
        let mut books = self.books.lock();
        books.waiting.retain(|waiting| waiting.uid != uid);
        let answer = match books.fits(uid, wanted, self.capacity) {
            _ if !books.open => Answer::Unknown,
            Err(shortage) => Answer::Short(shortage),
            Ok(()) => {
                books.grant(uid, wanted);
                return Answer::Granted;
            }
        };
        let waiting = Waiting { uid: uid.to_owned(), wanted, rank, wake: wake.clone() };
        let at = books.waiting.partition_point(|known| known.rank <= rank);
        books.waiting.insert(at, waiting);
        answer
    }

    /// The pod wants no more than it has.
    pub fn withdraw(&self, uid: &str) {
        self.books.lock().waiting.retain(|waiting| waiting.uid != uid);
    }

    /// The pod has ended and holds nothing.
    pub fn release(&self, uid: &str) {
        let mut books = self.books.lock();
        books.waiting.retain(|waiting| waiting.uid != uid);
        if let Some(held) = books.held.remove(uid) {
            books.used.cpu -= held.cpu;
            books.used.memory -= held.memory;
            books.serve(self.capacity);
        }
    }
}

impl Books {
    fn put(&mut self, uid: &str, totals: Totals) -> Totals {
        let before = self.held.insert(uid.to_owned(), totals).unwrap_or_default();
        self.used.cpu += totals.cpu - before.cpu;
        self.used.memory += totals.memory - before.memory;
        before
    }

    fn grant(&mut self, uid: &str, wanted: Totals) {
        let held = self.held.get(uid).copied().unwrap_or_default();
        self.put(uid, held.max(wanted));
    }

    fn fits(&self, uid: &str, wanted: Totals, capacity: Totals) -> Result<(), Shortage> {
        let own = self.held.get(uid).copied().unwrap_or_default();
        for (resource, requested, used, capacity) in [
            ("cpu", wanted.cpu, self.used.cpu - own.cpu, capacity.cpu),
            ("memory", wanted.memory, self.used.memory - own.memory, capacity.memory),
        ] {
            if requested > 0 && requested > capacity - used {
                return Err(Shortage { resource, requested, used, capacity });
            }
        }
        Ok(())
    }

    fn serve(&mut self, capacity: Totals) {
        if !self.open {
            return;
        }
        for waiting in std::mem::take(&mut self.waiting) {
            if self.fits(&waiting.uid, waiting.wanted, capacity).is_ok() {
                self.grant(&waiting.uid, waiting.wanted);
                waiting.wake.notify_one();
            } else {
                self.waiting.push(waiting);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn open(milli: i64) -> NodeAllocations {
        let node = NodeAllocations::new(Totals { cpu: milli, memory: 1 << 30 });
        node.open();
        node
    }

    #[test]
    fn nothing_is_granted_before_all_pods_are_known() {
        let node = NodeAllocations::new(Totals { cpu: 1000, memory: 1 << 30 });
        let (wake, other) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        assert_eq!(node.resize("a", cpu(600), at(1, 0), &wake), Answer::Unknown);
        assert_eq!(node.resize("b", cpu(600), at(2, 0), &other), Answer::Unknown);
        node.hold("c", cpu(1));
        node.release("c");
        assert!(!woken(&wake));
        node.open();
        assert!(woken(&wake) && woken(&other), "also who has to wait on is told");
        assert_eq!(node.resize("a", cpu(600), at(1, 0), &wake), Answer::Granted);
    }

    fn cpu(milli: i64) -> Totals {
        Totals { cpu: milli, memory: 1 }
    }

    fn at(second: i64, priority: i32) -> Rank {
        rank(true, priority, Qos::Burstable, Timestamp::from_second(second).unwrap())
    }

    fn woken(wake: &Notify) -> bool {
        wake.notified().now_or_never().is_some()
    }

    #[test]
    fn what_does_not_fit_waits_until_it_does() {
        let node = open(4000);
        let wake = Arc::new(Notify::new());
        node.hold("a", cpu(1000));
        node.hold("b", cpu(2000));
        let Answer::Short(refused) = node.resize("a", cpu(3000), at(1, 0), &wake) else { panic!() };
        assert_eq!(
            refused.to_string(),
            "Node didn't have enough resource: cpu, requested: 3000, used: 2000, capacity: 4000"
        );
        node.hold("b", cpu(1500));
        assert!(!woken(&wake), "still too little");
        node.hold("b", cpu(1000));
        assert!(woken(&wake));
        assert_eq!(node.resize("a", cpu(3000), at(1, 0), &wake), Answer::Granted, "it was kept for the pod");
        assert_ne!(node.resize("b", cpu(1001), at(1, 0), &wake), Answer::Granted);
        node.release("a");
        assert!(woken(&wake));
    }

    #[test]
    fn who_shrinks_holds_it_until_it_is_given_back() {
        let node = open(2000);
        let wake = Arc::new(Notify::new());
        node.hold("a", cpu(1500));
        assert_eq!(node.resize("a", cpu(500), at(1, 0), &wake), Answer::Granted);
        assert_ne!(node.resize("b", cpu(1000), at(1, 0), &wake), Answer::Granted);
        node.hold("a", cpu(500));
        assert!(woken(&wake));
    }

    #[test]
    fn the_order_is_upstreams() {
        let node = open(1000);
        node.hold("big", cpu(1000));
        let ranks = [
            ("late", at(9, 0)),
            ("early", at(1, 0)),
            ("high", at(9, 7)),
            ("guaranteed", rank(true, 0, Qos::Guaranteed, Timestamp::from_second(9).unwrap())),
            ("not more", rank(false, 0, Qos::Burstable, Timestamp::from_second(9).unwrap())),
        ];
        let wakes: HashMap<&str, Arc<Notify>> =
            ranks.iter().map(|(uid, _)| (*uid, Arc::new(Notify::new()))).collect();
        for (uid, rank) in &ranks {
            assert_ne!(node.resize(uid, cpu(600), *rank, &wakes[uid]), Answer::Granted);
        }
        node.withdraw("not more");
        node.release("big");
        let mut served = Vec::new();
        for _ in 1..ranks.len() {
            let next = ranks.iter().map(|(uid, _)| *uid).find(|uid| woken(&wakes[uid])).unwrap();
            served.push(next);
            node.release(next);
        }
        assert_eq!(served, ["high", "guaranteed", "early", "late"]);
    }
}
