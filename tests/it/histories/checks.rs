//! The invariants, checked after every step against what is really stored and what really is in Vault.
//!
//! | | what is checked |
//! |---|---|
//! | I1 | at each call that can make something, in the moment in which Vault is asked: approvals, intent and token are stored |
//! | I2 | a held credential's own end isn't after the window's; a token that nobody recorded lives a minute |
//! | I3 | of what is REVOKED or FAILED, Vault has neither lease nor, if it was held, token |
//! | I4 | rows and events say the same, and events move things only as documented |
//! | I5 | approvers are other human beings than the requester, as many as are demanded |
//! | I8 | the log has no gaps and loses nothing |
//! | window | it is as long as was asked, and never moves |

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
};

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{
    access::{event::Recorded, grant::State, id::GrantId},
    clock::{Clock, ManualClock},
    vault::{
        SimulatedIssuer,
        simulated::{Call, Operation},
    },
};

use super::model::{Model, Verdict};
use crate::support::memory::MemoryStore;

/// How long a token lives that nobody recorded.
const FIRST_TTL: TimeDelta = TimeDelta::minutes(1);

/// What can be seen of a history from outside.
#[derive(Debug)]
pub struct Checks {
    store: Arc<MemoryStore>,
    vault: Arc<SimulatedIssuer>,
    clock: Arc<ManualClock>,
    vault_clock: Arc<ManualClock>,
    pub model: Model,
    at_call: Arc<Mutex<Verdict>>,
    /// How far the daemon's clock was ahead of Vault's, at the least while a grant was being made.
    ahead: BTreeMap<GrantId, TimeDelta>,
    /// When each token was seen first, by Vault's clock.
    tokens: BTreeMap<String, DateTime<Utc>>,
    /// Nothing expires while Vault is down, which its own clock must not be blamed for.
    pub vault_works: bool,
    /// Whether leases can be told by their time of issue. Without that, one that nobody recorded may be missed.
    clocks_agree: bool,
}

impl Checks {
    pub fn new(
        store: Arc<MemoryStore>,
        vault: Arc<SimulatedIssuer>,
        (clock, vault_clock): (Arc<ManualClock>, Arc<ManualClock>),
        clocks_agree: bool,
    ) -> Self {
        let at_call = Arc::new(Mutex::new(Ok(())));
        let (verdict, rows) = (Arc::clone(&at_call), Arc::clone(&store));
        vault.on_call(move |call| {
            if let Err(violation) = may_ask(&rows, call) {
                *verdict.lock().unwrap() = Err(violation);
            }
        });
        let (model, ahead, tokens) = (Model::default(), BTreeMap::new(), BTreeMap::new());
        Self {
            store,
            vault,
            clock,
            vault_clock,
            model,
            at_call,
            ahead,
            tokens,
            vault_works: true,
            clocks_agree,
        }
    }

    /// The kinds of all that was recorded, with causes where there are any.
    pub fn kinds(&self) -> BTreeSet<String> {
        let kind = |event: &Recorded| match event.detail.get("cause").and_then(|cause| cause.as_str()) {
            Some(cause) => format!("{} {cause}", event.kind),
            None => event.kind.clone(),
        };
        self.store.rows().events.iter().map(kind).collect()
    }

    /// After every step.
    pub fn hold(&mut self) -> Verdict {
        self.at_call.lock().unwrap().clone()?;
        self.follow()?;
        self.nothing_outlives_its_window()?;
        self.nothing_lives_that_is_over()
    }

    /// Reads on in the log, and compares.
    pub fn follow(&mut self) -> Verdict {
        self.model.follow(&self.store.rows())
    }

    /// I2: while it is held, Vault's own clock ends it in time.
    fn nothing_outlives_its_window(&mut self) -> Verdict {
        let ahead = self.clock.now() - self.vault_clock.now();
        let leases = self.vault.live_leases();
        let rows = self.store.rows();
        for grant in rows.grants.values() {
            match &grant.state {
                State::Issuing { .. } => {
                    let least = self.ahead.entry(grant.id).or_insert(ahead);
                    *least = ahead.min(*least);
                }
                State::Active { leased, .. } => {
                    // Opened and activated between two looks, there was one time in between.
                    let ahead = *self.ahead.entry(grant.id).or_insert(ahead);
                    let closes_at = grant.window.closes_at() - ahead;
                    let lease = leases.iter().find(|lease| lease.id == leased.lease);
                    if let Some(lease) = lease.filter(|lease| !lease.ending && lease.expires_at > closes_at) {
                        let late = lease.expires_at - closes_at;
                        return Err(("I2", format!("the lease of {} lives {late} too long", grant.id)));
                    }
                }
                State::Revoking(_) | State::Revoked { .. } | State::Failed { .. } => {}
            }
        }
        drop(rows);
        self.tokens_without_a_record_die()
    }

    fn tokens_without_a_record_die(&mut self) -> Verdict {
        let now = self.vault_clock.now();
        let live = self.vault.live_tokens();
        self.tokens.retain(|accessor, _| live.iter().any(|(token, _)| token.expose() == accessor));
        for (accessor, grant) in live {
            let since = *self.tokens.entry(accessor.expose().to_owned()).or_insert(now);
            let has_lease = self.model.grants.get(&grant).is_some_and(|grant| grant.issued == 2);
            if !has_lease && now - since > FIRST_TTL && self.vault_works {
                return Err(("I2", format!("a token of {grant} that read nothing lives on")));
            }
        }
        Ok(())
    }

    /// I3: what is REVOKED or FAILED is gone.
    fn nothing_lives_that_is_over(&self) -> Verdict {
        let over = |grant: &GrantId| self.model.grants.get(grant).filter(|told| told.state.ends_with("ED"));
        for lease in self.vault.live_leases() {
            let Some(grant) = lease.grant else { continue };
            if let Some(told) = over(&grant).filter(|told| self.clocks_agree || told.state == "REVOKED") {
                return Err(("I3", format!("{grant} is {}, and its lease is there", told.state)));
            }
        }
        for (_, grant) in self.vault.live_tokens() {
            if over(&grant).is_some_and(|told| told.state == "REVOKED") {
                return Err(("I3", format!("{grant} is REVOKED, and its token is there")));
            }
        }
        Ok(())
    }
}

/// I1: what has to be stored when Vault is asked for something.
fn may_ask(store: &MemoryStore, call: &Call) -> Verdict {
    let needs: &[&str] = match call.operation {
        Operation::Mint => &["GrantOpened"],
        Operation::ReadWrapped => &["GrantOpened", "GrantTokenMinted"],
        _ => return Ok(()),
    };
    let lacks = |what: &str| Err(("I1", format!("{:?} was asked for without {what}", call.operation)));
    let Some(grant) = call.grant else { return lacks("a grant") };
    let rows = store.rows();
    for kind in needs {
        let is_it = |event: &&Recorded| event.about.grant == Some(grant) && event.kind == **kind;
        if !rows.events.iter().rev().any(|event| is_it(&event)) {
            return lacks(kind);
        }
    }
    let request = rows.grants.get(&grant).and_then(|grant| rows.requests.get(&grant.request));
    let Some(request) = request.filter(|request| request.state.name() == "CLAIMED") else {
        return lacks("a claimed request");
    };
    let enough = request.approvals.len() >= request.ask.approvals_required as usize;
    if enough { Ok(()) } else { lacks("approvals") }
}
