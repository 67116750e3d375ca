//! THE VERBS, one file per step, in the order of the story: [`submit`], [`decide`], [`claim`], [`end`]; [`query`] reads.
//!
//! Each verb asks the policy, lets the rules decide, commits what they made, and only then acts. It knows the store and
//! Vault by their traits, and the time by the clock it was given.

mod announce;
mod claim;
mod decide;
mod end;
mod error;
mod query;
mod refuse;
mod submit;

pub use self::error::{BadField, Error};
