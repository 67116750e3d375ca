//! What only SQLite does, in rooms that nobody else sees into.

mod due;
mod erase;
mod events;
mod listing;
pub(in crate::store) mod raw;
mod readers;
mod upkeep;
mod writer;
