//! From what is loaded to what is wanted: the text of one transaction.
//!
//! Order within it: chains and sets are made before anything points at them, rules are replaced, elements are
//! moved, and what nothing points at any more is removed last.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Write,
};

use super::{
    cache::ServiceKey,
    model::{Family, Rules},
    table,
};

type Element = (&'static str, String);

/// What is loaded in one family.
#[derive(Debug)]
pub(super) struct Loaded {
    table: String,
    family: Family,
    localhost: bool,
    rules: HashMap<ServiceKey, Rules>,
    /// Which service each element belongs to: two may ask for the same address and port, the first one has it.
    owners: HashMap<Element, ServiceKey>,
    /// Services that did not get all they asked for.
    refused: HashSet<ServiceKey>,
}

impl Loaded {
    pub(super) fn new(table: &str, family: Family, localhost: bool) -> Self {
        Loaded {
            table: table.to_owned(),
            family,
            localhost,
            rules: HashMap::new(),
            owners: HashMap::new(),
            refused: HashSet::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// What is loaded for that service.
    pub(super) fn rules(&self, key: &ServiceKey) -> Option<&Rules> {
        self.rules.get(key)
    }

    /// Replaces whatever is in the table.
    pub(super) fn load_all(&mut self, wanted: Vec<(ServiceKey, Rules)>) -> String {
        self.rules.clear();
        self.owners.clear();
        self.refused.clear();
        let mut text = table::removal(&self.table, self.family);
        text.push_str(&table::base(&self.table, self.family, self.localhost));
        for (key, rules) in wanted {
            self.change(&key, rules, &mut text);
        }
        text
    }

    /// Adds to `text` what makes the ruleset hold `wanted` for that service. Services that were refused an element
    /// which is free now are returned: they have to be looked at again.
    pub(super) fn change(
        &mut self,
        key: &ServiceKey,
        mut wanted: Rules,
        text: &mut String,
    ) -> Vec<ServiceKey> {
        let before = self.rules.remove(key).unwrap_or_default();
        let size = wanted.elements.len();
        wanted.elements.retain(|element, _| self.owners.get(element).is_none_or(|owner| owner == key));
        if wanted.elements.len() == size {
            self.refused.remove(key);
        } else {
            tracing::warn!(service = %key, "an address and port of this service belongs to another service");
            self.refused.insert(key.clone());
        }
        let mut freed = false;
        for element in before.elements.keys().filter(|element| !wanted.elements.contains_key(*element)) {
            self.owners.remove(element);
            freed = true;
        }
        for element in wanted.elements.keys() {
            self.owners.insert(element.clone(), key.clone());
        }
        self.write(&before, &wanted, text);
        if wanted != Rules::default() {
            self.rules.insert(key.clone(), wanted);
        }
        if freed { self.refused.iter().cloned().collect() } else { Vec::new() }
    }

    fn write(&self, before: &Rules, wanted: &Rules, text: &mut String) {
        let target = format!("{} {}", self.family.name(), self.table);
        let mut line = |words: std::fmt::Arguments<'_>| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{words}");
        };
        for chain in wanted.chains.keys().filter(|chain| !before.chains.contains_key(*chain)) {
            line(format_args!("add chain {target} {chain}"));
        }
        let gone_sets: BTreeSet<&String> = before
            .affinity_sets
            .iter()
            .filter(|(set, timeout)| wanted.affinity_sets.get(*set) != Some(timeout))
            .map(|(set, _)| set)
            .collect();
        for (set, timeout) in &wanted.affinity_sets {
            match before.affinity_sets.get(set) {
                Some(known) if known == timeout => {}
                // Rules that point at it are replaced below: here it must only not exist twice.
                Some(_) => {}
                None => line(format_args!(
                    "add set {target} {set} {{ type {}; flags dynamic,timeout; timeout {timeout}s; }}",
                    self.family.address_type()
                )),
            }
        }
        for (chain, rules) in &wanted.chains {
            match before.chains.get(chain) {
                Some(known) if known == rules => continue,
                Some(_) => line(format_args!("flush chain {target} {chain}")),
                None => {}
            }
            for rule in rules {
                line(format_args!("add rule {target} {chain} {rule}"));
            }
        }
        for ((map, key), value) in &before.elements {
            if wanted.elements.get(&(*map, key.clone())) != Some(value) {
                line(format_args!("delete element {target} {map} {{ {key} }}"));
            }
        }
        for ((map, key), value) in &wanted.elements {
            if before.elements.get(&(*map, key.clone())) == Some(value) {
                continue;
            }
            if value.is_empty() {
                line(format_args!("add element {target} {map} {{ {key} }}"));
            } else {
                line(format_args!("add element {target} {map} {{ {key} : {value} }}"));
            }
        }
        let gone: Vec<&String> =
            before.chains.keys().filter(|chain| !wanted.chains.contains_key(*chain)).collect();
        for chain in &gone {
            line(format_args!("flush chain {target} {chain}"));
        }
        for chain in &gone {
            line(format_args!("delete chain {target} {chain}"));
        }
        for set in gone_sets.into_iter().filter(|set| !wanted.affinity_sets.contains_key(*set)) {
            line(format_args!("delete set {target} {set}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::model::{
            rules,
            tests::{endpoint, entry, here, service},
        },
        *,
    };

    fn wanted(addresses: &[&str]) -> Rules {
        let endpoints = addresses.iter().map(|address| endpoint(address, "here", true, false)).collect();
        rules(&ServiceKey::new("ns", "web"), &entry(service(), endpoints), &here(), Family::V4)
    }

    fn verbs(text: &str) -> Vec<String> {
        text.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn only_what_changed_is_written() {
        let mut loaded = Loaded::new("t", Family::V4, false);
        let key = ServiceKey::new("ns", "web");
        let mut text = String::new();
        loaded.change(&key, wanted(&["10.0.0.1", "10.0.0.2"]), &mut text);
        assert!(text.contains("add element ip t service-ips { 10.96.0.9 . tcp . 80 : goto service-"));

        let mut text = String::new();
        loaded.change(&key, wanted(&["10.0.0.1", "10.0.0.2"]), &mut text);
        assert_eq!(text, "");

        let mut text = String::new();
        loaded.change(&key, wanted(&["10.0.0.1", "10.0.0.3"]), &mut text);
        let expected = [
            "add chain",
            "add rule",
            "add rule",
            "flush chain",
            "add rule",
            "add rule",
            "flush chain",
            "delete chain",
        ];
        assert_eq!(verbs(&text), expected, "{text}");

        let mut text = String::new();
        loaded.change(&key, Rules::default(), &mut text);
        assert!(!verbs(&text).iter().any(|verb| verb.starts_with("add")), "{text}");
        assert!(loaded.is_empty());
    }

    #[test]
    fn an_address_that_is_taken_is_given_when_it_is_free() {
        let mut loaded = Loaded::new("t", Family::V4, false);
        let (first, second) = (ServiceKey::new("ns", "web"), ServiceKey::new("ns", "copy"));
        let mut text = String::new();
        loaded.change(&first, wanted(&["10.0.0.1"]), &mut text);
        let mut text = String::new();
        assert!(loaded.change(&second, wanted(&["10.0.0.1"]), &mut text).is_empty());
        assert!(!text.contains("add element"), "{text}");
        let mut text = String::new();
        assert_eq!(loaded.change(&first, Rules::default(), &mut text), std::slice::from_ref(&second));
        loaded.change(&second, wanted(&["10.0.0.1"]), &mut text);
        assert!(text.contains("add element ip t service-ips"), "{text}");
    }
}
