//! What a request asks for, and the body it brings.

pub mod body;
pub mod info;
pub mod negotiate;
pub mod options;
pub mod query;

pub use info::RequestInfo;
