//! What Vault does by itself as time passes: it ends what has expired, and revokes what is queued for that.
//!
//! ```text
//!            the token or the lease ended          done
//!   HELD ------------------------------> QUEUED ---------> gone
//!                                          |  ^
//!                     the target is down   '--'  six tries, after 20, 40, 80, 160 and 320 s, give or take a half
//!                                          |
//!                                          '--> GIVEN UP, and tried once a day
//! ```
//!
//! The state is looked at lazily: each access first does what has come due since the last, in the order of time.

use chrono::{DateTime, TimeDelta, Utc};

use super::{
    chance::Chance,
    state::{Condition, Lease, State},
};

/// How many tries Vault makes before it gives up.
const TRIES: u32 = 6;

/// Half of the pause after the first try. Each further one is twice as long.
const BACKOFF: TimeDelta = TimeDelta::seconds(10);

/// How often it tries what it gave up on.
const GIVEN_UP_EVERY: TimeDelta = TimeDelta::days(1);

/// What is queued isn't done at the same instant, so that every caller can see it still there.
const SOON: TimeDelta = TimeDelta::milliseconds(1);

/// How far the end of a lease is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Held,
    Queued { tries: u32, at: DateTime<Utc> },
    GivenUp { at: DateTime<Utc> },
}

/// How long it takes until the worker comes to what is queued.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Worker {
    pub(super) chance: Chance,
    pub(super) delay_max: TimeDelta,
}

impl Worker {
    /// When it comes to what is queued at this time.
    fn comes_at(&mut self, queued_at: DateTime<Utc>) -> DateTime<Utc> {
        queued_at + SOON + self.chance.up_to(self.delay_max)
    }

    /// The pause after so many tries.
    fn backoff(&mut self, tries: u32) -> TimeDelta {
        let pause = BACKOFF * (1 << tries.min(TRIES));
        pause / 2 + self.chance.up_to(pause)
    }
}

impl State {
    /// Does what came due up to `now`, unless Vault is down or sealed.
    pub(super) fn advance(&mut self, now: DateTime<Utc>) {
        if self.condition != Condition::Up {
            return;
        }
        while let Some(next) = self.late.first_entry().filter(|next| next.key().0 <= now) {
            let ((at, _), act) = next.remove_entry();
            self.settle(at);
            act(self, at);
        }
        self.settle(now);
    }

    /// Starts again what stood still: what came due meanwhile is due now, and tries are counted anew.
    pub(super) fn come_up(&mut self, now: DateTime<Utc>) {
        self.up_since = Some(now);
        for lease in self.leases.values_mut() {
            match &mut lease.fate {
                Fate::Queued { tries, at } => (*tries, *at) = (0, self.worker.comes_at(now)),
                Fate::GivenUp { at } => *at = now + GIVEN_UP_EVERY,
                Fate::Held => {}
            }
        }
    }

    /// Ends a token: its leases are queued, as Vault does it whether the token was revoked or expired.
    pub(super) fn end_token(&mut self, accessor: &str, now: DateTime<Utc>) {
        if self.tokens.remove(accessor).is_none() {
            return;
        }
        for lease in self.leases.values_mut().filter(|lease| lease.token == accessor) {
            lease.queue(now, &mut self.worker);
        }
    }

    fn settle(&mut self, now: DateTime<Utc>) {
        self.wrappings.retain(|_, wrapping| now < wrapping.expires_at);
        let up_since = self.up_since.unwrap_or(DateTime::<Utc>::MIN_UTC);
        let ended = self.tokens.iter().filter(|(_, token)| token.expires_at <= now);
        let ended: Vec<_> = ended.map(|(accessor, token)| (accessor.clone(), token.expires_at)).collect();
        for (accessor, at) in ended {
            self.end_token(&accessor, at.max(up_since));
        }
        let Self { leases, worker, targets_down, .. } = self;
        leases.retain(|_, lease| {
            if lease.live.expires_at <= now && lease.fate == Fate::Held {
                lease.queue(lease.live.expires_at.max(up_since), worker);
            }
            let down = targets_down.contains(&lease.live.path);
            lease.survives(now, down, worker)
        });
    }
}

impl Lease {
    fn queue(&mut self, now: DateTime<Utc>, worker: &mut Worker) {
        if self.fate == Fate::Held {
            self.fate = Fate::Queued { tries: 0, at: worker.comes_at(now) };
        }
    }

    /// Tries what is due, and says whether the lease is still there.
    fn survives(&mut self, now: DateTime<Utc>, down: bool, worker: &mut Worker) -> bool {
        loop {
            self.fate = match self.fate {
                Fate::Queued { at, .. } | Fate::GivenUp { at } if at <= now && !down => return false,
                Fate::Queued { tries, at } if at <= now && tries + 1 < TRIES => {
                    Fate::Queued { tries: tries + 1, at: at + worker.backoff(tries + 1) }
                }
                Fate::Queued { at, .. } | Fate::GivenUp { at } if at <= now => {
                    Fate::GivenUp { at: at + GIVEN_UP_EVERY }
                }
                Fate::Held | Fate::Queued { .. } | Fate::GivenUp { .. } => return true,
            };
        }
    }
}
