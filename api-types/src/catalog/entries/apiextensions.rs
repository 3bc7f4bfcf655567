//! `apiextensions.k8s.io`, as stored kinds.

use crate::catalog::Kind;

pub(super) const KINDS: &[Kind] = &[];
