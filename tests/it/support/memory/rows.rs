//! What is stored, and what a commit does to it: all of it or nothing, refused where SQLite's constraints and triggers
//! refuse it.

use std::collections::BTreeMap;

use hallpass::{
    access::{
        change::Change,
        event::{Event, Recorded, digest_of, texts_of},
        freeze::Freeze,
        grant::{Grant, Issued, State},
        handle::LeaseId,
        id::{FreezeId, GrantId, RequestId},
        request::{Request, State as RequestState},
        retention::Erasure,
        revocation::Cause,
    },
    store::{Checkpoint, Cosignature, StoreError, Write},
};

/// Requests, grants and events.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    pub requests: BTreeMap<RequestId, Request>,
    pub grants: BTreeMap<GrantId, Grant>,
    pub freezes: BTreeMap<FreezeId, Freeze>,
    /// Those without their texts, with the digests of these.
    pub erased_freezes: BTreeMap<FreezeId, String>,
    pub events: Vec<Recorded>,
    pub checkpoints: BTreeMap<u64, Checkpoint>,
    pub cosignatures: BTreeMap<(u64, String), Cosignature>,
}

/// What a write replaced, to be put back if a later one of its commit is refused.
enum Undo {
    Request(RequestId, Box<Option<Request>>),
    Grant(GrantId, Option<Grant>),
    Freeze(FreezeId, Option<Freeze>),
    ErasedFreeze(FreezeId),
    Event(usize, Recorded),
    Checkpoint(u64),
    Cosignature((u64, String), Option<Cosignature>),
}

/// The lease that is on record for a grant. What is over has none.
pub fn lease(grant: &Grant) -> Option<&LeaseId> {
    let issued = match &grant.state {
        State::Issuing { issued } => issued,
        State::Active { leased, .. } => return Some(&leased.lease),
        State::Revoking(ending) => &ending.issued,
        State::Revoked { .. } | State::Failed { .. } => return None,
    };
    match issued {
        Issued::Lease(leased) => Some(&leased.lease),
        Issued::Nothing | Issued::Token(_) => None,
    }
}

/// Whether it ended so that another grant of its request may follow.
fn may_be_followed(grant: &Grant) -> bool {
    let cause = match &grant.state {
        State::Issuing { .. } | State::Active { .. } => return false,
        State::Revoking(ending) => ending.cause,
        State::Revoked { cause, .. } | State::Failed { cause, .. } => *cause,
    };
    matches!(cause, Cause::IssueFailed | Cause::Reissued)
}

const fn conflict() -> StoreError {
    StoreError::Conflict { operation: "commit" }
}

/// What a trigger or a CHECK of the database says.
fn refused(why: &str) -> StoreError {
    StoreError::Unavailable { operation: "commit", source: why.into() }
}

impl Rows {
    /// Commits all of it, or nothing.
    pub fn commit(&mut self, writes: &[Write<'_>]) -> Result<Vec<Recorded>, StoreError> {
        let (mut undo, length) = (Vec::new(), self.events.len());
        for write in writes {
            let event = match write {
                Write::Request(change) => self.put_request(change, &mut undo).map(|()| change.event()),
                Write::Grant(change) => self.put_grant(change, &mut undo).map(|()| change.event()),
                Write::Freeze(change) => self.put_freeze(change, &mut undo).map(|()| change.event()),
                Write::Erasure(erasure) => self.erase(erasure, &mut undo).map(|()| erasure.event()),
                Write::Fact(event) => Ok(*event),
                // One process has it for itself.
                Write::Fenced(_) => continue,
                Write::Checkpoint(checkpoint) => match self.put_checkpoint(checkpoint, &mut undo) {
                    Ok(()) => continue,
                    Err(refusal) => Err(refusal),
                },
                Write::Cosignature(cosignature) => match self.put_cosignature(cosignature, &mut undo) {
                    Ok(()) => continue,
                    Err(refusal) => Err(refusal),
                },
            };
            match event {
                Ok(event) => self.append(event),
                Err(refusal) => {
                    self.roll_back(undo, length);
                    return Err(refusal);
                }
            }
        }
        Ok(self.events[length..].to_vec())
    }

    fn append(&mut self, event: &Event) {
        let (kind, detail) = event.fact.parts();
        let sequence = i64::try_from(self.events.len()).unwrap() + 1;
        let (at, actor, about) = (event.at, event.actor.clone(), event.about.clone());
        self.events.push(Recorded { sequence, at, actor, about, kind, detail });
    }

    fn roll_back(&mut self, undo: Vec<Undo>, length: usize) {
        for replaced in undo.into_iter().rev() {
            match replaced {
                Undo::Request(id, before) => match *before {
                    Some(before) => drop(self.requests.insert(id, before)),
                    None => drop(self.requests.remove(&id)),
                },
                Undo::Grant(id, Some(before)) => drop(self.grants.insert(id, before)),
                Undo::Grant(id, None) => drop(self.grants.remove(&id)),
                Undo::Freeze(id, Some(before)) => drop(self.freezes.insert(id, before)),
                Undo::Freeze(id, None) => drop(self.freezes.remove(&id)),
                Undo::ErasedFreeze(id) => drop(self.erased_freezes.remove(&id)),
                Undo::Event(index, before) => self.events[index] = before,
                Undo::Checkpoint(size) => drop(self.checkpoints.remove(&size)),
                Undo::Cosignature(key, Some(before)) => drop(self.cosignatures.insert(key, before)),
                Undo::Cosignature(key, None) => drop(self.cosignatures.remove(&key)),
            }
        }
        self.events.truncate(length);
    }

    fn put_request(&mut self, change: &Change<Request>, undo: &mut Vec<Undo>) -> Result<(), StoreError> {
        let after = change.after();
        let before = self.requests.get(&after.id);
        match (change.from(), before) {
            (None, None) => self.check_new_request(after)?,
            (Some(from), Some(before))
                if before.state.name() == from && before.revision == after.revision - 1 =>
            {
                check_request_move(before, after)?;
            }
            _ => return Err(conflict()),
        }
        undo.push(Undo::Request(after.id, Box::new(self.requests.insert(after.id, after.clone()))));
        Ok(())
    }

    fn check_new_request(&self, request: &Request) -> Result<(), StoreError> {
        if request.state.name() != "PENDING" || request.revision != 1 {
            return Err(refused("requests_begin_pending"));
        }
        let ask = &request.ask;
        let same = |other: &Request| {
            other.ask.requester.subject == ask.requester.subject && other.ask.key == ask.key
        };
        let again = ask.key.is_some() && self.requests.values().any(same);
        if again { Err(conflict()) } else { Ok(()) }
    }

    fn put_checkpoint(&mut self, checkpoint: &Checkpoint, undo: &mut Vec<Undo>) -> Result<(), StoreError> {
        let last = self.checkpoints.keys().last().copied().unwrap_or_default();
        if checkpoint.size <= last || checkpoint.size > self.events.len() as u64 {
            return Err(refused("checkpoints_append"));
        }
        undo.push(Undo::Checkpoint(checkpoint.size));
        self.checkpoints.insert(checkpoint.size, checkpoint.clone());
        Ok(())
    }

    fn put_cosignature(&mut self, cosignature: &Cosignature, undo: &mut Vec<Undo>) -> Result<(), StoreError> {
        if !self.checkpoints.contains_key(&cosignature.size) {
            return Err(refused("cosignatures_checkpoint"));
        }
        let key = (cosignature.size, cosignature.witness.clone());
        let before = self.cosignatures.get(&key).cloned();
        if before.as_ref().is_some_and(|before| before.cosigned_at > cosignature.cosigned_at) {
            return Err(conflict());
        }
        self.cosignatures.insert(key.clone(), cosignature.clone());
        undo.push(Undo::Cosignature(key, before));
        Ok(())
    }

    fn put_freeze(&mut self, change: &Change<Freeze>, undo: &mut Vec<Undo>) -> Result<(), StoreError> {
        let after = change.after();
        let standing = |other: &Freeze| other.is_frozen() && other.extent == after.extent;
        let fits = match (change.from(), self.freezes.get(&after.id)) {
            (None, None) => !self.freezes.values().any(standing),
            (Some(_), Some(before)) => before.is_frozen() && before.revision == after.revision - 1,
            _ => false,
        };
        if !fits {
            return Err(conflict());
        }
        undo.push(Undo::Freeze(after.id, self.freezes.insert(after.id, after.clone())));
        Ok(())
    }

    fn erase(&mut self, erasure: &Erasure, undo: &mut Vec<Undo>) -> Result<(), StoreError> {
        for after in erasure.requests() {
            let open = |grant: &Grant| {
                let is_over = matches!(grant.state, State::Revoked { .. } | State::Failed { .. });
                grant.request == after.id && !is_over
            };
            let fits = |before: &Request| {
                before.revision == after.revision - 1 && before.ask.reason.kept().is_some()
            };
            if !self.requests.get(&after.id).is_some_and(fits) || self.grants.values().any(open) {
                return Err(conflict());
            }
            undo.push(Undo::Request(after.id, Box::new(self.requests.insert(after.id, after.clone()))));
        }
        for freeze in erasure.freezes() {
            if self.freezes.get(&freeze.id) != Some(freeze) || self.erased_freezes.contains_key(&freeze.id) {
                return Err(conflict());
            }
            self.erased_freezes.insert(freeze.id, digest_of(freeze.reason.as_str()));
            let erased = Freeze { revision: freeze.revision + 1, ..freeze.clone() };
            undo.push(Undo::ErasedFreeze(freeze.id));
            undo.push(Undo::Freeze(freeze.id, self.freezes.insert(freeze.id, erased)));
        }
        for sequence in erasure.sequences() {
            let index = usize::try_from(*sequence).unwrap() - 1;
            let event = &mut self.events[index];
            undo.push(Undo::Event(index, event.clone()));
            let detail = event.detail.as_object_mut().unwrap();
            let gone: Vec<_> = texts_of(&event.kind).iter().filter_map(|text| detail.remove(*text)).collect();
            if gone.is_empty() {
                return Err(conflict());
            }
        }
        Ok(())
    }

    /// What is recorded of a freeze, from its beginning to the next thaw of what it covers.
    pub fn of_freeze(&self, freeze: &Freeze) -> Vec<Recorded> {
        let extent = freeze.extent.to_string();
        let of_extent = |event: &&Recorded| {
            matches!(event.kind.as_str(), "TargetsFrozen" | "TargetsThawed")
                && event.detail["extent"] == extent
        };
        let begun = |event: &Recorded| {
            event.kind == "TargetsFrozen"
                && event.at == freeze.frozen_at
                && event.detail.get("reason").is_some()
        };
        let from = self.events.iter().filter(of_extent).skip_while(|event| !begun(event));
        let mut of_it = Vec::new();
        for event in from {
            of_it.push(event.clone());
            if event.kind == "TargetsThawed" {
                break;
            }
        }
        of_it
    }

    fn put_grant(&mut self, change: &Change<Grant>, undo: &mut Vec<Undo>) -> Result<(), StoreError> {
        let after = change.after();
        let before = self.grants.get(&after.id);
        match (change.from(), before) {
            (None, None) => self.check_new_grant(after)?,
            (Some(from), Some(before))
                if before.state.name() == from && before.revision == after.revision - 1 =>
            {
                check_grant_move(before, after)?;
            }
            _ => return Err(conflict()),
        }
        undo.push(Undo::Grant(after.id, self.grants.insert(after.id, after.clone())));
        Ok(())
    }

    fn check_new_grant(&self, grant: &Grant) -> Result<(), StoreError> {
        if !matches!(grant.state, State::Issuing { issued: Issued::Nothing }) || grant.revision != 1 {
            return Err(refused("grants_begin_issuing"));
        }
        if self.freezes.values().any(|freeze| freeze.is_frozen() && freeze.extent.covers(&grant.target)) {
            return Err(conflict());
        }
        let of_it = |other: &&Grant| other.request == grant.request;
        if self.grants.values().filter(of_it).any(|other| !may_be_followed(other)) {
            return Err(conflict());
        }
        match self.requests.get(&grant.request) {
            Some(request) if request.ask.reason.erased().is_some() => Err(conflict()),
            Some(_) => Ok(()),
            None => Err(refused("grants_request")),
        }
    }
}

fn check_request_move(before: &Request, after: &Request) -> Result<(), StoreError> {
    let allowed = match before.state.name() {
        "PENDING" => after.state.name() != "CLAIMED",
        "APPROVED" => matches!(after.state.name(), "CLAIMED" | "WITHDRAWN" | "LAPSED"),
        _ => false,
    };
    if !allowed {
        return Err(refused("requests_move"));
    }
    if before.ask != after.ask {
        return Err(refused("requests_ask_never_changes"));
    }
    let is_kept = before.approvals.iter().eq(after.approvals.iter().take(before.approvals.len()));
    if !is_kept {
        return Err(refused("decisions_never_change"));
    }
    let enough = after.approvals.len() >= after.ask.approvals_required as usize;
    if matches!(after.state, RequestState::Approved { .. }) && !enough {
        return Err(refused("requests_approved_by_enough"));
    }
    Ok(())
}

fn check_grant_move(before: &Grant, after: &Grant) -> Result<(), StoreError> {
    let allowed = match before.state.name() {
        "ISSUING" => matches!(after.state.name(), "ISSUING" | "ACTIVE" | "REVOKING"),
        "ACTIVE" => after.state.name() == "REVOKING",
        "REVOKING" => matches!(after.state.name(), "REVOKING" | "REVOKED" | "FAILED"),
        _ => false,
    };
    if !allowed {
        return Err(refused("grants_move"));
    }
    let terms = |grant: &Grant| {
        let Grant { id, request, target, credential_path, holder, window, opened_at, .. } = grant.clone();
        (id, request, target, credential_path, holder, window, opened_at)
    };
    if terms(before) == terms(after) { Ok(()) } else { Err(refused("grants_terms_never_change")) }
}
