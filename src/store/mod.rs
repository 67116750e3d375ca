//! Where requests, grants and the audit log are kept. SQL lives below this module and nowhere else.
//!
//! The one way to write is [`Store::commit`]: it takes what the rules made, each state change with its audit event, and
//! either all of it is durable when the call returns, or none of it happened (I4). A change whose predecessor isn't what
//! the store holds is a conflict, whoever won.

mod duties;
mod filter;
mod grant_row;
mod open;
pub mod postgres;
mod reads;
mod request_row;
mod rows;
mod snapshot;
pub mod sqlite;
mod waiting;

use std::{collections::BTreeMap, fmt::Debug};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use self::{
    duties::{Duties, Duty, Member},
    filter::{GrantFilter, HeldGrant, Overdue, Part, RequestFilter, Slice},
    open::{Migrate, OpenError},
    snapshot::{LogRow, Snapshot},
};
use crate::{
    access::{
        change::Change,
        event::{Event, Recorded},
        freeze::Freeze,
        grant::Grant,
        handle::LeaseId,
        id::{GrantId, RequestId},
        limits::Held,
        policy::Scope,
        request::Request,
        retention::{Erasure, Past, PastFreeze},
        target::TargetName,
        text::IdempotencyKey,
        totals::Totals,
    },
    ledger::{
        leaf::Leaf,
        tree::{Hash, Node},
    },
};

/// One thing to commit.
#[derive(Clone, Copy, Debug)]
pub enum Write<'a> {
    /// A request's change, with its event.
    Request(&'a Change<Request>),
    /// A grant's change, with its event.
    Grant(&'a Change<Grant>),
    /// A freeze's change, with its event.
    Freeze(&'a Change<Freeze>),
    /// Texts that go, with the event that says so.
    Erasure(&'a Erasure),
    /// A fact that changes nothing: an attempt that was refused.
    Fact(&'a Event),
    /// A statement about the log as it is. It isn't an event: it would change what it is about.
    Checkpoint(&'a Checkpoint),
    /// What a witness says of a checkpoint that is kept. It takes the place of what he said of it before.
    Cosignature(&'a Cosignature),
    /// A condition: the rest is done only if this daemon still has the duty.
    Fenced(&'a Duty),
}

/// A signed statement of the log's size and root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many events it is about.
    pub size: u64,
    /// Their tree's root.
    pub root: Hash,
    /// The signed note, without what witnesses signed.
    pub note: String,
    /// When it was signed.
    pub signed_at: DateTime<Utc>,
}

/// A witness's signature of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cosignature {
    /// The checkpoint's size.
    pub size: u64,
    /// The name of the witness's key.
    pub witness: String,
    /// The note's line, without its end.
    pub line: String,
    /// The time that the witness signed.
    pub cosigned_at: DateTime<Utc>,
}

/// Why the store didn't do it. Nothing happened, except perhaps in a commit that took too long: whoever tries again reads
/// first, and then it is seen, or a conflict.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The record isn't what the change started from any more, or it exists already.
    #[error("{operation}: the record was changed by somebody else at the same time")]
    Conflict {
        /// What was tried.
        operation: &'static str,
    },
    /// The commit depends on a duty that another daemon has taken meanwhile.
    #[error("another daemon has taken over {duty}")]
    OffDuty {
        /// The duty.
        duty: String,
    },
    /// The database can't be reached or written.
    #[error("{operation}: the database failed; check its disk and permissions")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// What the database said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row that no version of hallpass writes.
    #[error("{operation}: {what} can't be read: {problem}; restore the database from a backup")]
    Corrupt {
        /// What was tried.
        operation: &'static str,
        /// Which row.
        what: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// What has to be done by the daemon, of each kind at most so many per target that no target can crowd out another.
#[derive(Debug, Default)]
pub struct Due {
    /// Requests whose `lapses_at` has come, the longest due first. Only their ids, so that one that can't be read keeps
    /// nothing else from being done.
    pub lapsing: Vec<RequestId>,
    /// Grants that are held or being made and whose window is over, with their targets.
    pub closing: Vec<(GrantId, TargetName)>,
    /// Grants that are ending, with their targets, the longest-ending first.
    pub revoking: Vec<(GrantId, TargetName)>,
    /// Whether some target has more of these than it may have in one answer.
    pub is_cut: bool,
}

/// The log as a tree, and what was said of it. Every read sees all that was committed before it began.
#[async_trait]
pub trait Ledger: Debug + Send + Sync {
    /// Leaves of the log's tree after a place in the log, in order, with the texts that are kept, at most `limit`.
    async fn leaves(&self, sequence: i64, limit: u32) -> Result<Vec<Leaf>, StoreError>;

    /// The hashes of complete subtrees of the log, in the order in which they are asked for.
    async fn nodes(&self, nodes: &[Node]) -> Result<Vec<Hash>, StoreError>;

    /// The last checkpoint.
    async fn last_checkpoint(&self) -> Result<Option<Checkpoint>, StoreError>;

    /// The first checkpoint that is about this many events or more.
    async fn checkpoint_of(&self, size: u64) -> Result<Option<Checkpoint>, StoreError>;

    /// What witnesses said of the checkpoint of this size, in the order of their names.
    async fn cosignatures(&self, size: u64) -> Result<Vec<Cosignature>, StoreError>;

    /// The latest time at which a witness signed any checkpoint.
    async fn last_cosigned_at(&self) -> Result<Option<DateTime<Utc>>, StoreError>;
}

/// What is over for so long that its texts may go, and that nothing is left of them.
#[async_trait]
pub trait Retention: Debug + Send + Sync {
    /// Exceptions that have their texts and were over before `until`, the oldest first, at most `limit`. Whether they
    /// really were, the rule decides ([`Erasure::of`]).
    async fn past(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<Past>, StoreError>;

    /// Freezes that have their texts and were thawed before `until`, the oldest thaw first, at most `limit`.
    async fn past_freezes(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<PastFreeze>, StoreError>;

    /// Removes what erased texts left behind in the store's files. False if somebody reads, so that it must be tried again.
    async fn scrub(&self) -> Result<bool, StoreError>;
}

/// Keeps requests, grants and the audit log. Every read sees all that was committed before it began.
#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// Commits all of it in one transaction, durably, and answers with the events in their places in the log.
    async fn commit(&self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError>;

    /// One request.
    async fn request(&self, id: RequestId) -> Result<Option<Request>, StoreError>;

    /// The request that this person submitted with this key.
    async fn request_by_key(
        &self,
        requester_subject: &str,
        key: &IdempotencyKey,
    ) -> Result<Option<Request>, StoreError>;

    /// Requests in the scope that match, the newest first unless the filter says otherwise. Looks through a bounded part
    /// of the list.
    async fn requests(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        slice: Slice<RequestId>,
    ) -> Result<Part<Request>, StoreError>;

    /// All requests in the scope that match, counted, at one moment; what isn't over counts until `now`.
    async fn totals(
        &self,
        scope: &Scope,
        filter: &RequestFilter,
        now: DateTime<Utc>,
    ) -> Result<Totals, StoreError>;

    /// One grant.
    async fn grant(&self, id: GrantId) -> Result<Option<Grant>, StoreError>;

    /// Grants in the scope that match, the newest first.
    async fn grants(
        &self,
        scope: &Scope,
        filter: &GrantFilter,
        slice: Slice<GrantId>,
    ) -> Result<Vec<Grant>, StoreError>;

    /// The grants of each of these requests, the latest first; requests without any are left out.
    async fn grants_of(&self, requests: &[RequestId]) -> Result<BTreeMap<RequestId, Vec<Grant>>, StoreError>;

    /// Everything that is recorded of one request and its grants, in order.
    async fn timeline(&self, request: RequestId) -> Result<Vec<Recorded>, StoreError>;

    /// Events of requests in the scope (of one request, if given) after a place in the log, in order, at most `limit`.
    async fn events_after(
        &self,
        scope: &Scope,
        request: Option<RequestId>,
        sequence: i64,
        limit: u32,
    ) -> Result<Vec<Recorded>, StoreError>;

    /// How daemons that share this store share out what is to be done; none if one daemon has it for itself.
    fn duties(&self) -> Option<&dyn Duties> {
        None
    }

    /// What its texts may be erased of.
    fn retention(&self) -> &dyn Retention;

    /// The log as a tree.
    fn ledger(&self) -> &dyn Ledger;

    /// The place of the last event in the log; 0 if there is none.
    async fn last_sequence(&self) -> Result<i64, StoreError>;

    /// What is due at `now`.
    async fn due(&self, now: DateTime<Utc>) -> Result<Due, StoreError>;

    /// When the next request lapses or the next window closes, later than `now`.
    async fn next_deadline(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError>;

    /// One grant, for the daemon, which has to end it: like [`Self::grant`], but people's reads can't delay it.
    async fn grant_to_end(&self, id: GrantId) -> Result<Option<Grant>, StoreError>;

    /// The grants that are held or being made and whose window closes at `until` or before, the earliest first (by the
    /// window's end and the id), at most `limit`.
    async fn closing(&self, until: DateTime<Utc>, limit: u32) -> Result<Vec<Grant>, StoreError>;

    /// The grants that are held or being made, those that have to end one day, in the order of their ids: what comes
    /// after `after`, at most `limit`.
    async fn open_grants(&self, after: Option<GrantId>, limit: u32) -> Result<Vec<Grant>, StoreError>;

    /// The grants that are ending, the longest-ending first (by the beginning of the ending and the id): what comes after
    /// that place, at most `limit`.
    async fn endings(
        &self,
        after: Option<(DateTime<Utc>, GrantId)>,
        limit: u32,
    ) -> Result<Vec<Grant>, StoreError>;

    /// The leases that are recorded for grants which aren't over, below a credential path.
    async fn known_leases(&self, credential_path: &str) -> Result<Vec<LeaseId>, StoreError>;

    /// What there is of a target's grants but for those of one request, in all and by the holder of that subject.
    async fn held(
        &self,
        target: &TargetName,
        holder_subject: &str,
        but_of: RequestId,
    ) -> Result<Held, StoreError>;

    /// The freezes that stand, in the order of what they cover: the one of everything first. No more than one for each
    /// target that was ever configured.
    async fn freezes(&self) -> Result<Vec<Freeze>, StoreError>;

    /// The secret that handles are digested with in events. Made once, with the database.
    async fn digest_key(&self) -> Result<[u8; 32], StoreError>;
}
