//! `node.k8s.io`.

use crate::catalog::Kind;

pub(super) const KINDS: &[Kind] = &[];
