//! Fields that became lists: the older field is the first element, and counts where the two differ.

use serde_json::{Map, Value, json};

/// Makes `podCIDR` and `podCIDRs` of a node's spec agree.
pub fn pod_ranges(spec: &mut Map<String, Value>) {
    agree(spec, "podCIDR", "podCIDRs", Value::as_str, |t| t.into());
}

/// Makes `podIP` and `podIPs` of a pod's status agree.
pub fn pod_addresses(status: &mut Map<String, Value>) {
    agree(status, "podIP", "podIPs", |v| v.get("ip")?.as_str(), |ip| json!({"ip": ip}));
}

fn agree(
    map: &mut Map<String, Value>,
    one: &str,
    many: &str,
    read: fn(&Value) -> Option<&str>,
    make: fn(&str) -> Value,
) {
    let older = map.get(one).and_then(Value::as_str).filter(|t| !t.is_empty());
    let first = map.get(many).and_then(|l| l.get(0)).and_then(read);
    match (older, first) {
        (Some(o), f) if f != Some(o) => {
            let list = vec![make(o)];
            map.insert(many.into(), list.into());
        }
        (None, Some(f)) => {
            let f = f.to_owned();
            map.insert(one.into(), f.into());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_field_counts() {
        for (spec, want) in [
            (json!({}), json!({})),
            (json!({"podCIDR": "a"}), json!({"podCIDR": "a", "podCIDRs": ["a"]})),
            (json!({"podCIDRs": ["a", "b"]}), json!({"podCIDR": "a", "podCIDRs": ["a", "b"]})),
            (
                json!({"podCIDR": "a", "podCIDRs": ["a", "b"]}),
                json!({"podCIDR": "a", "podCIDRs": ["a", "b"]}),
            ),
            (json!({"podCIDR": "c", "podCIDRs": ["a", "b"]}), json!({"podCIDR": "c", "podCIDRs": ["c"]})),
        ] {
            let mut map = spec.as_object().unwrap().clone();
            pod_ranges(&mut map);
            assert_eq!(Value::from(map), want, "{spec}");
        }
        let mut status = json!({"podIPs": [{"ip": "::1"}]});
        pod_addresses(status.as_object_mut().unwrap());
        assert_eq!(status["podIP"], "::1");
    }
}
