//! Who has which address and port, and which ports nobody has been seen to have. Pure.

use std::collections::{BTreeSet, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::time::Instant;

use super::super::{Held, Owner};
use super::GRACE;

/// The services by what they have.
#[derive(Default)]
pub(super) struct Holders {
    ips: HashMap<Ipv4Addr, BTreeSet<Owner>>,
    ports: HashMap<u16, BTreeSet<Owner>>,
}

fn refile<K: std::hash::Hash + Eq + Copy>(
    map: &mut HashMap<K, BTreeSet<Owner>>,
    owner: &Owner,
    before: &[K],
    after: &[K],
) {
    for k in before.iter().filter(|k| !after.contains(k)) {
        let Some(owners) = map.get_mut(k) else { continue };
        owners.remove(owner);
        if owners.is_empty() {
            map.remove(k);
        }
    }
    for k in after {
        map.entry(*k).or_default().insert(owner.clone());
    }
}

impl Holders {
    /// A service that had `before` has `after`.
    pub fn change(&mut self, owner: &Owner, before: &Held, after: &Held) {
        refile(&mut self.ips, owner, &before.ips, &after.ips);
        refile(&mut self.ports, owner, &before.ports, &after.ports);
    }

    /// The services with this address.
    pub fn of_ip(&self, ip: Ipv4Addr) -> Vec<Owner> {
        self.ips.get(&ip).into_iter().flatten().cloned().collect()
    }

    /// The first of the services with this port: the others must give way.
    pub fn first_of_port(&self, port: u16) -> Option<&Owner> {
        self.ports.get(&port)?.first()
    }
}

/// How long who deletes a service takes to give its ports back, at most.
pub(super) const SETTLE: Duration = Duration::from_secs(10);

/// Ports that no service has been seen to have.
///
/// A port that a request has just taken looks the same until its service is written. So one is nobody's only if it was
/// taken twice in a row, longer apart than any request takes, and no service came or went with it meanwhile.
#[derive(Default)]
pub(super) struct Unused(HashMap<u16, Due>);

#[derive(Clone, Copy)]
struct Due {
    at: Instant,
    was_taken: bool,
}

impl Unused {
    /// The last service with this port has gone.
    pub fn note(&mut self, port: u16, now: Instant) {
        self.0.insert(port, Due { at: now + SETTLE, was_taken: false });
    }

    /// It was taken, and no service had it.
    pub fn suspect(&mut self, port: u16, now: Instant) {
        self.0.insert(port, Due { at: now + GRACE, was_taken: true });
    }

    /// A service has it: whatever was known is void.
    pub fn used(&mut self, port: u16) {
        self.0.remove(&port);
    }

    /// When the next look is due.
    pub fn due(&self) -> Option<Instant> {
        self.0.values().map(|due| due.at).min()
    }

    /// Takes out what is due now: the ports that may have been left, and those that were left for certain if they are
    /// still taken.
    pub fn take(&mut self, now: Instant) -> (Vec<u16>, Vec<u16>) {
        let due: Vec<(u16, Due)> = self.0.extract_if(|_, due| due.at <= now).collect();
        let (left, may_be) = due.into_iter().partition::<Vec<_>, _>(|(_, due)| due.was_taken);
        let ports = |list: Vec<(u16, Due)>| list.into_iter().map(|(port, _)| port).collect();
        (ports(may_be), ports(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(name: &str) -> Owner {
        Owner { namespace: "n".into(), name: name.into() }
    }

    #[test]
    fn holders_follow_their_services() {
        let held = |ip: u32, port: u16| Held { ips: vec![Ipv4Addr::from_bits(ip)], ports: vec![port] };
        let (a, b, nothing) = (owner("a"), owner("b"), Held::default());
        let mut holders = Holders::default();
        holders.change(&b, &nothing, &held(1, 30000));
        holders.change(&a, &nothing, &held(1, 30000));
        assert_eq!(holders.of_ip(Ipv4Addr::from_bits(1)), [a.clone(), b.clone()]);
        assert_eq!(holders.first_of_port(30000), Some(&a));
        holders.change(&a, &held(1, 30000), &held(2, 30000));
        assert_eq!(holders.of_ip(Ipv4Addr::from_bits(1)), vec![b.clone()]);
        assert_eq!(holders.of_ip(Ipv4Addr::from_bits(2)), vec![a.clone()]);
        holders.change(&a, &held(2, 30000), &nothing);
        assert_eq!(holders.first_of_port(30000), Some(&b));
        holders.change(&b, &held(1, 30000), &nothing);
        assert!(holders.ips.is_empty() && holders.ports.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_port_is_nobodys_when_it_was_taken_twice() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut unused = Unused::default();
        assert_eq!(unused.due(), None);
        unused.note(1, start);
        unused.note(2, at(5));
        assert_eq!(unused.due(), Some(at(10)));
        assert_eq!(unused.take(at(9)), (vec![], vec![]));
        assert_eq!(unused.take(at(10)), (vec![1], vec![]));
        unused.suspect(1, at(10));
        assert_eq!(unused.take(at(15)), (vec![2], vec![]));
        unused.suspect(2, at(15));
        // A service had it for a moment: who has taken it since has his own time.
        unused.used(2);
        unused.note(2, at(65));
        assert_eq!(unused.take(at(69)), (vec![], vec![]));
        assert_eq!(unused.take(at(70)), (vec![], vec![1]));
        assert_eq!(unused.due(), Some(at(75)));
    }
}
