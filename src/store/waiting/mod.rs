//! Commits on their way to the connection that writes, whatever the database.

pub(in crate::store) mod job;
pub(in crate::store) mod lanes;
