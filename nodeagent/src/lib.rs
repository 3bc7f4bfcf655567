//! Skiff's node agent: the counterpart of upstream's kubelet.
//!
//! It owns everything that happens on one machine: the container runtime (CRI v1; containerd is started and
//! supervised when no endpoint is given), the pods bound to this node, their volumes, probes, images and logs,
//! the node's own object and lease, the streaming endpoints the API server proxies to, and pod networking.
//!
//! It is woken by the pod watch of its node, by container events of the runtime, by probe results and by timers;
//! nothing polls. One task owns one pod ([`pod::worker`]); what is to be done is decided by the pure function
//! [`pod::plan::plan`], what is reported by the pure function [`pod::status::compute`].
//!
//! Invariants: an agent restart restarts no container (all state is rebuilt from the runtime); a pod object is
//! deleted only after its last container has ended; nothing outside the configured directories is removed.

pub mod agent;
pub mod cgroups;
pub mod config;
pub mod events;
pub mod images;
pub mod inotify;
pub mod logs;
pub mod metrics;
pub mod network;
pub mod node;
pub mod objects;
pub mod pod;
pub mod probes;
pub mod process;
pub mod runtime;
pub mod server;
pub mod volumes;

pub use agent::{Agent, AgentError, AgentState, build};
pub use config::{Config, ServerTls};

/// The version the node reports as its kubelet version.
pub const KUBELET_VERSION: &str = "v1.36.0+skiff";
