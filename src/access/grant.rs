//! The record that access is allowed and held, from intent to confirmed end.
//!
//! ```text
//! ISSUING --activate--> ACTIVE --begin--> REVOKING --confirm--> REVOKED
//!    '------begin-----------------------> REVOKING --confirm--> FAILED     REVOKING --retry--> REVOKING
//! ```
//!
//! A grant that never was active ends as FAILED: nothing was delivered. The path is the same, since what may exist has to
//! be ended alike.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    actor::{Actor, Person},
    approval::Approval,
    change::Change,
    event::{About, Event, Fact, HandleDigest},
    handle::{Accessor, LeaseId},
    id::{GrantId, RequestId},
    refusal::Refusal,
    request::Request,
    revocation::{Cause, Confirmation, Step},
    target::TargetName,
    text::Prose,
    window::Window,
};

/// The right to open one grant: made only by a request whose approvals hold, and used up by opening.
#[derive(Debug)]
pub struct Warrant {
    request: RequestId,
    target: TargetName,
    credential_path: String,
    holder: Person,
    approvals: Vec<Approval>,
    window: Window,
    reissue: bool,
}

impl Warrant {
    pub(super) fn mint(request: &Request, approvals: Vec<Approval>, window: Window, reissue: bool) -> Self {
        Self {
            request: request.id,
            target: request.ask.target.clone(),
            credential_path: request.ask.credential_path.clone(),
            holder: request.ask.requester.clone(),
            approvals,
            window,
            reissue,
        }
    }
}

/// A grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Its id.
    pub id: GrantId,
    /// The request that was claimed.
    pub request: RequestId,
    /// The target.
    pub target: TargetName,
    /// Where the credential comes from.
    pub credential_path: String,
    /// Who holds it.
    pub holder: Person,
    /// When access is allowed.
    pub window: Window,
    /// When it was opened: the window's beginning, or later if it was issued again.
    pub opened_at: DateTime<Utc>,
    /// Where it stands.
    pub state: State,
    /// Counts the changes, so that of two made at once only one can be stored.
    pub revision: i64,
}

/// What Vault has made for a grant, as far as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Issued {
    /// No token is recorded, so none has read anything.
    Nothing,
    /// A token, which may have read the credential: a lease may exist.
    Token(Accessor),
    /// A token and the lease that it made.
    Lease(Leased),
}

/// A recorded lease with what belongs to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// The grant token's accessor.
    pub token: Accessor,
    /// The wrapping token's accessor.
    pub wrapping: Accessor,
    /// The lease.
    pub lease: LeaseId,
}

/// Where a grant stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// The credential is being made.
    Issuing {
        /// What exists so far.
        issued: Issued,
    },
    /// The credential is held.
    Active {
        /// What exists.
        leased: Leased,
        /// Since when.
        activated_at: DateTime<Utc>,
    },
    /// The grant is ending.
    Revoking(Ending),
    /// Vault confirmed the end.
    Revoked {
        /// Why it ended.
        cause: Cause,
        /// Since when the credential was held.
        activated_at: DateTime<Utc>,
        /// When the ending began.
        begun_at: DateTime<Utc>,
        /// When Vault confirmed it.
        revoked_at: DateTime<Utc>,
    },
    /// Nothing was delivered, and nothing is left.
    Failed {
        /// Why it ended.
        cause: Cause,
        /// When the ending began.
        begun_at: DateTime<Utc>,
        /// When it was certain that nothing is left.
        failed_at: DateTime<Utc>,
    },
}

/// A grant that is ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Why.
    pub cause: Cause,
    /// What has to be ended.
    pub issued: Issued,
    /// Since when the credential was held; `None` if it never was.
    pub activated_at: Option<DateTime<Utc>>,
    /// Since when it is ending.
    pub begun_at: DateTime<Utc>,
    /// The step that has to succeed next, as of the last try.
    pub step: Step,
    /// What the last try ran into.
    pub error: Option<String>,
    /// How many alarms were raised because it takes too long.
    pub alarms: u32,
}

/// The longest pause between two alarms about one ending.
const ALARM_PAUSE_MAX: TimeDelta = TimeDelta::days(1);

impl Ending {
    /// When the next alarm is due: `longer_than` after the beginning, then after as long again, twice as long, four
    /// times, until the pause is a day.
    #[must_use]
    pub fn alarm_at(&self, longer_than: TimeDelta) -> DateTime<Utc> {
        let pause_max = longer_than.max(ALARM_PAUSE_MAX);
        let (mut at, mut pause) = (self.begun_at + longer_than, longer_than);
        for _ in 0..self.alarms {
            at += pause;
            pause = (pause * 2).min(pause_max);
        }
        at
    }
}

impl State {
    /// The state's name in SQL, messages and events.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Issuing { .. } => "ISSUING",
            Self::Active { .. } => "ACTIVE",
            Self::Revoking(_) => "REVOKING",
            Self::Revoked { .. } => "REVOKED",
            Self::Failed { .. } => "FAILED",
        }
    }
}

impl Issued {
    /// The first step of ending it.
    const fn first_step(&self) -> Step {
        match self {
            Self::Nothing => Step::Confirmation,
            Self::Token(_) => Step::Token,
            Self::Lease(_) => Step::Wrapping,
        }
    }
}

/// Whether two failures read the same but for their numbers: ports and times differ from try to try, and would fill the
/// audit log of a grant that can't be ended.
fn alike(one: &str, other: &str) -> bool {
    let without_numbers = |text: &str| text.replace(|c: char| c.is_ascii_digit(), "");
    without_numbers(one) == without_numbers(other)
}

/// A step out of order: the grant has moved on since it was read, so nothing may be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a grant that is {state} can't be {action}")]
pub struct OutOfOrder {
    /// Where the grant stands.
    pub state: &'static str,
    /// What was tried, as a participle.
    pub action: &'static str,
}

impl Grant {
    /// Records the intent, which comes before anything is asked of Vault (I1).
    pub fn open(id: GrantId, warrant: Warrant, now: DateTime<Utc>) -> Change<Self> {
        let Warrant { request, target, credential_path, holder, approvals, window, reissue } = warrant;
        debug_assert!(!approvals.is_empty(), "a warrant rests on approvals");
        let actor = Actor::Person(holder.clone());
        let fact = Fact::GrantOpened { opens_at: window.opens_at(), closes_at: window.closes_at(), reissue };
        let state = State::Issuing { issued: Issued::Nothing };
        let grant =
            Self { id, request, target, credential_path, holder, window, opened_at: now, state, revision: 1 };
        let event = grant.event(now, actor, fact);
        Change::first(grant, event)
    }

    /// Records the token that Vault made, before it is used.
    ///
    /// # Errors
    ///
    /// If the grant isn't at this point.
    pub fn minted(
        self,
        token: Accessor,
        accessor_digest: HandleDigest,
        now: DateTime<Utc>,
    ) -> Result<Change<Self>, OutOfOrder> {
        match self.state {
            State::Issuing { issued: Issued::Nothing } => {
                let state = State::Issuing { issued: Issued::Token(token) };
                Ok(self.moved(state, now, Actor::Daemon, Fact::GrantTokenMinted { accessor_digest }))
            }
            _ => Err(self.out_of_order("given a token")),
        }
    }

    /// Records the lease that was found, before the credential can reach anybody.
    ///
    /// # Errors
    ///
    /// If the grant isn't at this point.
    pub fn leased(
        self,
        lease: LeaseId,
        wrapping: Accessor,
        (lease_digest, wrapping_digest): (HandleDigest, HandleDigest),
        now: DateTime<Utc>,
    ) -> Result<Change<Self>, OutOfOrder> {
        match &self.state {
            State::Issuing { issued: Issued::Token(token) } => {
                let leased = Leased { token: token.clone(), wrapping, lease };
                let fact = Fact::GrantLeaseRecorded { lease_digest, wrapping_digest };
                let state = State::Issuing { issued: Issued::Lease(leased) };
                Ok(self.moved(state, now, Actor::Daemon, fact))
            }
            _ => Err(self.out_of_order("given a lease")),
        }
    }

    /// Records that all clocks agree, after which the holder gets the wrapping token.
    ///
    /// # Errors
    ///
    /// If the grant isn't at this point, or its window is over.
    pub fn activate(self, now: DateTime<Utc>) -> Result<Change<Self>, OutOfOrder> {
        match &self.state {
            State::Issuing { issued: Issued::Lease(leased) } if !self.window.is_closed(now) => {
                let state = State::Active { leased: leased.clone(), activated_at: now };
                Ok(self.moved(state, now, Actor::Daemon, Fact::GrantActivated {}))
            }
            _ => Err(self.out_of_order("activated")),
        }
    }

    /// Begins to end it; `None` if it is ending or over already, which is no error: ending twice is ending.
    #[must_use]
    pub fn begin(
        self,
        cause: Cause,
        actor: Actor,
        reason: Option<&Prose>,
        now: DateTime<Utc>,
    ) -> Option<Change<Self>> {
        let (issued, activated_at) = match &self.state {
            State::Issuing { issued } => (issued.clone(), None),
            State::Active { leased, activated_at } => (Issued::Lease(leased.clone()), Some(*activated_at)),
            State::Revoking(_) | State::Revoked { .. } | State::Failed { .. } => return None,
        };
        let step = issued.first_step();
        let ending = Ending { cause, issued, activated_at, begun_at: now, step, error: None, alarms: 0 };
        let fact = Fact::RevocationBegun { cause, reason: reason.map(ToString::to_string) };
        Some(self.moved(State::Revoking(ending), now, actor, fact))
    }

    /// Records how far a try to end it got; `None` if that is where the try before got, or if it isn't ending.
    #[must_use]
    pub fn retry(self, step: Step, error: &str, now: DateTime<Utc>) -> Option<Change<Self>> {
        // Whatever the other side says gets on record: no database must refuse it for a NUL.
        let error = error.replace('\0', "\u{fffd}");
        let State::Revoking(ending) = &self.state else { return None };
        if ending.step == step && ending.error.as_ref().is_some_and(|before| alike(before, &error)) {
            return None;
        }
        let fact = Fact::RevocationRetried { step, error: error.clone() };
        let state = State::Revoking(Ending { step, error: Some(error), ..ending.clone() });
        Some(self.moved(state, now, Actor::Daemon, fact))
    }

    /// Raises an alarm about an ending that takes longer than this; `None` if none is due, or if it isn't ending.
    #[must_use]
    pub fn alarm(self, longer_than: TimeDelta, now: DateTime<Utc>) -> Option<Change<Self>> {
        let State::Revoking(ending) = &self.state else { return None };
        if now < ending.alarm_at(longer_than) {
            return None;
        }
        let (alarms, error) = (ending.alarms.saturating_add(1), ending.error.clone());
        let fact = Fact::RevocationOverdue { begun_at: ending.begun_at, step: ending.step, error, alarms };
        let state = State::Revoking(Ending { alarms, ..ending.clone() });
        Some(self.moved(state, now, Actor::Daemon, fact))
    }

    /// Records that it is over, and forgets the handles, which are worth nothing any more.
    ///
    /// # Errors
    ///
    /// If it isn't ending, or if the confirmation isn't the one that what was issued demands (I3).
    pub fn confirm(
        self,
        confirmation: Confirmation,
        lease_digest: Option<HandleDigest>,
        now: DateTime<Utc>,
    ) -> Result<Change<Self>, OutOfOrder> {
        let State::Revoking(Ending { cause, issued, activated_at, begun_at, .. }) = &self.state else {
            return Err(self.out_of_order("confirmed as over"));
        };
        let (cause, begun_at) = (*cause, *begun_at);
        let fits = match issued {
            Issued::Lease(_) => confirmation == Confirmation::LeaseGone,
            Issued::Token(_) => confirmation == Confirmation::NoLeaseLeft,
            Issued::Nothing => confirmation == Confirmation::NothingIssued,
        };
        if !fits {
            return Err(self.out_of_order("confirmed as over without the proof that it needs"));
        }
        let (state, fact) = match (*activated_at, lease_digest) {
            (Some(activated_at), Some(lease_digest)) => (
                State::Revoked { cause, activated_at, begun_at, revoked_at: now },
                Fact::GrantRevoked { cause, confirmation: confirmation.name(), lease_digest },
            ),
            (Some(_), None) => return Err(self.out_of_order("confirmed as over without naming its lease")),
            (None, _) => (
                State::Failed { cause, begun_at, failed_at: now },
                Fact::GrantFailed { cause, confirmation: confirmation.name() },
            ),
        };
        Ok(self.moved(state, now, Actor::Daemon, fact))
    }

    /// Whether the holder may have it issued again.
    ///
    /// # Errors
    ///
    /// If it is held or being made and the holder didn't ask for `reissue`, or if it ended for good: what was released
    /// or taken away isn't given back.
    pub(super) fn may_be_replaced(&self, reissue: bool) -> Result<(), Refusal> {
        match &self.state {
            State::Issuing { .. } | State::Active { .. } if !reissue => {
                Err(Refusal::GrantHeld { grant: self.id })
            }
            State::Issuing { .. } | State::Active { .. } => Ok(()),
            State::Revoking(Ending { cause, .. })
            | State::Failed { cause, .. }
            | State::Revoked { cause, .. } => match cause {
                Cause::IssueFailed | Cause::Reissued => Ok(()),
                Cause::WindowClosed => Err(Refusal::WindowClosed),
                _ => Err(Refusal::GrantEnded),
            },
        }
    }

    fn moved(self, state: State, at: DateTime<Utc>, actor: Actor, fact: Fact) -> Change<Self> {
        let from = self.state.name();
        let after = Self { state, revision: self.revision + 1, ..self };
        let event = after.event(at, actor, fact);
        Change::next(from, after, event)
    }

    const fn out_of_order(&self, action: &'static str) -> OutOfOrder {
        OutOfOrder { state: self.state.name(), action }
    }

    fn event(&self, at: DateTime<Utc>, actor: Actor, fact: Fact) -> Event {
        let about =
            About { request: Some(self.request), grant: Some(self.id), target: Some(self.target.clone()) };
        Event { at, actor, about, fact }
    }
}
