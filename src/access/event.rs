//! Audit events: immutable facts in the past tense. What they say is fixed here; how they are stored isn't.
//!
//! No fact holds a credential, a token, a lease id or an accessor. Handles are named by a keyed digest, so that someone
//! who has both the key and a handle can tell that they belong together, and nobody else learns anything.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{
    actor::Actor,
    approval::Digest,
    id::{GrantId, RequestId},
    revocation::{Cause, Step},
    target::TargetName,
};

/// The keyed digest of one of Vault's handles, in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct HandleDigest(pub String);

/// One fact, before it has its place in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub actor: Actor,
    /// What it is about.
    pub about: About,
    /// What happened.
    pub fact: Fact,
}

/// What an event is about. The ids of what it speaks of, as far as there is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct About {
    /// The request.
    pub request: Option<RequestId>,
    /// The grant.
    pub grant: Option<GrantId>,
    /// The target.
    pub target: Option<TargetName>,
}

/// What happened. The variants' names are the kinds that auditors see; `docs/audit.md` lists them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", content = "detail", rename_all_fields = "snake_case")]
pub enum Fact {
    /// A person asked for access.
    RequestSubmitted {
        /// The length of the window, in seconds.
        duration_seconds: u64,
        /// When the window may open first, if the requester said so.
        #[serde(skip_serializing_if = "Option::is_none")]
        not_before: Option<DateTime<Utc>>,
        /// Why.
        reason: String,
        /// The ticket.
        #[serde(skip_serializing_if = "Option::is_none")]
        ticket: Option<String>,
        /// The groups that made him a requester.
        groups: Vec<String>,
        /// How many distinct people have to approve.
        approvals_required: u32,
        /// Where the credential will come from.
        credential_path: String,
        /// The digest that decisions have to name.
        digest: String,
    },
    /// A person approved in writing.
    RequestApproved {
        /// What he wrote.
        statement: String,
        /// The digest of what he read.
        digest: String,
        /// How many people approved so far.
        approvals: usize,
        /// How many have to.
        approvals_required: u32,
        /// The groups that made him an approver.
        groups: Vec<String>,
        /// How long the window may be at most, if he shortened it.
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_seconds: Option<u64>,
        /// When it may open first, if he said so.
        #[serde(skip_serializing_if = "Option::is_none")]
        not_before: Option<DateTime<Utc>>,
        /// By when it must have opened, if he said so.
        #[serde(skip_serializing_if = "Option::is_none")]
        not_after: Option<DateTime<Utc>>,
        /// The fingerprint of the SSH key that it is signed with.
        #[serde(skip_serializing_if = "Option::is_none")]
        signed_with: Option<String>,
        /// Whether that is a hardware key that was touched for it.
        #[serde(skip_serializing_if = "Option::is_none")]
        user_present: Option<bool>,
        /// What was signed.
        #[serde(skip_serializing_if = "Option::is_none")]
        signed_text: Option<String>,
        /// Its SHA-512 in hex, with which the signature can be verified when the text is gone.
        #[serde(skip_serializing_if = "Option::is_none")]
        signed_text_sha512: Option<String>,
        /// The signature, as `ssh-keygen -Y sign` writes it.
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    /// A person denied in writing.
    RequestDenied {
        /// What he wrote.
        statement: String,
        /// The digest of what he read.
        digest: String,
    },
    /// The requester took it back.
    RequestWithdrawn {},
    /// Its time was over.
    RequestLapsed {
        /// The state that it lapsed in.
        while_in: &'static str,
    },
    /// Its requester claimed it.
    RequestClaimed {},
    /// The window opened, and the intent to issue was recorded. Nothing was asked of Vault yet.
    GrantOpened {
        /// When the window opens.
        opens_at: DateTime<Utc>,
        /// When it closes.
        closes_at: DateTime<Utc>,
        /// Whether the same request was issued for before.
        reissue: bool,
    },
    /// Vault made the grant's token.
    GrantTokenMinted {
        /// Its accessor's digest.
        accessor_digest: HandleDigest,
    },
    /// Vault made the credential and wrapped it; its lease was found.
    GrantLeaseRecorded {
        /// The lease id's digest.
        lease_digest: HandleDigest,
        /// The digest of the wrapping token's accessor.
        wrapping_digest: HandleDigest,
    },
    /// All clocks agree with the window; the wrapping token goes to the holder.
    GrantActivated {},
    /// The grant began to end.
    RevocationBegun {
        /// Why.
        cause: Cause,
        /// What the person who did it wrote, if anything.
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A try to end it got no further than this. Recorded when that differs from the try before.
    RevocationRetried {
        /// The step that has to succeed next.
        step: Step,
        /// What it ran into.
        error: String,
    },
    /// An ending takes longer than it may. Told again at growing intervals.
    RevocationOverdue {
        /// Since when it is ending.
        begun_at: DateTime<Utc>,
        /// The step that has to succeed next.
        step: Step,
        /// What the last try ran into, if there was one.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// The how-manieth alarm about it this is.
        alarms: u32,
    },
    /// A wrapping token had been opened before its holder could.
    WrappingTokenOpened {
        /// Who noticed: `HOLDER`, who couldn't open it, or `CLAIM`, when it was issued again.
        noticed_by: &'static str,
    },
    /// Vault has a lease below a credential path that no grant knows of.
    UnknownLeaseFound {
        /// The path.
        credential_path: String,
        /// The lease id's digest.
        lease_digest: HandleDigest,
        /// Whether it was revoked, and Vault confirmed that it is gone.
        revoked: bool,
    },
    /// Vault and the records were compared.
    ReconciliationDone {
        /// How many leases Vault has below the credential paths.
        leases: u64,
        /// How many of them no grant knows of.
        unknown: u64,
        /// How many held grants had lost their lease, and are ending now.
        vanished: u64,
        /// How many leases Vault has given up revoking, in the mounts of the credential paths; unknown if it didn't say.
        #[serde(skip_serializing_if = "Option::is_none")]
        gave_up: Option<u64>,
        /// What Vault's clock is ahead by, in milliseconds; unknown if it didn't say.
        #[serde(skip_serializing_if = "Option::is_none")]
        vault_clock_ahead_ms: Option<i64>,
        /// The credential paths that Vault gave no answer about.
        unanswered: Vec<String>,
    },
    /// Events could be recorded again. What ended meanwhile is recorded after this, with the times at which it happened.
    RecordingResumed {
        /// Since when nothing could be recorded.
        lost_from: DateTime<Utc>,
        /// How many ends follow.
        kept: u64,
        /// How many more there were than could be kept. Their grants' ends are recorded when they are found.
        dropped: u64,
    },
    /// Vault confirmed that the grant is over.
    GrantRevoked {
        /// Why it ended.
        cause: Cause,
        /// What the confirmation rests on.
        confirmation: &'static str,
        /// The digest of the lease that is gone.
        lease_digest: HandleDigest,
    },
    /// Nothing was delivered, and nothing is left of what may have been issued.
    GrantFailed {
        /// Why it ended.
        cause: Cause,
        /// What the confirmation rests on.
        confirmation: &'static str,
    },
    /// Another configuration is in force than before. What the log has behind this was decided by it.
    ConfigurationChanged {
        /// What led to it: `START`, `SIGNAL` or `COMMAND`.
        occasion: &'static str,
        /// The SHA-256 of the file: `sha256:` and hex.
        digest: String,
        /// That of the one before, if there was one.
        #[serde(skip_serializing_if = "Option::is_none")]
        former_digest: Option<String>,
        /// The keys and sections that it has and the one before hadn't; at a start that isn't known.
        added: Vec<String>,
        /// The keys and sections that the one before had and it hasn't.
        removed: Vec<String>,
        /// The keys that say something else.
        changed: Vec<String>,
        /// How many grants are ending by it, because their targets are gone.
        ended: u64,
    },
    /// Nothing more is granted of what this covers.
    TargetsFrozen {
        /// The target's name, or `*` for all.
        extent: String,
        /// Why.
        reason: String,
        /// Whether what is held ends, too.
        ends_grants: bool,
    },
    /// A freeze is over.
    TargetsThawed {
        /// The target's name, or `*` for all.
        extent: String,
        /// Why.
        reason: String,
    },
    /// Texts were replaced by their digests, because they were kept for as long as they are to be.
    TextsErased {
        /// What was over before this.
        until: DateTime<Utc>,
        /// The requests that are without their texts now, and those of their decisions and grants.
        requests: Vec<String>,
        /// The freezes that are.
        freezes: Vec<String>,
        /// How many texts of events are gone.
        texts: u64,
    },
    /// A witness knows more of the log than there is, or another log.
    LedgerContradicted {
        /// The log's name.
        origin: String,
        /// The witness, by its name in the configuration.
        witness: String,
        /// `BEHIND` if the witness knows a larger log, `FORKED` if another one.
        problem: &'static str,
        /// How many events the last checkpoint here is about.
        size: u64,
        /// How many the one is about that the witness kept, if it said.
        #[serde(skip_serializing_if = "Option::is_none")]
        witness_size: Option<u64>,
    },
    /// A known person tried what he may not do.
    AttemptRefused {
        /// What he tried.
        verb: &'static str,
        /// Why it was refused: the `ErrorInfo` reason.
        reason: &'static str,
        /// What is wrong with the signature, if it is that.
        #[serde(skip_serializing_if = "Option::is_none")]
        problem: Option<String>,
    },
    /// A call came with a token that isn't to be trusted.
    IdentityRefused {
        /// The method that was called.
        method: String,
        /// The network address that the call came from, if there is one.
        #[serde(skip_serializing_if = "Option::is_none")]
        client_address: Option<String>,
        /// What is wrong with the token.
        error: String,
        /// How many such calls since the last event of this kind were only logged.
        unrecorded: u64,
    },
}

impl Fact {
    /// The kind's name, and everything else as JSON, with the digest of each text beside it.
    #[must_use]
    pub fn parts(&self) -> (String, Value) {
        let mut whole = serde_json::to_value(self).unwrap_or_default();
        let kind = whole.get("kind").and_then(|kind| kind.as_str()).unwrap_or_default().to_owned();
        let mut detail = whole.get_mut("detail").map(Value::take).unwrap_or_default();
        add_digests(&kind, &mut detail);
        (kind, detail)
    }
}

/// The fields of a kind's detail that are texts: what people wrote, word for word. The log is bound to them by their
/// digests, so that they need not be kept for as long as the log is.
#[must_use]
pub fn texts_of(kind: &str) -> &'static [&'static str] {
    match kind {
        "RequestSubmitted" | "RevocationBegun" | "TargetsFrozen" | "TargetsThawed" => &["reason"],
        "RequestApproved" => &["signed_text", "statement"],
        "RequestDenied" => &["statement"],
        _ => &[],
    }
}

/// The name of the field with a text's digest.
#[must_use]
pub fn digest_field(text: &str) -> String {
    format!("{text}_digest")
}

/// A text's digest: `sha256:` and the SHA-256 of its UTF-8 in hex.
#[must_use]
pub fn digest_of(text: &str) -> String {
    Digest::of_text(text).to_string()
}

/// Puts the digest of each text that a detail has beside it.
pub fn add_digests(kind: &str, detail: &mut Value) {
    let Some(fields) = detail.as_object_mut() else { return };
    for text in texts_of(kind) {
        if let Some(digest) = fields.get(*text).and_then(Value::as_str).map(digest_of) {
            fields.insert(digest_field(text), digest.into());
        }
    }
}

/// An event with its place in the log, as it is read back.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Its place: 1, 2, 3, … without gaps.
    pub sequence: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Who did it.
    pub actor: Actor,
    /// What it is about.
    pub about: About,
    /// What happened.
    pub kind: String,
    /// What else is known: an object, with the texts as far as they are kept, and their digests.
    pub detail: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fact_has_a_kind_and_a_detail() {
        let (kind, detail) = Fact::RequestLapsed { while_in: "PENDING" }.parts();
        assert_eq!(kind, "RequestLapsed");
        assert_eq!(detail, serde_json::json!({ "while_in": "PENDING" }));
        let (kind, detail) = Fact::GrantActivated {}.parts();
        assert_eq!((kind.as_str(), detail), ("GrantActivated", serde_json::json!({})));
    }

    #[test]
    fn a_text_has_its_digest_beside_it() {
        let fact = Fact::RequestDenied { statement: "abc".into(), digest: "d".into() };
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(
            fact.parts().1,
            serde_json::json!({ "statement": "abc", "statement_digest": expected, "digest": "d" })
        );
    }
}
