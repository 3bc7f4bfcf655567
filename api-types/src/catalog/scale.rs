//! Where scalable kinds keep their scale.

use serde_json::Value;

use crate::meta;
use crate::table::{label_map, label_selector};

/// Where a scalable kind keeps what `autoscaling/v1 Scale` shows.
#[derive(Clone, Copy, Debug)]
pub struct ScalePaths {
    /// The replicas that are wanted.
    pub spec_replicas: &'static [&'static str],
    /// The replicas that are there.
    pub status_replicas: &'static [&'static str],
    /// What selects its pods: a `LabelSelector`, a map of labels, or the text of a selector.
    pub selector: &'static [&'static str],
}

impl ScalePaths {
    /// As every built-in kind has it.
    pub const BUILTIN: Self = Self {
        spec_replicas: &["spec", "replicas"],
        status_replicas: &["status", "replicas"],
        selector: &["spec", "selector"],
    };

    /// The text of the selector; empty where there is none.
    pub fn selector_text(&self, object: &Value) -> String {
        let text = match meta::at(object, self.selector) {
            Some(Value::String(text)) => return text.clone(),
            Some(Value::Object(map)) if map.values().all(Value::is_string) => {
                label_map(meta::at(object, self.selector))
            }
            selector => label_selector(selector),
        };
        if text == "<none>" { String::new() } else { text }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_come_in_three_forms() {
        for (selector, want) in [
            (json!({"matchLabels": {"a": "b"}}), "a=b"),
            (json!({"matchExpressions": [{"key": "a", "operator": "Exists"}]}), "a"),
            (json!({"a": "b", "c": "d"}), "a=b,c=d"),
            (json!("a in (b)"), "a in (b)"),
            (json!({}), ""),
            (Value::Null, ""),
        ] {
            let object = json!({"spec": {"selector": selector}});
            assert_eq!(ScalePaths::BUILTIN.selector_text(&object), want, "{object}");
        }
    }
}
