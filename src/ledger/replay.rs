//! Whether states follow from events: reads the log from its beginning, event by event, and says of each whether the daemon
//! can have recorded it, given what is recorded before.
//!
//! ```text
//! request   submitted --approved (n of n)--> claimed, with a grant in the same breath
//!               '--denied, withdrawn, lapsed
//! grant     opened --> token --> lease --> activated --> ending --> revoked; or failed, if it never was active
//! freeze    frozen --> thawed
//! ```
//!
//! It knows each kind of `docs/audit.md`. A kind that it doesn't know, from a later version, is counted and says nothing;
//! nor does a field that isn't there, from an earlier one. Times are compared only where the daemon compares them when it
//! records: a clock may be set, and what an outage kept from being recorded is recorded later, as it happened.
//!
//! After something that can't be, it goes on with what the log says, so that one fault isn't told of again and again. What
//! is open takes some hundred bytes, what is over a few dozen. It asks nobody, and it refuses nothing: it only tells.

mod findings;
mod freeze;
mod grant;
mod people;
mod read;
mod request;

#[cfg(test)]
mod tests;

use foldhash::HashMap;

pub use self::{
    findings::{FINDINGS_MAX, Finding},
    read::Room,
};
use self::{
    findings::{Findings, Place},
    freeze::Freezes,
    grant::Grants,
    people::People,
    read::{Event, Id, Text},
};
use crate::access::{approval::Digest, event::texts_of};

/// A signed approval, whose signature somebody who knows SSH's signatures has to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedApproval {
    /// The event's place in the log.
    pub sequence: u64,
    /// The request.
    pub request: String,
    /// By which subject hallpass knows the approver.
    pub approver: String,
    /// When the approval was recorded, in milliseconds since 1970.
    pub decided_at: i64,
    /// The signature in its armor.
    pub signature: String,
    /// What was signed, if that is kept.
    pub text: Option<String>,
    /// Its SHA-512 in hex, if that was recorded.
    pub text_sha512: Option<String>,
    /// The fingerprint of the key that was recorded.
    pub signed_with: String,
    /// Whether it was recorded that somebody touched the key.
    pub user_present: bool,
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events.
    pub events: u64,
    /// Events of kinds that this version doesn't know.
    pub unknown: u64,
    /// Requests that were submitted.
    pub requests: u64,
    /// Approvals.
    pub approvals: u64,
    /// Those that are signed.
    pub signed: u64,
    /// Grants that were opened.
    pub grants: u64,
    /// Grants that aren't over.
    pub grants_open: u64,
    /// Texts that were looked at.
    pub texts: u64,
    /// Texts that aren't kept any more, or weren't handed in.
    pub texts_gone: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Replay {
    counts: Counts,
    findings: Findings,
    people: People,
    targets: HashMap<Box<str>, u32>,
    requests: HashMap<u128, request::Request>,
    grants: Grants,
    freezes: Freezes,
    /// A request was claimed: the next event opens its grant.
    claimed: Option<(u128, i64)>,
    /// So many grants have to begin to end by the configuration's change.
    removed: i64,
    /// The place of the last event, where not all of them are read.
    last_of_one: Option<u64>,
}

impl Replay {
    /// One that has read nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One that reads the events of one request only, in their order.
    #[must_use]
    pub fn of_one() -> Self {
        Self { last_of_one: Some(0), ..Self::default() }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts { grants_open: self.grants.open(), ..self.counts }
    }

    /// What can't be, as far as it is kept, and how much there is of it in all.
    #[must_use]
    pub fn findings(&self) -> (&[Finding], u64) {
        self.findings.all()
    }

    /// Takes the next leaf, and the texts beside it as JSON, if they are kept. Answers with an approval that is signed.
    pub fn take<'a>(
        &mut self,
        leaf: &'a str,
        texts: Option<&'a str>,
        room: &mut Room<'a>,
    ) -> Option<SignedApproval> {
        let Room { fields, texts: beside } = room;
        self.counts.events += 1;
        let number = self.counts.events;
        let Some(event) = read::event(leaf, fields) else {
            self.findings.find(number, String::new(), "isn't a leaf of this version in its one spelling");
            return None;
        };
        let (expected, is_next) = match &mut self.last_of_one {
            None => (number, event.sequence == number),
            Some(last) => {
                let is_later = event.sequence > *last;
                *last = event.sequence;
                (event.sequence, is_later)
            }
        };
        let place = Place {
            sequence: expected,
            request: event.request.map(|id| id.text),
            grant: event.grant.map(|id| id.text),
        };
        if !is_next {
            self.wrong(place, "names another place in the log: events are missing, or not in their order");
        }
        self.texts(place, &event, texts, beside);
        let text = |name: &str| beside.iter().find(|(field, _)| field == name).map(|(_, text)| text.as_ref());
        self.in_one_breath(place, &event);
        self.judge(place, &event, &text)
    }

    fn judge<'t>(
        &mut self,
        place: Place<'_>,
        event: &Event<'_>,
        text: &dyn Fn(&str) -> Option<&'t str>,
    ) -> Option<SignedApproval> {
        match event.kind.as_ref() {
            "RequestSubmitted" => self.submitted(place, event, text("reason")),
            "RequestApproved" => return self.approved(place, event, text),
            "RequestDenied" => self.denied(place, event),
            "RequestWithdrawn" => self.withdrawn(place, event),
            "RequestLapsed" => self.lapsed(place, event),
            "RequestClaimed" => self.request_claimed(place, event),
            "GrantOpened" => self.opened(place, event),
            "GrantTokenMinted" | "GrantLeaseRecorded" | "GrantActivated" => self.issued(place, event),
            "RevocationBegun" => self.begun(place, event),
            "RevocationRetried" | "RevocationOverdue" => self.ending(place, event),
            "GrantRevoked" | "GrantFailed" => self.over(place, event),
            "WrappingTokenOpened" => self.wrapping_opened(place, event),
            "TargetsFrozen" | "TargetsThawed" => self.frozen_or_thawed(place, event),
            "ConfigurationChanged" => self.configured(place, event),
            "AttemptRefused" => self.attempt_refused(place, event),
            "RecordingResumed" | "ReconciliationDone" | "UnknownLeaseFound" | "IdentityRefused"
            | "TextsErased" | "LedgerContradicted" => {
                self.must_be_the_daemon(place, event);
            }
            _ => self.counts.unknown += 1,
        }
        None
    }

    /// What the daemon records in one transaction stands together.
    fn in_one_breath(&mut self, place: Place<'_>, event: &Event<'_>) {
        if let Some((request, at)) = self.claimed {
            let fits = event.kind == "GrantOpened"
                && event.request.is_some_and(|id| id.number == request)
                && event.at == at
                && event.detail.flag("reissue") != Some(true);
            if !fits {
                self.claimed = None;
                self.wrong(place, "doesn't open the grant of the request that was claimed just before");
            }
        }
        if self.removed > 0 {
            let ends = event.kind == "RevocationBegun"
                && event.detail.text("cause").as_deref() == Some("TARGET_REMOVED");
            self.removed -= 1;
            if !ends {
                self.removed = 0;
                self.wrong(place, "isn't an end that the configuration's change just before tells of");
            }
        }
    }

    /// Reads the texts that stand beside a leaf, as far as they are those that the leaf has the digests of.
    fn texts<'t>(
        &mut self,
        place: Place<'_>,
        event: &Event<'_>,
        json: Option<&'t str>,
        texts: &mut Vec<(Text<'t>, Text<'t>)>,
    ) {
        texts.clear();
        let known = texts_of(&event.kind);
        if json.is_some_and(|json| read::texts(json, texts).is_none()) {
            texts.clear();
            self.wrong(place, "has texts beside it that can't be read");
        }
        texts.retain(|(name, text)| {
            self.counts.texts += 1;
            let digest = event.detail.digest(name).filter(|_| known.contains(&name.as_ref()));
            let fits = digest.is_some_and(|digest| Digest::of_text(text).is_written(&digest));
            self.must(place, fits, "has a text beside it that isn't the one that was recorded");
            fits
        });
        let recorded = known.iter().filter(|field| event.detail.digest(field).is_some()).count();
        self.counts.texts_gone += recorded.saturating_sub(texts.len()) as u64;
    }

    fn wrong(&mut self, place: Place<'_>, problem: &'static str) {
        self.findings.wrong(place, problem);
    }

    fn must(&mut self, place: Place<'_>, holds: bool, problem: &'static str) {
        self.findings.must(place, holds, problem);
    }

    /// The number of the person who did it; none, and a finding, if it was the daemon.
    fn person(&mut self, place: Place<'_>, event: &Event<'_>) -> Option<u32> {
        let Some(who) = &event.actor else {
            self.wrong(place, "must have been done by a person, and has the daemon as its actor");
            return None;
        };
        Some(self.people.number(&who.subject, &who.name))
    }

    fn must_be_the_daemon(&mut self, place: Place<'_>, event: &Event<'_>) {
        self.must(
            place,
            event.actor.is_none(),
            "must have been done by the daemon, and has a person as its actor",
        );
    }

    /// The number of the target that an event is about.
    fn target(&mut self, place: Place<'_>, event: &Event<'_>) -> Option<u32> {
        let name = event.target.as_ref()?;
        if let Some(known) = self.targets.get(name.as_ref()) {
            return Some(*known);
        }
        let fits = name.parse::<crate::access::target::TargetName>().is_ok();
        self.must(place, fits, "names a target by what is no target's name");
        let number = u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
        self.targets.insert(name.as_ref().into(), number);
        Some(number)
    }
}
