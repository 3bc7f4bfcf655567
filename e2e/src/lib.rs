//! End to end tests: real clusters of the built `skiff` program, real kubectl, real containers.
//!
//! A scenario is a test binary with a `main` of its own: [`suite::run`] checks what the machine offers, brings up
//! one [`Cluster`] (or a control plane alone, [`Plane`]), runs the tests on it, takes everything down, also after
//! a panic or a signal, and checks that the machine is as it was found.

pub mod client;
pub mod cluster;
pub mod etcd;
pub mod kubectl;
pub mod load;
pub mod machine;
pub mod needs;
pub mod plane;
pub mod slot;
pub mod suite;
pub mod wait;

pub use cluster::{Cluster, Namespace};
pub use plane::Plane;
pub use wait::eventually;
