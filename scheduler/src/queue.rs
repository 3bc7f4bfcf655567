//! Pods that wait for a node.
//!
//! A pod is in one of four places: *active* (next by priority), *backoff* (failed before, tried again soon),
//! *unschedulable* (fits nowhere; waits for an event that one of the plugins that rejected it says may help) and
//! *gated* (may not be tried). What waits in the unschedulable pool for five minutes is tried anyway, in case an
//! event was missed. When nothing is active, a pod in backoff that merely did not fit is taken early: there is
//! nobody it would delay.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    framework::{ClusterEvent, Profile},
    pod::PodInfo,
};

const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(10);
/// How long a pod stays unschedulable without any event that might help.
const LEFTOVER: Duration = Duration::from_secs(300);

type Uid = Box<str>;

#[derive(Debug, Clone, PartialEq)]
enum Place {
    Active,
    Backoff(Instant),
    Unschedulable {
        since: Instant,
        plugins: Vec<&'static str>,
    },
    Gated,
    /// Taken out to be decided.
    Popped,
}

struct Entry {
    pod: Arc<PodInfo>,
    attempts: u32,
    /// Order among equals: when it last became ready to be tried.
    turn: u64,
    rank: i64,
    tried: Option<Instant>,
    /// Failed for another reason than the nodes: backs off in full.
    errored: bool,
    place: Place,
}

/// The queue.
#[derive(Default)]
pub struct Queue {
    pods: HashMap<Uid, Entry>,
    active: BTreeSet<(i64, u64, Uid)>,
    backoff: BTreeSet<(Instant, Uid)>,
    unschedulable: BTreeSet<(Instant, Uid)>,
    by_plugin: HashMap<&'static str, HashSet<Uid>>,
    turns: u64,
}

impl Queue {
    /// Adds a pod, or takes over its changes. A waiting pod moves only if something changed that matters.
    pub fn set(&mut self, pod: Arc<PodInfo>, profile: &Profile) {
        let gated = profile.pre_enqueue.iter().any(|plugin| plugin.admit(&pod).is_err());
        let uid = pod.uid.clone();
        match self.pods.get_mut(&uid) {
            None => {
                let place = if gated { Place::Gated } else { Place::Active };
                let entry = Entry {
                    pod,
                    attempts: 0,
                    turn: 0,
                    rank: 0,
                    tried: None,
                    errored: false,
                    place: Place::Popped,
                };
                self.pods.insert(uid.clone(), entry);
                self.put(&uid, place, profile);
            }
            Some(entry) => {
                let same = entry.pod.decides_like(&pod);
                entry.pod = pod;
                let place = entry.place.clone();
                if gated {
                    self.put(&uid, Place::Gated, profile);
                } else if place == Place::Gated || (!same && place != Place::Popped) {
                    self.put(&uid, Place::Active, profile);
                }
            }
        }
    }

    /// Forgets a pod.
    pub fn remove(&mut self, uid: &str) {
        self.unfile(uid);
        self.pods.remove(uid);
    }

    /// Whether that pod waits here.
    pub fn contains(&self, uid: &str) -> bool {
        self.pods.contains_key(uid)
    }

    /// Uids of all that wait.
    pub fn uids(&self) -> impl Iterator<Item = &str> {
        self.pods.keys().map(|uid| &**uid)
    }

    /// The next pod to decide. It stays known until it is removed, rejected or failed.
    pub fn pop(&mut self, profile: &Profile, now: Instant) -> Option<Arc<PodInfo>> {
        self.collect_due(profile, now);
        if let Some((_, _, uid)) = self.active.pop_first() {
            return self.take(&uid, now);
        }
        let early = self.backoff.iter().find(|(_, uid)| self.pods.get(uid).is_some_and(|e| !e.errored))?;
        let uid = early.1.clone();
        self.unfile(&uid);
        self.take(&uid, now)
    }

    fn take(&mut self, uid: &str, now: Instant) -> Option<Arc<PodInfo>> {
        let entry = self.pods.get_mut(uid)?;
        entry.place = Place::Popped;
        entry.attempts += 1;
        entry.tried = Some(now);
        Some(entry.pod.clone())
    }

    /// The pod fits nowhere; `plugins` rejected it.
    pub fn rejected(&mut self, uid: &str, plugins: Vec<&'static str>, profile: &Profile, now: Instant) {
        if let Some(entry) = self.pods.get_mut(uid) {
            entry.errored = false;
            self.put(uid, Place::Unschedulable { since: now, plugins }, profile);
        }
    }

    /// Something went wrong that has nothing to do with the nodes.
    pub fn failed(&mut self, uid: &str, profile: &Profile, now: Instant) {
        if let Some(entry) = self.pods.get_mut(uid) {
            entry.errored = true;
            let until = now + back_off(entry.attempts);
            self.put(uid, Place::Backoff(until), profile);
        }
    }

    /// Lets those be tried again that `event` may help.
    pub fn on_event(&mut self, event: &ClusterEvent, profile: &Profile, now: Instant) {
        let mut helped: Vec<Uid> = Vec::new();
        for plugin in &profile.filters {
            let Some(uids) = self.by_plugin.get(plugin.name()) else { continue };
            let pods = uids.iter().filter_map(|uid| self.pods.get(uid));
            let yes = pods.filter(|entry| plugin.helped_by(&entry.pod, event));
            helped.extend(yes.map(|entry| entry.pod.uid.clone()));
        }
        // A pod that no plugin rejected found no node at all.
        if matches!(event, ClusterEvent::Node(change) if change.added) {
            helped.extend(self.by_plugin.get("").into_iter().flatten().cloned());
        }
        for uid in helped {
            let Some(entry) = self.pods.get(&uid) else { continue };
            if !matches!(entry.place, Place::Unschedulable { .. }) {
                continue;
            }
            let until = entry.tried.unwrap_or(now) + back_off(entry.attempts);
            let place = if until <= now { Place::Active } else { Place::Backoff(until) };
            self.put(&uid, place, profile);
        }
    }

    fn collect_due(&mut self, profile: &Profile, now: Instant) {
        while let Some((_, uid)) = self.backoff.first().filter(|(until, _)| *until <= now).cloned() {
            self.put(&uid, Place::Active, profile);
        }
        while let Some((_, uid)) =
            self.unschedulable.first().filter(|(since, _)| *since + LEFTOVER <= now).cloned()
        {
            self.put(&uid, Place::Active, profile);
        }
    }

    /// When there is something to do even if nothing happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let backoff = self.backoff.first().map(|(until, _)| *until);
        let leftover = self.unschedulable.first().map(|(since, _)| *since + LEFTOVER);
        backoff.into_iter().chain(leftover).min()
    }

    /// How many wait where.
    pub fn counts(&self) -> [(&'static str, usize); 4] {
        let waiting = self.active.len() + self.backoff.len() + self.unschedulable.len();
        let gated = self.pods.len().saturating_sub(waiting);
        [
            ("active", self.active.len()),
            ("backoff", self.backoff.len()),
            ("unschedulable", self.unschedulable.len()),
            ("gated", gated),
        ]
    }

    fn put(&mut self, uid: &str, place: Place, profile: &Profile) {
        self.unfile(uid);
        let Some(entry) = self.pods.get_mut(uid) else { return };
        let uid: Uid = uid.into();
        match &place {
            Place::Active => {
                self.turns += 1;
                entry.turn = self.turns;
                entry.rank = profile.queue_sort.rank(&entry.pod);
                self.active.insert((entry.rank, entry.turn, uid));
            }
            Place::Backoff(until) => {
                self.backoff.insert((*until, uid));
            }
            Place::Unschedulable { since, plugins } => {
                self.unschedulable.insert((*since, uid.clone()));
                let none = plugins.is_empty().then_some("");
                for plugin in plugins.iter().copied().chain(none) {
                    self.by_plugin.entry(plugin).or_default().insert(uid.clone());
                }
            }
            Place::Gated | Place::Popped => {}
        }
        entry.place = place;
    }

    fn unfile(&mut self, uid: &str) {
        let Some(entry) = self.pods.get_mut(uid) else { return };
        let key: Uid = uid.into();
        match std::mem::replace(&mut entry.place, Place::Popped) {
            Place::Active => {
                self.active.remove(&(entry.rank, entry.turn, key));
            }
            Place::Backoff(until) => {
                self.backoff.remove(&(until, key));
            }
            Place::Unschedulable { since, plugins } => {
                self.unschedulable.remove(&(since, key));
                for plugin in plugins.into_iter().chain([""]) {
                    if let Some(uids) = self.by_plugin.get_mut(plugin) {
                        uids.remove(uid);
                    }
                }
            }
            Place::Gated | Place::Popped => {}
        }
    }
}

fn back_off(attempts: u32) -> Duration {
    FIRST_BACKOFF
        .saturating_mul(1u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX))
        .min(LAST_BACKOFF)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::snapshot::{NodeChange, tests::pod};

    fn pop(queue: &mut Queue) -> Option<String> {
        queue.pop(&Profile::default_profile(), Instant::now()).map(|pod| pod.uid.to_string())
    }

    fn added() -> ClusterEvent {
        ClusterEvent::Node(NodeChange { added: true, ..NodeChange::default() })
    }

    #[tokio::test(start_paused = true)]
    async fn the_important_come_first_then_those_who_wait_longer() {
        let (mut queue, profile) = (Queue::default(), Profile::default_profile());
        queue.set(pod("a", "1", json!({})), &profile);
        queue.set(pod("b", "1", json!({})), &profile);
        queue.set(pod("vip", "1", json!({"spec": {"priority": 1000}})), &profile);
        assert_eq!(pop(&mut queue).as_deref(), Some("vip"));
        assert_eq!(pop(&mut queue).as_deref(), Some("a"));
        queue.remove("b");
        assert_eq!(pop(&mut queue), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_an_event_that_may_help_wakes_a_pod() {
        let (mut queue, profile) = (Queue::default(), Profile::default_profile());
        queue.set(pod("a", "1", json!({})), &profile);
        assert!(pop(&mut queue).is_some());
        queue.rejected("a", vec!["NodeAffinity"], &profile, Instant::now());
        let gone = ClusterEvent::PodGone(pod("x", "1", json!({})));
        queue.on_event(&gone, &profile, Instant::now());
        assert_eq!(pop(&mut queue), None);
        let labels = ClusterEvent::Node(NodeChange { labels: true, ..NodeChange::default() });
        queue.on_event(&labels, &profile, Instant::now());
        assert_eq!(pop(&mut queue).as_deref(), Some("a"), "nobody else waits, so it need not back off");
        queue.rejected("a", Vec::new(), &profile, Instant::now());
        queue.on_event(&added(), &profile, Instant::now());
        assert!(pop(&mut queue).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn errors_back_off_and_leftovers_are_tried_again() {
        let (mut queue, profile) = (Queue::default(), Profile::default_profile());
        queue.set(pod("a", "1", json!({})), &profile);
        assert!(pop(&mut queue).is_some());
        queue.failed("a", &profile, Instant::now());
        assert_eq!(pop(&mut queue), None);
        tokio::time::advance(FIRST_BACKOFF).await;
        assert!(pop(&mut queue).is_some());
        queue.rejected("a", vec!["NodeResourcesFit"], &profile, Instant::now());
        assert_eq!(queue.next_deadline(), Some(Instant::now() + LEFTOVER));
        tokio::time::advance(LEFTOVER).await;
        assert!(pop(&mut queue).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn gates_hold_until_they_are_gone() {
        let (mut queue, profile) = (Queue::default(), Profile::default_profile());
        queue.set(pod("a", "1", json!({"spec": {"schedulingGates": [{"name": "wait"}]}})), &profile);
        assert_eq!(pop(&mut queue), None);
        queue.on_event(&added(), &profile, Instant::now());
        assert_eq!(pop(&mut queue), None);
        queue.set(pod("a", "1", json!({})), &profile);
        assert!(pop(&mut queue).is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn own_status_updates_move_nothing() {
        let (mut queue, profile) = (Queue::default(), Profile::default_profile());
        queue.set(pod("a", "1", json!({})), &profile);
        assert!(pop(&mut queue).is_some());
        queue.rejected("a", vec!["NodeResourcesFit"], &profile, Instant::now());
        let condition = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False"}]}});
        queue.set(pod("a", "1", condition), &profile);
        assert_eq!(pop(&mut queue), None);
        queue.set(pod("a", "1", json!({"metadata": {"labels": {"new": "label"}}})), &profile);
        assert!(pop(&mut queue).is_some());
    }
}
