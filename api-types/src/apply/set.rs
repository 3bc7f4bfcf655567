//! Sets of fields in the form `fieldsV1` has: a tree of path elements.
//!
//! A node without children is a member of the set; one with children is a member if it has the child `.`. Keys are
//! path elements in their canonical text (see [`super::element`]), so that equal elements have equal keys and the
//! algebra needs no parsing. A node that is no member and has no children does not occur.

use serde_json::{Map, Value};

/// A set of fields, or what is below one field.
pub type Set = Map<String, Value>;

/// The child that makes a node with children a member.
pub const SELF: &str = ".";

fn member() -> Value {
    Value::Object(Map::new())
}

/// Whether a node is a member.
pub fn is_member(node: &Value) -> bool {
    node.as_object().is_some_and(|m| m.is_empty() || m.contains_key(SELF))
}

/// The children of a node, with its own mark among them.
pub fn below(node: &Value) -> Option<&Set> {
    node.as_object()
}

/// The nodes of a set without the mark of the set itself.
pub fn nodes(set: &Set) -> impl Iterator<Item = (&String, &Value)> {
    set.iter().filter(|(k, _)| *k != SELF)
}

/// A node from its parts; `None` when it is nothing.
pub fn node(is_member: bool, mut below: Set) -> Option<Value> {
    if below.is_empty() {
        return is_member.then(member);
    }
    if is_member {
        below.insert(SELF.to_owned(), member());
    }
    Some(Value::Object(below))
}

/// Adds one field by the texts of its path.
pub fn insert(set: &mut Set, path: &[&str]) {
    let [first, rest @ ..] = path else { return };
    if rest.is_empty() {
        match set.get_mut(*first) {
            Some(Value::Object(m)) if !m.is_empty() => {
                m.insert(SELF.to_owned(), member());
            }
            Some(_) => {}
            None => {
                set.insert((*first).to_owned(), member());
            }
        }
        return;
    }
    let existed = set.contains_key(*first);
    if let Value::Object(m) = set.entry(*first).or_insert_with(member) {
        // A leaf that gets children stays a member.
        if m.is_empty() && existed {
            m.insert(SELF.to_owned(), member());
        }
        insert(m, rest);
    }
}

/// A set of some paths.
pub fn of(paths: &[&[&str]]) -> Set {
    let mut out = Set::new();
    for p in paths {
        insert(&mut out, p);
    }
    out
}

/// Whether a field is a member.
pub fn has(set: &Set, path: &[&str]) -> bool {
    match path {
        [] => false,
        [last] => set.get(*last).is_some_and(is_member),
        [first, rest @ ..] => set.get(*first).and_then(below).is_some_and(|s| has(s, rest)),
    }
}

/// Adds all members of `b`.
pub fn union(a: &mut Set, b: &Set) {
    for (key, theirs) in nodes(b) {
        match a.get_mut(key) {
            None => {
                a.insert(key.clone(), theirs.clone());
            }
            Some(ours) => {
                let is = is_member(ours) || is_member(theirs);
                let (Value::Object(ours), Some(theirs)) = (ours, below(theirs)) else { continue };
                union(ours, theirs);
                if is && !ours.is_empty() {
                    ours.insert(SELF.to_owned(), member());
                }
            }
        }
    }
}

/// The members of both.
pub fn intersection(a: &Set, b: &Set) -> Set {
    combine(a, |key| b.get(key), false, |a, b| a && b, intersection)
}

/// The members of `a` that are none of `b`. A parent stays when only a child is taken away, and the other way.
pub fn difference(a: &Set, b: &Set) -> Set {
    combine(a, |key| b.get(key), true, |a, b| a && !b, difference)
}

/// The members of `a` that are neither in `b` nor below one of its members.
pub fn recursive_difference(a: &Set, b: &Set) -> Set {
    let outside = |key: &str| !b.get(key).is_some_and(is_member);
    let rest: Set = nodes(a).filter(|(k, _)| outside(k)).map(|(k, v)| (k.clone(), v.clone())).collect();
    combine(&rest, |key| b.get(key), true, |a, b| a && !b, recursive_difference)
}

fn combine<'b>(
    a: &Set,
    other: impl Fn(&str) -> Option<&'b Value>,
    keep_lone: bool,
    membership: fn(bool, bool) -> bool,
    deeper: fn(&Set, &Set) -> Set,
) -> Set {
    let mut out = Set::new();
    for (key, ours) in nodes(a) {
        let Some(theirs) = other(key) else {
            if keep_lone {
                out.insert(key.clone(), ours.clone());
            }
            continue;
        };
        let (Some(mine), Some(their)) = (below(ours), below(theirs)) else { continue };
        let is = membership(is_member(ours), is_member(theirs));
        if let Some(n) = node(is, deeper(mine, their)) {
            out.insert(key.clone(), n);
        }
    }
    out
}

/// Whether two sets have a member in common.
pub fn intersects(a: &Set, b: &Set) -> bool {
    nodes(a).any(|(key, ours)| {
        b.get(key).is_some_and(|theirs| {
            is_member(ours) && is_member(theirs)
                || below(ours).zip(below(theirs)).is_some_and(|(x, y)| intersects(x, y))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(v: Value) -> Set {
        v.as_object().unwrap().clone()
    }

    #[test]
    fn members_are_leaves_or_marked() {
        let s = of(&[&["f:a"], &["f:b", "f:c"], &["f:d"], &["f:d", "f:e"], &["f:g", "f:h"], &["f:g"]]);
        assert_eq!(
            Value::Object(s.clone()),
            json!({"f:a": {}, "f:b": {"f:c": {}}, "f:d": {".": {}, "f:e": {}}, "f:g": {".": {}, "f:h": {}}})
        );
        for (path, want) in [
            (&["f:a"][..], true),
            (&["f:b"], false),
            (&["f:b", "f:c"], true),
            (&["f:d"], true),
            (&["f:d", "f:e"], true),
            (&["f:x"], false),
            (&["f:a", "f:x"], false),
            (&[], false),
        ] {
            assert_eq!(has(&s, path), want, "{path:?}");
        }
    }

    #[test]
    fn algebra() {
        let parent = json!({"f:a": {}});
        let child = json!({"f:a": {"f:b": {}}});
        let both = json!({"f:a": {".": {}, "f:b": {}}});
        let other = json!({"f:a": {"f:c": {}}, "f:z": {}});
        for (a, b, union_, common, less, far_less) in [
            (&parent, &child, both.clone(), json!({}), parent.clone(), parent.clone()),
            (&child, &parent, both.clone(), json!({}), child.clone(), json!({})),
            (&both, &parent, both.clone(), parent.clone(), child.clone(), json!({})),
            (&both, &child, both.clone(), child.clone(), parent.clone(), parent.clone()),
            (&both, &both, both.clone(), both.clone(), json!({}), json!({})),
            (
                &child,
                &other,
                json!({"f:a": {"f:b": {}, "f:c": {}}, "f:z": {}}),
                json!({}),
                child.clone(),
                child.clone(),
            ),
            (&both, &json!({}), both.clone(), json!({}), both.clone(), both.clone()),
        ] {
            let (x, y) = (set(a.clone()), set(b.clone()));
            let mut u = x.clone();
            union(&mut u, &y);
            assert_eq!(Value::Object(u), union_, "{a} ∪ {b}");
            assert_eq!(Value::Object(intersection(&x, &y)), common, "{a} ∩ {b}");
            assert_eq!(intersects(&x, &y), common != json!({}), "{a} ∩ {b}");
            assert_eq!(Value::Object(difference(&x, &y)), less, "{a} − {b}");
            assert_eq!(Value::Object(recursive_difference(&x, &y)), far_less, "{a} − below {b}");
        }
    }
}
