//! A person's written ask for one target, and what may become of it.
//!
//! ```text
//! PENDING --approve (n of n)--> APPROVED --claim--> CLAIMED
//!    |--deny-----> DENIED          |--withdraw-> WITHDRAWN
//!    |--withdraw-> WITHDRAWN       '--lapse----> LAPSED
//!    '--lapse----> LAPSED
//! ```
//!
//! Who may do it was asked of the policy before; whether it can be done now is decided here. A deadline that has passed
//! counts at once, whether or not anybody has recorded the lapse yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use chrono::{DateTime, Utc};

use super::{
    actor::{Actor, Person},
    approval::{Approval, Decision, Denial, Digest},
    change::Change,
    event::{About, Event, Fact},
    grant::{Grant, Warrant},
    id::RequestId,
    kept::{Erased, Reason},
    refusal::Refusal,
    signing::{Signed, Signing},
    target::{Target, TargetName},
    terms::Terms,
    text::{IdempotencyKey, Ticket},
    window::Window,
};

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its id.
    pub id: RequestId,
    /// What is asked; never changes.
    pub ask: Ask,
    /// The approvals so far, of distinct people, in the order they came.
    pub approvals: Vec<Approval>,
    /// Where it stands.
    pub state: State,
    /// Counts the changes, so that of two made at once only one can be stored.
    pub revision: i64,
}

/// What a requester asks. It never changes, and its digest is what decisions are bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The target.
    pub target: TargetName,
    /// Where the credential will come from: the target's path when the request was submitted.
    pub credential_path: String,
    /// Who asks.
    pub requester: Person,
    /// The groups that made him a requester: who he was then, and not a part of what is asked, so not of its digest.
    pub groups: BTreeSet<String>,
    /// How long the window shall be, in whole seconds.
    pub duration: Duration,
    /// When the window may open first.
    pub not_before: Option<DateTime<Utc>>,
    /// Why, until that is erased.
    pub reason: Reason,
    /// The ticket that it belongs to.
    pub ticket: Option<Ticket>,
    /// How many distinct people have to approve.
    pub approvals_required: u32,
    /// When it was submitted.
    pub submitted_at: DateTime<Utc>,
    /// The client's name for the submission.
    pub key: Option<IdempotencyKey>,
}

/// Where a request stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Waits for decisions until `lapses_at`.
    Pending {
        /// When it lapses unless it is decided before.
        lapses_at: DateTime<Utc>,
    },
    /// Waits to be claimed until `lapses_at`.
    Approved {
        /// When the last approval came.
        approved_at: DateTime<Utc>,
        /// When it lapses unless it is claimed before.
        lapses_at: DateTime<Utc>,
    },
    /// Somebody denied it.
    Denied {
        /// Who, and why.
        denial: Denial,
    },
    /// Its requester took it back.
    Withdrawn {
        /// When.
        withdrawn_at: DateTime<Utc>,
    },
    /// Its time was over.
    Lapsed {
        /// When that was recorded.
        lapsed_at: DateTime<Utc>,
    },
    /// Its requester claimed it.
    Claimed {
        /// When.
        claimed_at: DateTime<Utc>,
    },
}

impl State {
    /// The state's name in SQL, messages and events.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending { .. } => "PENDING",
            Self::Approved { .. } => "APPROVED",
            Self::Denied { .. } => "DENIED",
            Self::Withdrawn { .. } => "WITHDRAWN",
            Self::Lapsed { .. } => "LAPSED",
            Self::Claimed { .. } => "CLAIMED",
        }
    }

    /// When it lapses, if it can.
    #[must_use]
    pub const fn lapses_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Pending { lapses_at } | Self::Approved { lapses_at, .. } => Some(*lapses_at),
            _ => None,
        }
    }
}

/// All of an ask that decisions are bound to, as it stands in a log.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The request's id.
    pub id: &'a str,
    /// The target's name.
    pub target: &'a str,
    /// Where in Vault the credential is to be read.
    pub credential_path: &'a str,
    /// The requester's subject and name.
    pub requester: (&'a str, &'a str),
    /// How long the window is to be.
    pub duration_seconds: u64,
    /// Why.
    pub reason: &'a str,
    /// The ticket; empty if there is none.
    pub ticket: &'a str,
    /// How many have to approve.
    pub approvals_required: u32,
    /// When it was submitted, in milliseconds since 1970.
    pub submitted_at: i64,
    /// When the window is to open at the earliest, in milliseconds since 1970.
    pub not_before: Option<i64>,
}

impl Asked<'_> {
    /// What decisions are bound to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let (duration, approvals) =
            (self.duration_seconds.to_be_bytes(), self.approvals_required.to_be_bytes());
        let submitted_at = self.submitted_at.to_be_bytes();
        let not_before = self.not_before.map(i64::to_be_bytes);
        let parts: [&[u8]; 11] = [
            self.id.as_bytes(),
            self.target.as_bytes(),
            self.credential_path.as_bytes(),
            self.requester.0.as_bytes(),
            self.requester.1.as_bytes(),
            &duration,
            self.reason.as_bytes(),
            self.ticket.as_bytes(),
            &approvals,
            &submitted_at,
            not_before.as_ref().map_or(&[], <[u8; 8]>::as_slice),
        ];
        // The last part is there only if it is asked: one part more can't be taken for any other list.
        Digest::over("hallpass/request/v1", if not_before.is_some() { &parts } else { &parts[..10] })
    }
}

impl Ask {
    /// What decisions are bound to. Computed anew from what is asked, except that without the reason, which is erased
    /// only when nothing can be decided or claimed any more, it is the one on record.
    #[must_use]
    pub fn digest(&self, id: RequestId) -> Digest {
        let reason = match &self.reason {
            Reason::Kept(reason) => reason.as_str(),
            Reason::Erased { request, .. } => return *request,
        };
        let asked = Asked {
            id: &id.to_string(),
            target: self.target.as_str(),
            credential_path: &self.credential_path,
            requester: (&self.requester.subject, &self.requester.name),
            duration_seconds: self.duration.as_secs(),
            reason,
            ticket: self.ticket.as_ref().map_or("", Ticket::as_str),
            approvals_required: self.approvals_required,
            submitted_at: self.submitted_at.timestamp_millis(),
            not_before: self.not_before.map(|at| at.timestamp_millis()),
        };
        asked.digest()
    }

    /// Whether a second submission asks the same; when it came, and which groups its requester had then, doesn't count.
    #[must_use]
    pub fn asks_same_as(&self, other: &Self) -> bool {
        let alike = Self {
            submitted_at: self.submitted_at,
            requester: self.requester.clone(),
            groups: self.groups.clone(),
            reason: self.reason.clone(),
            ..other.clone()
        };
        *self == alike && self.reason.is(&other.reason)
    }
}

impl Request {
    /// Submits an ask, which lapses unless it is decided within the target's bound.
    pub fn submit(id: RequestId, ask: Ask, decide_within: Duration) -> Change<Self> {
        let at = ask.submitted_at;
        let fact = Fact::RequestSubmitted {
            duration_seconds: ask.duration.as_secs(),
            not_before: ask.not_before,
            reason: ask.reason.kept().map(ToString::to_string).unwrap_or_default(),
            ticket: ask.ticket.as_ref().map(|ticket| ticket.as_str().to_owned()),
            groups: ask.groups.iter().cloned().collect(),
            approvals_required: ask.approvals_required,
            credential_path: ask.credential_path.clone(),
            digest: ask.digest(id).to_string(),
        };
        let actor = Actor::Person(ask.requester.clone());
        let state = State::Pending { lapses_at: at + decide_within };
        let request = Self { id, ask, approvals: Vec::new(), state, revision: 1 };
        let event = request.event(at, actor, fact);
        Change::first(request, event)
    }

    /// What decisions are bound to; see [`Ask::digest`].
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.ask.digest(self.id)
    }

    /// Records another person's yes; the last one that is needed makes the request APPROVED. `None` if the same person
    /// approved before: that changes nothing, and no time moves.
    ///
    /// # Errors
    ///
    /// If the request isn't waiting for decisions, isn't the one that was read, or is the approver's own, if the target
    /// isn't what it was, or if the decision isn't signed as the target demands, or what was signed is another one.
    pub fn approve(
        self,
        decision: Decision,
        target: Option<&Target>,
    ) -> Result<Option<Change<Self>>, Refusal> {
        self.approved(decision, target, Signing::check)
    }

    /// What [`Self::approve`] would make of it once it is signed, or why it would be refused: for an approver who wants to
    /// know before he signs. It isn't a change, so that it can't be stored.
    ///
    /// # Errors
    ///
    /// Like [`Self::approve`], but that a signature is missing.
    pub fn approve_unsigned(
        self,
        decision: Decision,
        target: Option<&Target>,
    ) -> Result<Option<Self>, Refusal> {
        let approved = self.approved(decision, target, |_, _, _, _| Ok(()))?;
        Ok(approved.map(Change::into_after))
    }

    fn approved(
        self,
        decision: Decision,
        target: Option<&Target>,
        check: impl Fn(Signing, &Decision, RequestId, &Ask) -> Result<(), Refusal>,
    ) -> Result<Option<Change<Self>>, Refusal> {
        let again = self.approvals.iter().any(|given| given.decision().approver.is(&decision.approver));
        let waits = self.must_wait(decision.decided_at, "approved").is_ok();
        if again && waits && decision.digest == self.digest() {
            return Ok(None);
        }
        let target = self.decidable(&decision, target, "approved")?;
        check(target.writing.signing, &decision, self.id, &self.ask)?;
        // Before somebody approves what could never be claimed.
        self.signed_as_demanded(target)?;
        let (now, actor) = (decision.decided_at, Actor::Person(decision.approver.clone()));
        let fact = decision.approved(self.approvals.len() + 1, self.ask.approvals_required);
        let mut after = self;
        after.approvals.push(Approval::mint(decision));
        let state = after.after_approval(now, target);
        Ok(Some(after.moved(state, now, actor, fact)))
    }

    /// Where it stands after one more approval: it goes on waiting, but never longer than the terms allow it to be of use.
    fn after_approval(&self, now: DateTime<Utc>, target: &Target) -> State {
        let terms = self.terms();
        let in_time = |at: DateTime<Utc>| terms.not_after.map_or(at, |end| end.min(at));
        // As the claim will count them: the target may demand more by now than when the request was submitted.
        let required = self.ask.approvals_required.max(target.approvals_required.get());
        let enough = self.approvals.len() >= required as usize;
        match self.state {
            State::Pending { lapses_at } if !enough || !self.missing(target).is_empty() => {
                State::Pending { lapses_at: in_time(lapses_at) }
            }
            _ => {
                let claimable_at = terms.not_before.map_or(now, |start| start.max(now));
                State::Approved { approved_at: now, lapses_at: in_time(claimable_at + target.claim_within) }
            }
        }
    }

    /// What was asked and all approvals together restrict.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let asked = Terms { not_before: self.ask.not_before, ..Terms::default() };
        self.approvals.iter().map(|approval| approval.decision().terms).fold(asked, Terms::and)
    }

    /// How long the window will be: as long as was asked, or as the approvals allow.
    #[must_use]
    pub fn duration(&self) -> Duration {
        self.terms().duration.unwrap_or(self.ask.duration)
    }

    /// How many approvals are missing of which groups.
    #[must_use]
    pub fn missing<'t>(&self, target: &'t Target) -> BTreeMap<&'t str, u32> {
        let people: Vec<_> = self.approvals.iter().map(|approval| &approval.decision().groups).collect();
        target.quorum.missing(&people)
    }

    /// Records another person's no.
    ///
    /// # Errors
    ///
    /// Like [`Self::approve`].
    pub fn deny(self, decision: Decision, target: Option<&Target>) -> Result<Change<Self>, Refusal> {
        self.decidable(&decision, target, "denied")?;
        let (now, actor) = (decision.decided_at, Actor::Person(decision.approver.clone()));
        let fact = Fact::RequestDenied {
            statement: decision.statement.words(),
            digest: decision.digest.to_string(),
        };
        Ok(self.moved(State::Denied { denial: Denial::mint(decision) }, now, actor, fact))
    }

    /// Takes it back.
    ///
    /// # Errors
    ///
    /// If it is decided against, claimed, or over.
    pub fn withdraw(self, by: Person, now: DateTime<Utc>) -> Result<Change<Self>, Refusal> {
        self.must_wait(now, "withdrawn")?;
        let state = State::Withdrawn { withdrawn_at: now };
        Ok(self.moved(state, now, Actor::Person(by), Fact::RequestWithdrawn {}))
    }

    /// Records that its time is over; `None` while it isn't.
    #[must_use]
    pub fn lapse(self, now: DateTime<Utc>) -> Option<Change<Self>> {
        let lapsed = self.state.lapses_at().is_some_and(|lapses_at| now >= lapses_at);
        let fact = Fact::RequestLapsed { while_in: self.state.name() };
        lapsed.then(|| self.moved(State::Lapsed { lapsed_at: now }, now, Actor::Daemon, fact))
    }

    /// Claims it: the window opens now. With the change comes the warrant that opening a grant demands.
    ///
    /// # Errors
    ///
    /// If it isn't approved by enough people, as it stands, for the target as it is.
    pub fn claim(
        self,
        now: DateTime<Utc>,
        target: Option<&Target>,
    ) -> Result<(Change<Self>, Warrant), Refusal> {
        self.must_wait(now, "claimed")?;
        if !matches!(self.state, State::Approved { .. }) {
            return Err(self.wrong_state("claimed"));
        }
        let window = Window::open(now, self.duration());
        let warrant = self.warrant(window, false, target)?;
        self.must_be_time(window, target)?;
        let actor = Actor::Person(self.ask.requester.clone());
        Ok((self.moved(State::Claimed { claimed_at: now }, now, actor, Fact::RequestClaimed {}), warrant))
    }

    /// Claims it again, inside the window of the grant before. What that grant issued has to be ended as well.
    ///
    /// # Errors
    ///
    /// If it wasn't claimed, the grant is held and `reissue` isn't asked for, the grant ended otherwise than by failing,
    /// or the window is over.
    pub fn claim_again(
        &self,
        now: DateTime<Utc>,
        target: Option<&Target>,
        before: &Grant,
        reissue: bool,
    ) -> Result<Warrant, Refusal> {
        // Its window is long over, whatever the clock says now.
        let is_erased = self.ask.reason.erased().is_some();
        if !matches!(self.state, State::Claimed { .. }) || before.request != self.id || is_erased {
            return Err(self.wrong_state("claimed again"));
        }
        before.may_be_replaced(reissue)?;
        if before.window.is_closed(now) {
            return Err(Refusal::WindowClosed);
        }
        self.warrant(before.window, true, target)
    }

    /// Whether the window may open now: by what the approvers said, and by the target's hours.
    fn must_be_time(&self, window: Window, target: Option<&Target>) -> Result<(), Refusal> {
        let now = window.opens_at();
        if let Some(not_before) = self.terms().not_before.filter(|start| now < *start) {
            return Err(Refusal::TooEarly { not_before });
        }
        match target.and_then(|target| target.hours.as_ref()) {
            Some(hours) if !hours.contain(window) => {
                let lapses_at = self.state.lapses_at().unwrap_or(now);
                let fits_at = hours.first_fit(now, lapses_at, self.duration());
                Err(Refusal::OutsideHours { hours: hours.to_string(), fits_at })
            }
            _ => Ok(()),
        }
    }

    fn warrant(&self, window: Window, reissue: bool, target: Option<&Target>) -> Result<Warrant, Refusal> {
        let target = self.unchanged(target)?;
        self.signed_as_demanded(target)?;
        let digest = self.digest();
        let mut people: Vec<&Person> = Vec::new();
        for decision in self.approvals.iter().map(Approval::decision) {
            let known = people.iter().any(|person| person.is(&decision.approver));
            if decision.digest == digest && !decision.approver.is(&self.ask.requester) && !known {
                people.push(&decision.approver);
            }
        }
        // The target may demand more by now than when the request was submitted; the stricter number counts.
        if people.len() < self.ask.approvals_required.max(target.approvals_required.get()) as usize {
            return Err(Refusal::ApprovalInvalid);
        }
        Ok(Warrant::mint(self, self.approvals.clone(), window, reissue))
    }

    /// Whether every approval is signed as the target demands by now, and none has a signature of something else.
    fn signed_as_demanded(&self, target: &Target) -> Result<(), Refusal> {
        let fits = |decision: &Decision| {
            let of_this = |signed: &Signed| signed.is_of(decision, self.id, &self.ask);
            target.writing.signing.is_met_by(decision) && decision.signed.as_deref().is_none_or(of_this)
        };
        let all = self.approvals.iter().map(Approval::decision).all(fits);
        if all { Ok(()) } else { Err(Refusal::ApprovalInvalid) }
    }

    /// Whether nothing can be decided or claimed any more; whether its grants are over is another matter.
    #[must_use]
    pub const fn is_settled(&self) -> bool {
        match self.state {
            State::Pending { .. } | State::Approved { .. } => false,
            State::Denied { .. } | State::Withdrawn { .. } | State::Lapsed { .. } | State::Claimed { .. } => {
                true
            }
        }
    }

    /// Without its texts: what was asked and decided stays, each text by its digest.
    pub(super) fn erased(&self, now: DateTime<Utc>) -> Self {
        let Reason::Kept(reason) = &self.ask.reason else { return self.clone() };
        let text = Erased { digest: Digest::of_text(reason.as_str()), erased_at: now };
        let reason = Reason::Erased { text, request: self.digest() };
        let state = match &self.state {
            State::Denied { denial } => State::Denied { denial: denial.erased(now) },
            state => state.clone(),
        };
        Self {
            ask: Ask { reason, ..self.ask.clone() },
            approvals: self.approvals.iter().map(|given| given.erased(now)).collect(),
            state,
            revision: self.revision + 1,
            ..self.clone()
        }
    }

    fn decidable<'t>(
        &self,
        decision: &Decision,
        target: Option<&'t Target>,
        action: &'static str,
    ) -> Result<&'t Target, Refusal> {
        self.must_wait(decision.decided_at, action)?;
        if !matches!(self.state, State::Pending { .. }) {
            return Err(self.wrong_state(action));
        }
        if decision.approver.is(&self.ask.requester) {
            return Err(Refusal::SelfApproval);
        }
        let current = self.digest();
        if decision.digest != current {
            return Err(Refusal::DigestStale { current });
        }
        self.unchanged(target)
    }

    /// Whether the target still is what the request was submitted for, and still allows windows of this length.
    fn unchanged<'t>(&self, target: Option<&'t Target>) -> Result<&'t Target, Refusal> {
        let same = |target: &&Target| {
            target.name == self.ask.target && target.credential_path == self.ask.credential_path
        };
        let allows = |target: &&Target| self.ask.duration <= target.window_max;
        target.filter(same).filter(allows).ok_or(Refusal::TargetChanged)
    }

    /// Refuses what is over: a passed deadline counts even if the lapse isn't recorded yet.
    fn must_wait(&self, now: DateTime<Utc>, action: &'static str) -> Result<(), Refusal> {
        match self.state.lapses_at() {
            Some(lapses_at) if now < lapses_at => Ok(()),
            Some(_) => Err(Refusal::RequestState { state: "LAPSED", action }),
            None => Err(self.wrong_state(action)),
        }
    }

    const fn wrong_state(&self, action: &'static str) -> Refusal {
        Refusal::RequestState { state: self.state.name(), action }
    }

    fn moved(self, state: State, at: DateTime<Utc>, actor: Actor, fact: Fact) -> Change<Self> {
        let from = self.state.name();
        let after = Self { state, revision: self.revision + 1, ..self };
        let event = after.event(at, actor, fact);
        Change::next(from, after, event)
    }

    fn event(&self, at: DateTime<Utc>, actor: Actor, fact: Fact) -> Event {
        let target = Some(self.ask.target.clone());
        Event { at, actor, about: About { request: Some(self.id), grant: None, target }, fact }
    }
}
