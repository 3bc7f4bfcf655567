//! The node's own object: what the machine has ([`machine`]), registration and status ([`status`]), the lease
//! that says it lives ([`lease`]).

pub mod conditions;
pub mod lease;
pub mod machine;
pub mod status;
