//! Changing the configuration under way: whole, or not at all.
//!
//! ```text
//! verb:    snapshot -> policy, rules -> [ still in force? -> commit ]        shared
//! change:                               [ grants held? -> commit -> swap ]   alone
//! ```
//!
//! What the policy allows is committed only while the policy that allowed it is in force; a verb that comes too late has
//! done nothing and is told so. So whatever the audit log has behind the event of a change was decided by what the change
//! brought, and no grant is opened on a target that it took away. What ends access asks nothing here and waits for nobody.

use std::{sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::sync::{Mutex, RwLock, watch as channel};
use tracing::error;

use super::{Broker, COMMIT_ATTEMPTS, Error, Shared};
use crate::{
    access::{
        actor::Actor,
        event::{About, Event, Fact},
        grant::{Ending, Grant, Issued, State},
        policy::Policy,
        revocation::Cause,
    },
    failpoint::{Point, reach},
    signature::Signers,
    store::Write,
};

/// How many grants are read at a time.
const PAGE: u32 = 500;

/// What a change of the configuration changes of a broker.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may do what, and the targets.
    pub policy: Policy,
    /// How long a wrapping token can be opened.
    pub wrap_ttl: Duration,
    /// How long an ending may take before an alarm is raised.
    pub alarm_after: Duration,
    /// Whether leases that no grant knows of are revoked when they are found.
    pub revoke_unknown: bool,
    /// For how long the texts of what is over are kept; for ever, if it isn't said.
    pub texts_for: Option<Duration>,
    /// Whose keys sign approvals.
    pub signers: Signers,
}

/// What led to a configuration being in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// The daemon started.
    Start,
    /// SIGHUP.
    Signal,
    /// `hallpassd reload`.
    Command,
}

impl Occasion {
    /// What the audit log says.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Signal => "SIGNAL",
            Self::Command => "COMMAND",
        }
    }
}

/// A change as the audit log tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What led to it.
    pub occasion: Occasion,
    /// The digest of the file that is in force from now on.
    pub digest: String,
    /// The digest of the one before, if it is known.
    pub former_digest: Option<String>,
    /// The keys and sections that it has and the one before hadn't.
    pub added: Vec<String>,
    /// The keys and sections that the one before had and it hasn't.
    pub removed: Vec<String>,
    /// The keys that say something else.
    pub changed: Vec<String>,
}

impl Change {
    /// One of whose keys nothing is known.
    #[must_use]
    pub const fn to(digest: String, former_digest: Option<String>, occasion: Occasion) -> Self {
        Self { occasion, digest, former_digest, added: Vec::new(), removed: Vec::new(), changed: Vec::new() }
    }
}

/// What becomes of the grants whose target is taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removed {
    /// There must be none.
    Refuse,
    /// They end.
    End,
}

/// Why a configuration isn't in force. Nothing of it is.
#[derive(Debug, thiserror::Error)]
pub enum NotChanged {
    /// These grants aren't over, and it takes their targets out.
    #[error("it takes out targets that grants are held of")]
    GrantsHeld(Vec<Grant>),
    /// It can't be recorded, or not be known what is held.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// The settings in force.
#[derive(Debug)]
pub(super) struct InForce {
    now: channel::Sender<Current>,
    /// Shared from the last look at what is in force until the commit; alone for a change.
    changing: RwLock<()>,
    /// That this configuration is in force, if it couldn't be recorded yet.
    untold: Mutex<Option<Event>>,
}

#[derive(Clone, Debug)]
struct Current {
    policy: Arc<Policy>,
    wrap_ttl: Duration,
    /// The shortest that was in force since the start.
    wrap_ttl_min: Duration,
    alarm_after: TimeDelta,
    revoke_unknown: bool,
    texts_for: Option<TimeDelta>,
    signers: Arc<Signers>,
}

impl InForce {
    pub(super) fn new(settings: Settings) -> Self {
        let now = channel::Sender::new(settings.into());
        Self { now, changing: RwLock::default(), untold: Mutex::default() }
    }
}

impl From<Settings> for Current {
    fn from(settings: Settings) -> Self {
        let Settings { policy, wrap_ttl, alarm_after, revoke_unknown, texts_for, signers } = settings;
        let alarm_after = TimeDelta::from_std(alarm_after).unwrap_or(TimeDelta::MAX);
        let texts_for = texts_for.map(|long| TimeDelta::from_std(long).unwrap_or(TimeDelta::MAX));
        let (policy, signers) = (Arc::new(policy), Arc::new(signers));
        Self { policy, wrap_ttl, wrap_ttl_min: wrap_ttl, alarm_after, revoke_unknown, texts_for, signers }
    }
}

impl Broker {
    pub(super) fn of(shared: Arc<Shared>) -> Self {
        let now = shared.in_force.now.borrow().clone();
        let Current { policy, wrap_ttl, wrap_ttl_min, alarm_after, revoke_unknown, texts_for, signers } = now;
        Self { policy, wrap_ttl, wrap_ttl_min, alarm_after, revoke_unknown, texts_for, signers, shared }
    }

    /// A broker with the settings that are in force now.
    #[must_use]
    pub fn renewed(&self) -> Self {
        Self::of(Arc::clone(&self.shared))
    }

    /// Whether this broker's settings are those in force.
    pub(super) fn is_in_force(&self) -> bool {
        // This holds the policy, so nothing else can have its address.
        Arc::ptr_eq(&self.policy, &self.in_force.now.borrow().policy)
    }

    /// Returns when other settings are in force.
    pub(super) async fn replaced(&self) {
        let mut now = self.in_force.now.subscribe();
        while self.is_in_force() && now.changed().await.is_ok() {}
    }

    /// Commits what the policy allowed, if the policy still is in force.
    pub(super) async fn commit_allowed(&self, writes: &[Write<'_>]) -> Result<(), Error> {
        let _unchanged = self.in_force.changing.read().await;
        if !self.is_in_force() {
            return Err(Error::Reconfigured);
        }
        let mut untold = self.in_force.untold.lock().await;
        if let Some(event) = untold.clone() {
            // In the same transaction: nothing is allowed by a configuration that isn't on record.
            let told = std::iter::once(Write::Fact(&event));
            self.commit(&told.chain(writes.iter().copied()).collect::<Vec<_>>()).await?;
            *untold = None;
            return Ok(());
        }
        drop(untold);
        self.commit(writes).await
    }

    /// Records which configuration is in force from the start on. If that can't be recorded, it is with the first thing
    /// that the policy allows.
    pub async fn started_with(&self, change: Change) {
        let event = self.event_of(Some(change), 0);
        let Some(event) = event else { return };
        if let Err(failure) = self.commit(&[Write::Fact(&event)]).await {
            let failure: &dyn std::error::Error = &failure;
            error!(
                "event.action" = "configuration-not-recorded",
                error = failure,
                "which configuration is in force can't be recorded yet"
            );
            *self.in_force.untold.lock().await = Some(event);
        }
    }

    /// Puts other settings in force, and records it in the same breath; with it begins the end of the grants whose targets
    /// are taken out, if that is wanted. Answers with these. Without a change to tell of, only the ends are recorded.
    ///
    /// # Errors
    ///
    /// If grants are held of targets that are taken out and they shall not end, or if the store fails.
    pub async fn reconfigure(
        &self,
        settings: Settings,
        change: Option<Change>,
        removed: Removed,
    ) -> Result<Vec<Grant>, NotChanged> {
        let _alone = self.in_force.changing.write().await;
        let mut attempts_left = COMMIT_ATTEMPTS;
        let ended = loop {
            attempts_left -= 1;
            let ends = self.ends(&settings.policy, removed).await?;
            match self.commit_change(change.clone(), ends).await {
                Err(Error::Conflict) if attempts_left > 0 => {}
                done => break self.unless_doubtful(done, change.as_ref()).await?,
            }
        };
        reach(Point::ReloadRecorded);
        self.in_force.now.send_modify(|now| {
            let next = Current::from(settings);
            *now = Current { wrap_ttl_min: now.wrap_ttl_min.min(next.wrap_ttl), ..next };
        });
        Ok(ended)
    }

    /// The grants that [`Self::reconfigure`] with this policy would end, as it looks now.
    ///
    /// # Errors
    ///
    /// If it would be refused for grants that are held, or if the store fails.
    pub async fn ends(&self, policy: &Policy, removed: Removed) -> Result<Vec<Grant>, NotChanged> {
        let WithoutTarget { open, taken } = self.without_target(policy).await?;
        match removed {
            Removed::End => Ok(open),
            Removed::Refuse if taken.is_empty() => Ok(Vec::new()),
            Removed::Refuse => Err(NotChanged::GrantsHeld(taken)),
        }
    }

    async fn without_target(&self, next: &Policy) -> Result<WithoutTarget, Error> {
        let mut found = WithoutTarget::default();
        let now = self.renewed();
        let is_taken = |grant: &Grant| now.policy.targets.contains_key(&grant.target);
        let (mut after, mut page) = (None, self.store.open_grants(None, PAGE).await?);
        while let Some(last) = page.last().map(|grant| grant.id).filter(|last| Some(*last) != after) {
            after = Some(last);
            page.retain(|grant| !next.targets.contains_key(&grant.target));
            found.taken.extend(page.iter().filter(|grant| is_taken(grant)).cloned());
            found.open.append(&mut page);
            page = self.store.open_grants(after, PAGE).await?;
        }
        let mut after = None;
        loop {
            let page = self.store.endings(after, PAGE).await?;
            let Some(last) = page.last() else { return Ok(found) };
            let State::Revoking(ending) = &last.state else { return Ok(found) };
            after = Some((ending.begun_at, last.id));
            let gone = |grant: &Grant| !next.targets.contains_key(&grant.target) && is_taken(grant);
            found.taken.extend(page.into_iter().filter(gone));
        }
    }

    async fn commit_change(&self, change: Option<Change>, ends: Vec<Grant>) -> Result<Vec<Grant>, Error> {
        let now = self.clock.now();
        let end = |grant: Grant| grant.begin(Cause::TargetRemoved, Actor::Daemon, None, now);
        let begun: Vec<_> = ends.into_iter().filter_map(end).collect();
        let event = self.event_of(change, begun.len() as u64);
        let told = event.iter().map(Write::Fact);
        let writes: Vec<Write<'_>> = told.chain(begun.iter().map(Write::Grant)).collect();
        if !writes.is_empty() {
            self.commit(&writes).await?;
        }
        let ended: Vec<Grant> = begun.into_iter().map(crate::access::change::Change::into_after).collect();
        for grant in &ended {
            if matches!(&grant.state, State::Revoking(Ending { issued: Issued::Token(_), .. })) {
                self.read_waited_for(grant.id);
            }
        }
        if event.is_some() {
            *self.in_force.untold.lock().await = None;
        }
        Ok(ended)
    }

    /// A commit without an answer may have been made. Then the log says that this configuration is in force, and it isn't;
    /// so the next thing that the policy allows is recorded behind an event that says which one is.
    async fn unless_doubtful<T>(&self, done: Result<T, Error>, change: Option<&Change>) -> Result<T, Error> {
        if let (Err(Error::StoreUnavailable(_)), Some(change)) = (&done, change)
            && let Some(in_force) = change.former_digest.clone()
        {
            let kept = Change {
                digest: in_force,
                former_digest: Some(change.digest.clone()),
                added: change.removed.clone(),
                removed: change.added.clone(),
                ..change.clone()
            };
            // What is in force already waits to be told of, perhaps since the start: that is the truer word.
            let mut untold = self.in_force.untold.lock().await;
            if untold.is_none() {
                *untold = self.event_of(Some(kept), 0);
            }
        }
        done
    }

    fn event_of(&self, change: Option<Change>, ended: u64) -> Option<Event> {
        let Change { occasion, digest, former_digest, added, removed, changed } = change?;
        let occasion = occasion.name();
        let fact =
            Fact::ConfigurationChanged { occasion, digest, former_digest, added, removed, changed, ended };
        Some(Event { at: self.clock.now(), actor: Actor::Daemon, about: About::default(), fact })
    }
}

/// Grants that aren't over and whose target a configuration doesn't have.
#[derive(Debug, Default)]
struct WithoutTarget {
    /// Those that are held or being made.
    open: Vec<Grant>,
    /// Those, and those that are ending, of targets that are configured now.
    taken: Vec<Grant>,
}
