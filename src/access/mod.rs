//! The rules.

pub mod handle;
pub mod id;
