//! The one module that knows the wire: what comes in is turned into the verbs' own types, what goes out is turned back,
//! and every failure becomes a status that a client can act on.
//!
//! ```text
//! listeners -> accept (bounds, TLS, HTTP/2 preface) -> auth (table, identity, bounds) -> targets | requests | grants | exceptions
//!                                                                              from_proto -> the broker -> to_proto
//! ```
//!
//! No rule is decided here and nothing is stored. Who may do what is asked of the broker by each verb; this module only
//! makes sure that nobody gets that far without a verified identity, and that a method which isn't in the table reaches
//! nothing.

mod accept;
mod auth;
mod bounds;
mod connection;
mod daemons;
mod deadline;
mod door;
mod exceptions;
mod freezes;
mod from_proto;
mod front;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod grants;
mod health;
mod held;
mod identify;
mod ledger;
mod page;
mod panics;
mod peer;
mod requests;
mod server;
mod status;
mod table;
mod targets;
mod tls;
mod to_proto;
mod watch;

pub use self::{
    bounds::Limits,
    door::{SocketDoor, SocketError, SocketPlace},
    front::{Front, Fronts},
    panics::panicked,
    server::{Doors, ServeError, serve},
    tls::{Tls, TlsError},
    to_proto::{exception, totals},
};
