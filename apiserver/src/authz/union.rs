//! Several authorizers in order, and the one that comes first.

use std::sync::Arc;

use super::{Attributes, Authorizer, Decision};
use crate::authn::user::SYSTEM_MASTERS;

/// Asks one after another; the first that allows or denies decides.
pub struct Union(Vec<Arc<dyn Authorizer>>);

impl std::fmt::Debug for Union {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Union").field(&self.0.len()).finish()
    }
}

impl Union {
    /// In this order.
    #[must_use]
    pub fn new(authorizers: Vec<Arc<dyn Authorizer>>) -> Self {
        Self(authorizers)
    }
}

impl Authorizer for Union {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        let mut reasons = String::new();
        for authorizer in &self.0 {
            match authorizer.authorize(attributes) {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => {
                    if !reasons.is_empty() {
                        reasons.push('\n');
                    }
                    reasons.push_str(&reason);
                }
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons)
    }
}

/// Allows `system:masters` everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrivilegedGroup;

impl Authorizer for PrivilegedGroup {
    fn authorize(&self, attributes: &Attributes<'_>) -> Decision {
        if attributes.user.is_in(SYSTEM_MASTERS) {
            Decision::ALLOW
        } else {
            Decision::NoOpinion(String::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::UserInfo;

    struct Always(Decision);

    impl Authorizer for Always {
        fn authorize(&self, _: &Attributes<'_>) -> Decision {
            self.0.clone()
        }
    }

    #[test]
    fn the_first_decision_counts_and_reasons_add_up() {
        let user = UserInfo::default();
        let ask = |decisions: Vec<Decision>| {
            let authorizers =
                decisions.into_iter().map(|d| Arc::new(Always(d)) as Arc<dyn Authorizer>).collect();
            Union::new(authorizers).authorize(&Attributes::path(&user, "get", "/"))
        };
        let none = |reason: &str| Decision::NoOpinion(reason.to_owned());
        assert_eq!(ask(vec![none("a"), none(""), none("b")]), none("a\nb"));
        assert_eq!(ask(vec![none("a"), Decision::ALLOW]), Decision::ALLOW);
        assert_eq!(ask(vec![Decision::Deny("no".into()), Decision::ALLOW]), Decision::Deny("no".into()));
        assert_eq!(ask(vec![]), none(""));
    }

    #[test]
    fn masters_may_do_everything() {
        let master = UserInfo::authenticated("root", vec!["system:masters".into()]);
        let other = UserInfo::authenticated("root", vec!["masters".into()]);
        let ask = |user: &UserInfo| PrivilegedGroup.authorize(&Attributes::path(user, "delete", "/x"));
        assert!(ask(&master).is_allowed());
        assert!(!ask(&other).is_allowed());
    }
}
