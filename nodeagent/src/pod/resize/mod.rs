//! Resizing the containers of a running pod in place.
//!
//! Three states of a pod's resources are told apart, as upstream does: what its specification desires, what the node
//! has allocated ([`allocation`], granted by [`node`] against all other pods of the node) and what its containers were
//! given ([`amounts::Amounts`] of each running container). Everything else of the agent sees the pod with its allocated
//! resources. [`plan`] compares allocated with given and is pure; [`act`] carries it out; [`condition`] is what the
//! status and the events tell of it.
//!
//! Invariants: nothing is given before it is allocated; an allocation that differs from what containers were made with
//! is on disk before it is acted upon, so that a restart of the agent goes on where it was.

pub mod act;
pub mod allocation;
pub mod amounts;
pub mod condition;
pub mod node;
pub mod plan;
pub mod status;
