//! Who does what, where several daemons share a store: a *duty* is something that one daemon does at a time.
//!
//! Whoever takes a duty has it until he gives it back or isn't heard of for `store.takeover_after`; then somebody else may take
//! it. Each taking has a generation, which commits name ([`Write::Fenced`](super::Write::Fenced)): so a daemon that was stopped
//! for longer than that and comes back commits nothing of what another one has taken.

use std::fmt::{self, Debug};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use tokio::sync::watch as channel;

use super::StoreError;
use crate::access::{id::GrantId, target::TargetName};

/// Something that one daemon does at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Duty {
    /// To issue a grant's credential, or to bring the grant to its end.
    Grant(GrantId),
    /// To read from a credential path until the lease is recorded, or to look through the leases below it.
    Path(String),
    /// To count what is held of a target until one more grant is recorded.
    Target(TargetName),
    /// Something that recurs.
    Chore(&'static str),
}

/// As the store keeps it.
impl fmt::Display for Duty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Grant(id) => write!(f, "grant {id}"),
            Self::Path(path) => write!(f, "path {path}"),
            Self::Target(name) => write!(f, "target {name}"),
            Self::Chore(name) => write!(f, "chore {name}"),
        }
    }
}

/// A daemon that shares the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id, new with each start.
    pub id: String,
    /// What its operators call it.
    pub name: String,
    /// Its version.
    pub version: String,
    /// When it was started.
    pub started_at: DateTime<Utc>,
    /// When it was heard of last, by the server's clock.
    pub seen_at: DateTime<Utc>,
    /// Whether what it has may be taken by others.
    pub is_gone: bool,
    /// How far its clock is ahead of the server's.
    pub clock_ahead: TimeDelta,
    /// How many duties it has.
    pub duties: u64,
    /// What they are, the oldest first, at most a hundred.
    pub held: Vec<String>,
    /// Whether it is the one that was asked.
    pub is_here: bool,
}

/// How daemons share out what is to be done.
#[async_trait]
pub trait Duties: Debug + Send + Sync {
    /// Takes a duty that nobody has, or that is this daemon's own. False if another daemon has it.
    async fn take(&self, duty: &Duty) -> Result<bool, StoreError>;

    /// Gives a duty back, soon.
    fn give_back(&self, duty: Duty);

    /// Why this daemon takes nothing at present, if it doesn't.
    fn problem(&self) -> Option<String>;

    /// Changes whenever a daemon isn't heard of any more, so that what it had may be taken.
    fn gone(&self) -> channel::Receiver<u64>;

    /// The place of the last event in the log, as far as it is known here that it has grown, whoever wrote it.
    fn grown(&self) -> channel::Receiver<i64>;

    /// The daemons that share the store.
    async fn members(&self) -> Result<Vec<Member>, StoreError>;
}
