//! Pod networking: the CNI configuration pods are wired with, address translation for what leaves the node, and
//! taking all of it away again.

pub mod cleanup;
pub mod cni;
pub mod dns;
pub mod host_ports;
pub mod masquerade;
pub mod proxy;
