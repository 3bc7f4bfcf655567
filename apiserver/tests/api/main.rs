//! The API as a client sees it: requests into a whole API server in this process, on a store of its own.
//!
//! One binary, one file a theme; [`common`] is the harness. No test sleeps: what comes later (watch events) is
//! waited for with a deadline.

mod admitting_accounts;
mod admitting_certificates;
mod admitting_classes;
mod admitting_limits;
mod admitting_nodes;
mod admitting_priority;
mod admitting_quotas;
mod allocating;
mod common;

mod applying;
mod bounds;
mod components;
mod creating;
mod deleting;
mod events;
mod evicting;
mod kinds_admission;
mod kinds_apps;
mod kinds_autoscaling;
mod kinds_batch;
mod kinds_certificates;
mod kinds_cluster;
mod kinds_core;
mod kinds_extension;
mod kinds_networking;
mod kinds_resource;
mod kinds_storage;
mod legacy_tokens;
mod listing;
mod namespaces;
mod owners;
mod patching;
mod pods;
mod protocol;
mod proxying;
mod ratchet;
mod repairing;
mod resizing;
mod rights;
mod secrets;
mod service_ranges;
mod services;
mod snapshots;
mod store_away;
mod switching;
mod tokens;
mod updating;
mod validation;
mod warnings;
mod watching;
mod workloads;
