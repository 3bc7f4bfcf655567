//! The part of SPDY/3.1 a client of a container runtime's streaming server needs: framing, opening streams with
//! compressed headers, half-close. The peer sends no flow control and honours none, as all Kubernetes components.

pub mod dictionary;
pub mod frame;
pub mod session;
