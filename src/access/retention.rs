//! Retention: which exceptions are over for so long that their texts are erased. The digests stay, and so does everything
//! else: who asked, who decided, when access began and ended, and the log with its tree.
//!
//! Only what can't change any more is erased. Whatever is open, or only just over, has all its texts.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, SubsecRound as _, Utc};

use super::{
    actor::Actor,
    event::{About, Event, Fact, Recorded, texts_of},
    freeze::{Freeze, State as FreezeState},
    grant::{Grant, State as GrantState},
    request::Request,
};

/// The shortest time for which texts may be kept: longer than anything that is open can wait for (a window that opens in
/// 30 days is not over), and long enough that what happened last month can be read by whoever looks into it.
pub const TEXTS_FOR_MIN: Duration = Duration::from_hours(30 * 24);

/// An exception that may be over.
#[derive(Clone, Debug)]
pub struct Past {
    /// The request.
    pub request: Request,
    /// All its grants.
    pub grants: Vec<Grant>,
    /// All that is recorded of it.
    pub timeline: Vec<Recorded>,
}

/// A freeze that may be over.
#[derive(Clone, Debug)]
pub struct PastFreeze {
    /// The freeze.
    pub freeze: Freeze,
    /// What is recorded of it.
    pub timeline: Vec<Recorded>,
}

/// What is erased in one breath, with the event that says so. Only [`Erasure::of`] makes one.
#[derive(Clone, Debug)]
#[must_use = "nothing is erased until the store has done it"]
pub struct Erasure {
    requests: Vec<Request>,
    freezes: Vec<Freeze>,
    sequences: Vec<i64>,
    event: Event,
}

impl Past {
    /// Whether it was over before this, with all that belongs to it.
    fn was_over(&self, until: DateTime<Utc>) -> bool {
        let is_over = |grant: &Grant| match grant.state {
            GrantState::Revoked { revoked_at: at, .. } | GrantState::Failed { failed_at: at, .. } => {
                at < until && grant.window.is_closed(until)
            }
            GrantState::Issuing { .. } | GrantState::Active { .. } | GrantState::Revoking(_) => false,
        };
        self.request.is_settled() && self.grants.iter().all(is_over) && is_before(&self.timeline, until)
    }
}

impl PastFreeze {
    fn was_over(&self, until: DateTime<Utc>) -> bool {
        let is_thawed = matches!(self.freeze.state, FreezeState::Thawed { thawed_at } if thawed_at < until);
        is_thawed && is_before(&self.timeline, until)
    }
}

/// Whether there are events, all of them from before.
fn is_before(timeline: &[Recorded], until: DateTime<Utc>) -> bool {
    !timeline.is_empty() && timeline.iter().all(|event| event.at < until)
}

impl Erasure {
    /// Erases what of this was over before `until` and still has its texts; nothing if nothing is.
    #[must_use]
    pub fn of(
        past: Vec<Past>,
        freezes: Vec<PastFreeze>,
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let whole = |past: &Past| past.request.ask.reason.kept().is_some();
        let past: Vec<Past> = past.into_iter().filter(|past| whole(past) && past.was_over(until)).collect();
        let freezes: Vec<PastFreeze> = freezes.into_iter().filter(|past| past.was_over(until)).collect();
        if past.is_empty() && freezes.is_empty() {
            return None;
        }
        let timelines =
            past.iter().map(|past| &past.timeline).chain(freezes.iter().map(|past| &past.timeline));
        // Two freezes of one target that were thawed in the same millisecond have events in common.
        let (mut sequences, mut texts) = (BTreeSet::new(), 0);
        for event in timelines.flatten() {
            let kept = texts_of(&event.kind).iter().filter(|text| event.detail.get(text).is_some()).count();
            if kept > 0 && sequences.insert(event.sequence) {
                texts += kept as u64;
            }
        }
        let fact = Fact::TextsErased {
            until: until.trunc_subsecs(3),
            requests: past.iter().map(|past| past.request.id.to_string()).collect(),
            freezes: freezes.iter().map(|past| past.freeze.id.to_string()).collect(),
            texts,
        };
        Some(Self {
            requests: past.iter().map(|past| past.request.erased(now)).collect(),
            freezes: freezes.into_iter().map(|past| past.freeze).collect(),
            sequences: sequences.into_iter().collect(),
            event: Event { at: now, actor: Actor::Daemon, about: About::default(), fact },
        })
    }

    /// The requests to store, without their texts. The revision of each is one more than the one that the store must find.
    #[must_use]
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// The freezes, as the store must find them, whose reason is to go.
    #[must_use]
    pub fn freezes(&self) -> &[Freeze] {
        &self.freezes
    }

    /// The places of the events whose texts are to go.
    #[must_use]
    pub fn sequences(&self) -> &[i64] {
        &self.sequences
    }

    /// What the audit log says about it.
    #[must_use]
    pub const fn event(&self) -> &Event {
        &self.event
    }
}
