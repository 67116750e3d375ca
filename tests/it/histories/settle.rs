//! The end of a history: everything works again, and time passes. Then nothing may be left.

use chrono::TimeDelta;
use hallpass::{
    access::{
        grant::{Issued, State},
        id::GrantId,
        policy::Scope,
        request::State as RequestState,
    },
    clock::Clock,
    store::{GrantFilter, RequestFilter, Slice},
};

use super::{
    history::History,
    jobs::Chore,
    model::Verdict,
    steps::{let_all_go, pass, set_store, set_target, set_vault, take_due},
};

/// After this, no call that was ever sent can still have an effect, and whoever waited for that has gone on.
const NOTHING_UNDER_WAY: TimeDelta = TimeDelta::minutes(4);
/// After this, every window is closed, and every request has been decided and claimed, or not.
const ALL_OVER: TimeDelta = TimeDelta::hours(5);
/// How often the daemon's chores are done until what they can do is done: what one finds, the next may need.
const PASSES: usize = 2;

impl History {
    /// Brings everything back, and sees that nothing is left: after minutes, of what was ending; after hours, at all.
    pub fn settle(&mut self) -> Verdict {
        self.step += 1;
        if self.chance.percent(50) {
            self.crash();
        }
        if self.vault_down {
            set_vault(self, false);
        }
        for path in std::mem::take(&mut self.targets_down) {
            set_target(self, path, false);
        }
        if self.store.is_down() {
            set_store(self, false);
        }
        self.round()?;
        pass(self, NOTHING_UNDER_WAY);
        self.round()?;
        if self.clocks_agree {
            self.nothing_is_ending()?;
        }
        pass(self, ALL_OVER);
        self.round()?;
        // Vault's own worker needs its time as well.
        pass(self, TimeDelta::seconds(10));
        self.look()?;
        self.nothing_is_left()
    }

    /// What the daemon does in a moment in which everything works. After that, whatever was due has ended.
    pub fn round_if_all_is_well(&mut self) -> Verdict {
        let all_is_well = !self.vault_down && self.targets_down.is_empty() && !self.store.is_down();
        if all_is_well { self.round() } else { Ok(()) }
    }

    fn round(&mut self) -> Verdict {
        self.tell(|| "everything goes on".to_owned());
        let_all_go(self);
        self.look()?;
        self.gates.open();
        for _ in 0..PASSES {
            for chore in [Chore::Record, Chore::Arm, Chore::Rescan, Chore::Sweep, Chore::Lapse, Chore::Alarm]
            {
                self.work(chore);
                self.look()?;
            }
            take_due(self);
            let due: Vec<GrantId> = self.queue.iter().copied().collect();
            for id in due {
                self.work(Chore::Pursue(id));
                self.look()?;
            }
        }
        self.gates.shut();
        self.look()?;
        self.what_is_due_has_ended()
    }

    /// I2: with everything working, a closed window has ended and what was ending is over, except where a read may still
    /// be under way.
    fn what_is_due_has_ended(&mut self) -> Verdict {
        let now = self.clock.now();
        for grant in self.all_grants() {
            let is_open = matches!(grant.state, State::Issuing { .. } | State::Active { .. });
            let remains = match &grant.state {
                State::Revoking(ending) => !matches!(ending.issued, Issued::Token(_)),
                _ => is_open && grant.window.is_closed(now),
            };
            if remains {
                return Err(("I2", format!("{} is {:?} although it could end", grant.id, grant.state)));
            }
        }
        Ok(())
    }

    fn nothing_is_ending(&mut self) -> Verdict {
        let stuck = |state: &State| matches!(state, State::Issuing { .. } | State::Revoking(_));
        match self.all_grants().into_iter().find(|grant| stuck(&grant.state)) {
            Some(grant) => Err(("settles", format!("{} is stuck: {:?}", grant.id, grant.state))),
            None => Ok(()),
        }
    }

    fn nothing_is_left(&mut self) -> Verdict {
        // Another program's leases are its own matter, and with clocks too far apart one that nobody recorded may be missed.
        let held = |grant: &GrantId| {
            self.clocks_agree || self.life_of(*grant).is_some_and(|state| state != "FAILED")
        };
        let leases = self.vault.live_leases();
        if let Some(lease) = leases.iter().find(|lease| lease.grant.as_ref().is_some_and(held)) {
            return Err(("settles", format!("a lease of {:?} is left", lease.grant)));
        }
        if !self.vault.live_tokens().is_empty() || self.vault.live_wrappings() > 0 {
            return Err(("settles", "tokens are left".to_owned()));
        }
        let over = |state: &State| matches!(state, State::Revoked { .. } | State::Failed { .. });
        if let Some(grant) = self.all_grants().into_iter().find(|grant| !over(&grant.state)) {
            return Err(("settles", format!("{} is {:?}", grant.id, grant.state)));
        }
        let waits = |state: &RequestState| {
            matches!(state, RequestState::Pending { .. } | RequestState::Approved { .. })
        };
        match self.all_requests().into_iter().find(|request| waits(&request.state)) {
            Some(request) => Err(("settles", format!("{} is {:?}", request.id, request.state))),
            None => Ok(()),
        }
    }

    fn life_of(&self, grant: GrantId) -> Option<&'static str> {
        self.life.block_on(self.plain.grant(grant)).unwrap().map(|grant| grant.state.name())
    }

    pub fn all_grants(&self) -> Vec<hallpass::access::grant::Grant> {
        let all = Slice { after: None, limit: u32::MAX };
        self.life.block_on(self.plain.grants(&Scope::All, &GrantFilter::default(), all)).unwrap()
    }

    pub fn all_requests(&self) -> Vec<hallpass::access::request::Request> {
        let all = Slice { after: None, limit: u32::MAX };
        self.life.block_on(self.plain.requests(&Scope::All, &RequestFilter::default(), all)).unwrap().items
    }
}
