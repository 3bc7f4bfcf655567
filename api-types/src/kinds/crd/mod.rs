//! The rules of definitions of custom resources (`apiextensions/validation`, `structural schema` and `defaulting`): a
//! file for each part of a definition, and for what upstream asks of schemas one after the other.

pub mod approval;
pub mod complete;
pub mod conversion;
pub mod defaults;
pub mod formats;
pub mod lists;
pub mod naming;
pub mod openapi;
pub mod path;
pub mod paths;
pub mod pattern;
pub mod rules;
pub mod structural;
pub mod value;
pub mod versions;
