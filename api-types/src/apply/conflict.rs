//! Conflicts of an apply, as upstream tells them.

use serde_json::json;

use super::element;
use super::managers::{Manager, Operation};
use super::set::Set;
use crate::status::Status;

/// A field that the configuration gives another value than its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// The owner.
    pub manager: Manager,
    /// The version its fields are named in.
    pub version: String,
    /// The field.
    pub path: Vec<String>,
}

impl Conflict {
    /// The conflicts with one owner.
    pub fn with(manager: &Manager, version: &str, fields: &Set) -> Vec<Self> {
        let one = |path| Self { manager: manager.clone(), version: version.to_owned(), path };
        element::paths(fields).into_iter().map(one).collect()
    }

    fn field(&self) -> String {
        self.path.iter().map(|e| element::printed(e)).collect()
    }

    fn owner(&self) -> String {
        let mut out = format!("{:?}", self.manager.name);
        if !self.manager.subresource.is_empty() {
            out.push_str(&format!(" with subresource {:?}", self.manager.subresource));
        }
        if self.manager.operation == Operation::Update {
            out.push_str(&format!(" using {}", self.version));
        }
        out
    }
}

/// 409 with one cause a field.
pub fn status(mut conflicts: Vec<Conflict>) -> Status {
    // Within one owner the order of the fields stays.
    conflicts.sort_by(|a, b| a.manager.cmp(&b.manager));
    let causes: Vec<_> = conflicts
        .iter()
        .map(|c| json!({"reason": "FieldManagerConflict", "message": format!("conflict with {}", c.owner()), "field": c.field()}))
        .collect();
    let message = match conflicts.as_slice() {
        [one] => format!("Apply failed with 1 conflict: conflict with {}: {}", one.owner(), one.field()),
        many => {
            let mut lines = Vec::new();
            for (i, c) in many.iter().enumerate() {
                if i == 0 || many[i - 1].manager != c.manager {
                    lines.push(format!("conflicts with {}:", c.owner()));
                }
                lines.push(format!("- {}", c.field()));
            }
            format!("Apply failed with {} conflicts: {}", many.len(), lines.join("\n"))
        }
    };
    let mut s = Status::new(409, "Conflict", message);
    s.details = json!({"causes": causes});
    s
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let conflict = |name: &str, op, sub: &str, path: &[&str]| Conflict {
            manager: Manager::new(name, op, "apps/v1", sub),
            version: "apps/v1".into(),
            path: path.iter().map(|s| (*s).to_owned()).collect(),
        };
        let replicas = &["f:spec", "f:replicas"];
        let one = status(vec![conflict("kubectl", Operation::Update, "", replicas)]);
        assert_eq!(
            one.message,
            "Apply failed with 1 conflict: conflict with \"kubectl\" using apps/v1: .spec.replicas"
        );
        assert_eq!(
            one.details,
            json!({"causes": [{"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\" using apps/v1", "field": ".spec.replicas"}]})
        );
        let many = status(vec![
            conflict("b", Operation::Update, "scale", replicas),
            conflict("a", Operation::Apply, "", replicas),
            conflict("b", Operation::Update, "scale", &["f:metadata", "f:labels", "f:x"]),
        ]);
        assert_eq!(
            many.message,
            "Apply failed with 3 conflicts: conflicts with \"a\":\n- .spec.replicas\nconflicts with \"b\" with subresource \"scale\" using apps/v1:\n- .spec.replicas\n- .metadata.labels.x"
        );
    }
}
