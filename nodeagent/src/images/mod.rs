//! Images: pulling by policy ([`pull`]), building and importing archives without a registry.

pub mod containerd_store;
pub mod import;
pub mod name;
pub mod oci_archive;
pub mod pause;
pub mod pull;

pub use import::{ImportError, import_image};
