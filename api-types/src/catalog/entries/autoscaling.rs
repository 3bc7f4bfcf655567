//! `autoscaling`.

use crate::catalog::Kind;

pub(super) const KINDS: &[Kind] = &[];
