//! What one rule allows.

use serde::{Deserialize, Serialize};

use crate::authz::Attributes;
use crate::authz::forbidden::quote;

/// A `PolicyRule`. Which lists are set decides whether it is about resources or about URLs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// Groups; `*` is any.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Paths that are not resources; `*` is any, a final `*` any continuation.
    #[serde(rename = "nonResourceURLs", deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
    /// Names of objects; none is any.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// `resource`, `resource/subresource`, `*/subresource` or `*`.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Verbs; `*` is any.
    #[serde(deserialize_with = "list", skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<String>,
}

/// A list that may be `null`.
fn list<'de, D: serde::Deserializer<'de>>(de: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(de)?.unwrap_or_default())
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == wanted)
}

fn has_or_all(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

impl Rule {
    /// Whether it allows the request.
    #[must_use]
    pub fn allows(&self, a: &Attributes<'_>) -> bool {
        if !has_or_all(&self.verbs, a.verb) {
            return false;
        }
        if !a.resource_request {
            return self.non_resource_urls.iter().any(|url| url_matches(url, a.path));
        }
        has_or_all(&self.api_groups, a.api_group)
            && self.resources.iter().any(|rule| resource_matches(rule, a.resource, a.subresource))
            && (self.resource_names.is_empty() || has(&self.resource_names, a.name))
    }

    /// The smallest rules that together allow the same: one verb, one resource, one name each.
    #[must_use]
    pub fn break_down(&self) -> Vec<Self> {
        let one = |text: &String| vec![text.clone()];
        let mut parts = Vec::new();
        for group in &self.api_groups {
            for resource in &self.resources {
                for verb in &self.verbs {
                    let part = Self {
                        api_groups: one(group),
                        resources: one(resource),
                        verbs: one(verb),
                        ..Self::default()
                    };
                    if self.resource_names.is_empty() {
                        parts.push(part);
                    } else {
                        let named = |name| Self { resource_names: one(name), ..part.clone() };
                        parts.extend(self.resource_names.iter().map(named));
                    }
                }
            }
        }
        for url in &self.non_resource_urls {
            let part = |verb| Self { non_resource_urls: one(url), verbs: one(verb), ..Self::default() };
            parts.extend(self.verbs.iter().map(part));
        }
        parts
    }

    /// Whether whoever has this rule has all of `part`, which is as small as `break_down` makes them.
    #[must_use]
    pub fn covers(&self, part: &Self) -> bool {
        let all = |own: &[String], wanted: &[String]| has(own, "*") || wanted.iter().all(|w| has(own, w));
        let resource = |wanted: &String| {
            let subresource =
                || wanted.split_once('/').is_some_and(|(_, sub)| has(&self.resources, &format!("*/{sub}")));
            has_or_all(&self.resources, wanted) || subresource()
        };
        let names = match (self.resource_names.is_empty(), part.resource_names.is_empty()) {
            (true, _) => true,
            (false, true) => false,
            (false, false) => part.resource_names.iter().all(|name| has(&self.resource_names, name)),
        };
        let urls = |wanted: &String| self.non_resource_urls.iter().any(|own| url_matches(own, wanted));
        all(&self.verbs, &part.verbs)
            && all(&self.api_groups, &part.api_groups)
            && part.resources.iter().all(resource)
            && names
            && part.non_resource_urls.iter().all(urls)
    }

    /// In the form of upstream's messages.
    #[must_use]
    pub fn describe(&self) -> String {
        let lists = [
            ("APIGroups", &self.api_groups),
            ("Resources", &self.resources),
            ("NonResourceURLs", &self.non_resource_urls),
            ("ResourceNames", &self.resource_names),
            ("Verbs", &self.verbs),
        ];
        let part = |(name, list): (&str, &Vec<String>)| {
            let items: Vec<_> = list.iter().map(|item| quote(item)).collect();
            format!("{name}:[{}]", items.join(" "))
        };
        let parts: Vec<_> = lists.into_iter().filter(|(_, list)| !list.is_empty()).map(part).collect();
        format!("{{{}}}", parts.join(", "))
    }
}

fn resource_matches(rule: &str, resource: &str, subresource: &str) -> bool {
    if rule == "*" {
        return true;
    }
    if subresource.is_empty() {
        return rule == resource;
    }
    rule.split_once('/').is_some_and(|(of, sub)| sub == subresource && (of == "*" || of == resource))
}

fn url_matches(rule: &str, path: &str) -> bool {
    rule == "*" || rule == path || (rule.ends_with('*') && path.starts_with(rule.trim_end_matches('*')))
}

/// The parts of `wanted` that no rule in `owned` covers.
#[must_use]
pub fn missing(owned: &[Rule], wanted: &[Rule]) -> Vec<Rule> {
    let parts = wanted.iter().flat_map(Rule::break_down);
    parts.filter(|part| !owned.iter().any(|rule| rule.covers(part))).collect()
}

/// Joins rules that differ in their verbs only; others stay as they are.
#[must_use]
pub fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let simple = |rule: &Rule| {
        rule.api_groups.len() == 1
            && rule.resources.len() == 1
            && rule.resource_names.len() <= 1
            && rule.non_resource_urls.is_empty()
    };
    let mut joined: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = |known: &&mut Rule| {
            simple(known)
                && known.api_groups == rule.api_groups
                && known.resources == rule.resources
                && known.resource_names == rule.resource_names
        };
        match joined.iter_mut().find(same) {
            Some(known) if simple(&rule) => known.verbs.extend(rule.verbs),
            _ => joined.push(rule),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::UserInfo;

    fn words(text: &str) -> Vec<String> {
        text.split(',').map(str::to_owned).collect()
    }

    fn rule(verbs: &str, groups: &str, resources: &str) -> Rule {
        Rule {
            verbs: words(verbs),
            api_groups: words(groups),
            resources: words(resources),
            ..Rule::default()
        }
    }

    fn url(verbs: &str, urls: &str) -> Rule {
        Rule { verbs: words(verbs), non_resource_urls: words(urls), ..Rule::default() }
    }

    fn named(rule: Rule, names: &str) -> Rule {
        Rule { resource_names: words(names), ..rule }
    }

    #[test]
    fn resources_are_matched_as_upstream_does() {
        let user = UserInfo::default();
        // verb, group, resource, subresource, name: allowed?
        let cases = [
            (rule("get", "", "pods"), ("get", "", "pods", "", "a"), true),
            (rule("get", "", "pods"), ("list", "", "pods", "", ""), false),
            (rule("*", "", "pods"), ("anything", "", "pods", "", ""), true),
            (rule("get", "apps", "pods"), ("get", "", "pods", "", ""), false),
            (rule("get", "*", "pods"), ("get", "x", "pods", "", ""), true),
            (rule("get", "", "*"), ("get", "", "pods", "log", ""), true),
            (rule("get", "", "pods"), ("get", "", "pods", "log", ""), false),
            (rule("get", "", "pods/log"), ("get", "", "pods", "log", ""), true),
            (rule("get", "", "pods/log"), ("get", "", "pods", "", ""), false),
            (rule("get", "", "*/scale"), ("get", "", "deployments", "scale", ""), true),
            (rule("get", "", "*/scale"), ("get", "", "deployments", "status", ""), false),
            (rule("get", "", "pods/*"), ("get", "", "pods", "log", ""), false),
            (named(rule("get", "", "pods"), "a,b"), ("get", "", "pods", "", "b"), true),
            (named(rule("get", "", "pods"), "a,b"), ("get", "", "pods", "", "c"), false),
            (named(rule("create", "", "pods"), "a"), ("create", "", "pods", "", ""), false),
            (url("get", "*"), ("get", "", "pods", "", ""), false),
        ];
        for (rule, (verb, group, resource, subresource, name), allowed) in cases {
            let asked = Attributes::resource(&user, verb, group, "v1", resource)
                .with_subresource(subresource)
                .named(name);
            assert_eq!(rule.allows(&asked), allowed, "{} for {asked:?}", rule.describe());
        }
    }

    #[test]
    fn urls_are_matched_as_upstream_does() {
        let user = UserInfo::default();
        let cases = [
            ("/metrics", "/metrics", true),
            ("/metrics", "/metrics/", false),
            ("*", "/anything", true),
            ("/api/*", "/api/v1", true),
            ("/api/*", "/api", false),
            ("/api*", "/apis", true),
            ("/*/x", "/a/x", false),
        ];
        for (rule, path, allowed) in cases {
            assert_eq!(
                url("get", rule).allows(&Attributes::path(&user, "get", path)),
                allowed,
                "{rule} {path}"
            );
        }
        assert!(!url("get", "*").allows(&Attributes::path(&user, "post", "/")));
        assert!(!rule("*", "*", "*").allows(&Attributes::path(&user, "get", "/")));
    }

    #[test]
    fn who_has_a_rule_has_its_parts() {
        let missing = |owned: Vec<Rule>, wanted: Rule| -> Vec<String> {
            compact(super::missing(&owned, &[wanted])).iter().map(Rule::describe).collect()
        };
        let none: Vec<String> = Vec::new();
        let all = rule("*", "*", "*");
        assert_eq!(missing(vec![all.clone()], rule("get,list", "apps", "deployments,pods/log")), none);
        assert_eq!(missing(vec![all], url("get", "/x")), [r#"{NonResourceURLs:["/x"], Verbs:["get"]}"#]);
        assert_eq!(
            missing(vec![rule("get", "", "pods"), rule("list", "", "pods")], rule("get,list", "", "pods")),
            none
        );
        assert_eq!(
            missing(vec![rule("get", "", "pods")], rule("get,list,watch", "", "pods")),
            [r#"{APIGroups:[""], Resources:["pods"], Verbs:["list" "watch"]}"#]
        );
        assert_eq!(missing(vec![rule("get", "", "*/scale")], rule("get", "", "deployments/scale")), none);
        assert_eq!(missing(vec![rule("get", "", "pods")], named(rule("get", "", "pods"), "a")), none);
        assert_eq!(
            missing(vec![named(rule("get", "", "pods"), "a")], rule("get", "", "pods")),
            [r#"{APIGroups:[""], Resources:["pods"], Verbs:["get"]}"#]
        );
        assert_eq!(missing(vec![url("*", "/api/*")], url("get", "/api/v1,/api/*")), none);
        assert_eq!(
            missing(vec![rule("get", "", "pods")], rule("*", "", "pods")).len(),
            1,
            "a star must be owned"
        );
    }

    #[test]
    fn lists_may_be_null() {
        let rule: Rule =
            serde_json::from_str(r#"{"verbs":["get"],"apiGroups":null,"nonResourceURLs":["/x"]}"#).unwrap();
        assert_eq!(rule, url("get", "/x"));
        assert_eq!(serde_json::to_string(&rule).unwrap(), r#"{"nonResourceURLs":["/x"],"verbs":["get"]}"#);
    }
}
