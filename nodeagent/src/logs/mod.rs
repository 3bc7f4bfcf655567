//! Container logs: the CRI file format, reading with tail and follow, rotation.

pub mod format;
pub mod read;
pub mod rotate;
