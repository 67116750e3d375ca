//! THE RULES: who may do what, and what follows from what. Pure and synchronous: no I/O, no clock, no chance, no SQL, no
//! wire format. Everything that happened, or is asked, is handed in; what comes back is the next state with its audit
//! event, or a refusal that says why.
//!
//! ```text
//! request   PENDING --approve (n of n)--> APPROVED --claim--> CLAIMED
//!              |--deny-----> DENIED          |--withdraw-> WITHDRAWN
//!              |--withdraw-> WITHDRAWN       '--lapse----> LAPSED     (approved, never claimed)
//!              '--lapse----> LAPSED                                   (never answered)
//!
//! grant     ISSUING --activate--> ACTIVE --begin--> REVOKING --confirm--> REVOKED
//!              '--begin (ISSUE_FAILED, …)---------> REVOKING --confirm--> FAILED   (never was active)
//! ```

pub mod actor;
pub mod approval;
pub mod approval_text;
pub mod change;
pub mod event;
pub mod freeze;
pub mod grant;
pub mod handle;
pub mod hours;
pub mod id;
pub mod kept;
pub mod limits;
pub mod median;
pub mod members;
pub mod policy;
pub mod quorum;
pub mod refusal;
pub mod request;
pub mod retention;
pub mod revocation;
pub mod signing;
pub mod target;
pub mod terms;
pub mod text;
pub mod totals;
pub mod window;
pub mod writing;
