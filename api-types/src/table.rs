//! Tables: what `kubectl get` prints. Columns and cells follow upstream's `pkg/printers/internalversion`.

use jiff::Timestamp;
use serde_json::Value;

use crate::meta;

/// One column of a kind's table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its heading.
    pub name: &'static str,
    /// `string`, `integer`, ...
    pub kind: &'static str,
    /// `name` marks the column that names the object.
    pub format: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
}

/// The column that names the object.
pub const NAME: Column = Column { name: "Name", kind: "string", format: "name", priority: 0 };
/// How long ago the object was created.
pub const AGE: Column = text("Age");

/// A column of text that is always shown.
pub const fn text(name: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 0 }
}

/// A column of text that is shown with `-o wide`.
pub const fn wide(name: &'static str) -> Column {
    Column { name, kind: "string", format: "", priority: 1 }
}

/// A column of whole numbers.
pub const fn integer(name: &'static str) -> Column {
    Column { name, kind: "integer", format: "", priority: 0 }
}

/// A column of truth values.
pub const fn boolean(name: &'static str) -> Column {
    Column { name, kind: "boolean", format: "", priority: 0 }
}

/// Name and age.
pub fn default_row(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![meta::name(object).into(), age(object, now).into()]
}

/// How long ago the object was created, in upstream's short form.
pub fn age(object: &Value, now: Timestamp) -> String {
    since(meta::field(object, "creationTimestamp"), now)
}

/// How long ago a moment was; `<unknown>` when there is none.
pub fn since(time: &str, now: Timestamp) -> String {
    match time.parse::<Timestamp>() {
        Ok(t) => human_duration(now.as_second() - t.as_second()),
        Err(_) => "<unknown>".into(),
    }
}

/// Seconds in upstream's short form: two units at most, the finer the younger.
pub fn human_duration(seconds: i64) -> String {
    if seconds < -1 {
        return "<invalid>".into();
    }
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let pair = |a: i64, ua: &str, b: i64, ub: &str| {
        if b == 0 { format!("{a}{ua}") } else { format!("{a}{ua}{b}{ub}") }
    };
    if seconds < 120 {
        format!("{seconds}s")
    } else if minutes < 10 {
        pair(minutes, "m", seconds % 60, "s")
    } else if minutes < 180 {
        format!("{minutes}m")
    } else if hours < 8 {
        pair(hours, "h", minutes % 60, "m")
    } else if hours < 48 {
        format!("{hours}h")
    } else if hours < 192 {
        pair(days, "d", hours % 24, "h")
    } else if days < 365 * 2 {
        format!("{days}d")
    } else if days < 365 * 8 {
        pair(days / 365, "y", days % 365, "d")
    } else {
        format!("{}y", days / 365)
    }
}

/// `a=b,c=d`, or `<none>`.
pub fn label_map(map: Option<&Value>) -> String {
    let entries = map.and_then(Value::as_object).filter(|m| !m.is_empty());
    entries.map_or_else(
        || "<none>".into(),
        |m| m.iter().map(|(k, v)| format!("{k}={}", v.as_str().unwrap_or(""))).collect::<Vec<_>>().join(","),
    )
}

/// The text of a `LabelSelector` object, or `<none>`.
pub fn label_selector(selector: Option<&Value>) -> String {
    let parsed = selector
        .and_then(|s| serde_json::from_value(s.clone()).ok())
        .and_then(|s| crate::selector::Selector::from_label_selector(&s).ok());
    match parsed {
        Some(s) if !s.is_everything() => s.to_string(),
        _ => "<none>".into(),
    }
}

/// One field of each container, comma-separated.
pub fn containers(pod_spec: Option<&Value>, field: &str) -> String {
    let list = pod_spec.and_then(|s| s.get("containers")).and_then(Value::as_array);
    list.into_iter()
        .flatten()
        .map(|c| c.get(field).and_then(Value::as_str).unwrap_or(""))
        .collect::<Vec<_>>()
        .join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_short() {
        for (s, want) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (125, "2m5s"),
            (600, "10m"),
            (10_800, "3h"),
            (10_860, "3h1m"),
            (30_000, "8h"),
            (172_800, "2d"),
            (180_000, "2d2h"),
            (700_000, "8d"),
            (63_072_000, "2y"),
            (-5, "<invalid>"),
        ] {
            assert_eq!(human_duration(s), want, "{s}");
        }
    }
}
