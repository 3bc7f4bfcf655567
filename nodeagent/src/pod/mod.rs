//! Pods: one task each ([`worker`]) around two pure functions, [`plan`] (what to do) and [`status`] (what to say).

pub mod backoff;
pub mod container_config;
pub mod context;
pub mod dns;
pub mod env;
pub mod expand;
pub mod fields;
pub mod hooks;
pub mod hosts;
pub mod kill;
pub mod manager;
pub mod plan;
pub mod registry;
pub mod resize;
pub mod resources;
pub mod sandbox_config;
pub mod security;
pub mod service_env;
pub mod spec;
pub mod start;
pub mod state;
pub mod status;
pub mod status_writer;
pub mod worker;
