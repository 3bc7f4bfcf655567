//! A Job's policies for failed, succeeded and replaced pods, and its lists of indexes (`0,2-4`).

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::check::{int, list, non_negative, part, text};
use super::job_spec::container_names;
use super::pod_defaults::objects;
use crate::field::{ErrorList, Path};
use crate::meta::default_to;
use crate::names;

const MAX_RULES: usize = 20;
const MAX_EXIT_CODES: usize = 255;
const MAX_PATTERNS: usize = 20;
const MAX_INDEXES_TEXT: usize = 64 * 1024;

/// Fills in the policy for failed pods.
pub fn defaults(spec: &mut Map<String, Value>) {
    let Some(Value::Object(policy)) = spec.get_mut("podFailurePolicy") else { return };
    for rule in objects(policy.get_mut("rules")) {
        for pattern in objects(rule.get_mut("onPodConditions")) {
            default_to(pattern, "status", "True");
        }
    }
}

/// Reasons to refuse `podFailurePolicy`.
pub fn failure(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let path = path.child("rules");
    let rules = list(part(spec, "podFailurePolicy"), "rules");
    if rules.len() > MAX_RULES {
        errors.too_many(&path, rules.len(), MAX_RULES);
    }
    let containers = container_names(spec);
    for (i, rule) in rules.iter().enumerate() {
        failure_rule(spec, rule, &containers, &path.index(i), errors);
    }
}

fn failure_rule(spec: &Value, rule: &Value, containers: &[&str], path: &Path, errors: &mut ErrorList) {
    let action = text(rule, "action").unwrap_or("");
    if action == "FailIndex" && int(spec, "backoffLimitPerIndex").is_none() {
        errors.invalid(&path.child("action"), action, "requires the backoffLimitPerIndex to be set");
    }
    word(rule, "action", &["Count", "FailIndex", "FailJob", "Ignore"], path, errors);
    let codes = part(rule, "onExitCodes");
    let conditions = list(rule, "onPodConditions");
    if !codes.is_null() {
        exit_codes(codes, containers, &path.child("onExitCodes"), errors);
    }
    let on_conditions = path.child("onPodConditions");
    if conditions.len() > MAX_PATTERNS {
        errors.too_many(&on_conditions, conditions.len(), MAX_PATTERNS);
    }
    for (i, pattern) in conditions.iter().enumerate() {
        let path = on_conditions.index(i);
        let kind = text(pattern, "type").unwrap_or("");
        errors.invalid_all(&path.child("type"), kind, names::qualified_name(kind));
        word(pattern, "status", &["False", "True", "Unknown"], &path, errors);
    }
    match (!codes.is_null(), !conditions.is_empty()) {
        (true, true) => {
            errors.invalid_unshown(path, "specifying both OnExitCodes and OnPodConditions is not supported")
        }
        (false, false) => {
            errors.invalid_unshown(path, "specifying one of OnExitCodes and OnPodConditions is required");
        }
        _ => {}
    }
}

/// A field that must be one of a few words, which are told when it is missing.
fn word(object: &Value, field: &str, words: &[&str], path: &Path, errors: &mut ErrorList) {
    match text(object, field).unwrap_or("") {
        "" => {
            let list: Vec<String> = words.iter().map(|w| format!("{w:?}")).collect();
            errors.required(&path.child(field), &format!("valid values: [{}]", list.join(" ")));
        }
        w if !words.contains(&w) => errors.not_supported(&path.child(field), w, words),
        _ => {}
    }
}

fn exit_codes(codes: &Value, containers: &[&str], path: &Path, errors: &mut ErrorList) {
    word(codes, "operator", &["In", "NotIn"], path, errors);
    if let Some(name) = text(codes, "containerName").filter(|n| !containers.contains(n)) {
        errors.invalid(
            &path.child("containerName"),
            name,
            "must be one of the container or initContainer names in the pod template",
        );
    }
    let path = path.child("values");
    let values: Vec<i64> = list(codes, "values").iter().filter_map(Value::as_i64).collect();
    if values.is_empty() {
        errors.invalid(&path, part(codes, "values").clone(), "at least one value is required");
    } else if values.len() > MAX_EXIT_CODES {
        errors.too_many(&path, values.len(), MAX_EXIT_CODES);
    }
    let mut seen = HashSet::new();
    for (i, code) in values.iter().enumerate() {
        if *code == 0 && text(codes, "operator") == Some("In") {
            errors.invalid(&path.index(i), 0, "must not be 0 for the In operator");
        }
        if !seen.insert(code) {
            errors.duplicate(&path.index(i), *code);
        }
    }
    if !values.is_sorted() {
        errors.invalid(&path, Value::from(values), "must be ordered");
    }
}

/// Reasons to refuse `successPolicy` of an Indexed Job.
pub fn success(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let path = path.child("rules");
    let rules = list(part(spec, "successPolicy"), "rules");
    if rules.is_empty() {
        errors.required(&path, "at least one rules must be specified when the successPolicy is specified");
    }
    if rules.len() > MAX_RULES {
        errors.too_many(&path, rules.len(), MAX_RULES);
    }
    let completions = int(spec, "completions").unwrap_or(0);
    for (i, rule) in rules.iter().enumerate() {
        success_rule(rule, completions, &path.index(i), errors);
    }
}

fn success_rule(rule: &Value, completions: i64, path: &Path, errors: &mut ErrorList) {
    let (count, indexes) = (int(rule, "succeededCount"), text(rule, "succeededIndexes"));
    if count.is_none() && indexes.is_none() {
        errors.required(path, "at least one of succeededCount or succeededIndexes must be specified");
    }
    let mut total = 0;
    if let Some(indexes) = indexes {
        let path = path.child("succeededIndexes");
        if indexes.len() > MAX_INDEXES_TEXT {
            errors.too_long(&path, MAX_INDEXES_TEXT);
        }
        match intervals(indexes, completions) {
            Ok(found) => total = found.iter().map(|(x, y)| y - x + 1).sum(),
            Err(why) => errors.invalid(&path, indexes, format!("error parsing succeededIndexes: {why}")),
        }
    }
    let Some(count) = count else { return };
    non_negative(rule, &["succeededCount"], path, errors);
    let path = path.child("succeededCount");
    for (limit, what) in [
        (Some(completions), "specified completions"),
        (indexes.map(|_| total), "indexes in the specified succeededIndexes field"),
    ] {
        if let Some(limit) = limit.filter(|l| count > *l) {
            errors.invalid(
                &path,
                count,
                format!("must be less than or equal to {limit} (the number of {what})"),
            );
        }
    }
}

/// Reasons to refuse `podReplacementPolicy`.
pub fn replacement(spec: &Value, path: &Path, errors: &mut ErrorList) {
    let Some(policy) = text(spec, "podReplacementPolicy") else { return };
    let all: &[&str] = if part(spec, "podFailurePolicy").is_null() {
        &["Failed", "TerminatingOrFailed"]
    } else {
        &["Failed"]
    };
    if !all.contains(&policy) {
        errors.not_supported(path, policy, all);
    }
}

/// The intervals of a list of indexes below `completions`, both ends included, in growing order.
pub fn intervals(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, String> {
    let mut found: Vec<(i64, i64)> = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (x, y) = interval(part, completions)?;
        if let Some((_, last)) = found.last().filter(|(_, last)| *last >= x) {
            return Err(format!("non-increasing order, previous: {last}, current: {x}"));
        }
        found.push((x, y));
    }
    Ok(found)
}

fn interval(text: &str, completions: i64) -> Result<(i64, i64), String> {
    let number = |s: &str| {
        let n = s.parse::<i64>().map_err(|_| format!("cannot convert string to integer for index: {s:?}"))?;
        if n >= completions { Err(format!("too large index: {s:?}")) } else { Ok(n) }
    };
    match text.split('-').collect::<Vec<_>>().as_slice() {
        [x] => number(x).map(|x| (x, x)),
        [x, y] => {
            let (x, y) = (number(x)?, number(y)?);
            if x >= y {
                return Err(format!("non-increasing order, previous: {x}, current: {y}"));
            }
            Ok((x, y))
        }
        _ => Err(format!(
            "the fragment {text:?} violates the requirement that an index interval can have at most two parts separated by '-'"
        )),
    }
}

/// The lowest index that two well-formed lists share.
pub fn overlap(a: &str, b: &str, completions: i64) -> Option<i64> {
    let (Ok(a), Ok(b)) = (intervals(a, completions), intervals(b, completions)) else { return None };
    let (mut i, mut j) = (0, 0);
    while let (Some((ax, ay)), Some((bx, by))) = (a.get(i), b.get(j)) {
        if ax <= by && bx <= ay {
            return Some(*ax.max(bx));
        }
        if ax <= bx { i += 1 } else { j += 1 }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_indexes() {
        assert_eq!(intervals("0,2-4,9", 10), Ok(vec![(0, 0), (2, 4), (9, 9)]));
        assert_eq!(intervals("", 10), Ok(vec![]));
        for (text, want) in [
            (
                "1-2-3",
                "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
            ),
            ("a", "cannot convert string to integer for index: \"a\""),
            ("3,10", "too large index: \"10\""),
            ("4,2", "non-increasing order, previous: 4, current: 2"),
            ("4-4", "non-increasing order, previous: 4, current: 4"),
        ] {
            assert_eq!(intervals(text, 10), Err(want.to_owned()), "{text}");
        }
        assert_eq!(overlap("0,2-4", "1,4-6", 10), Some(4));
        assert_eq!(overlap("0,2", "1,3", 10), None);
    }
}
