//! A request's row: which columns a state has, in both directions. The table's CHECKs say the same.

use std::{collections::BTreeSet, time::Duration};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::FromRow;

use super::rows::{Problem, corrupt, id, instant, millis, person, target};
use crate::{
    access::{
        approval::{Approval, Decision, Denial, Digest},
        approval_text::ApprovalText,
        kept::{Erased, Reason, Text},
        request::{Ask, Request, State},
        signing::Signed,
        terms::Terms,
        text::{IdempotencyKey, Prose, Ticket},
    },
    store::StoreError,
};

/// The columns of `requests r` that a request consists of, but for its decisions, which come beside them as a JSON list of
/// objects with the names of [`DecisionRow`]'s fields.
pub(in crate::store) const COLUMNS: &str = "\
    r.id, r.target, r.credential_path, r.requester_subject, r.requester_name, r.duration_seconds, r.reason, r.ticket, \
    r.approvals_required, r.submitted_at, r.not_before, r.groups, r.idempotency_key, r.state, r.revision, r.lapses_at, \
    r.approved_at, r.withdrawn_at, r.lapsed_at, r.claimed_at, r.texts_erased_at, r.digest";

#[derive(FromRow)]
pub(in crate::store) struct RequestRow {
    id: String,
    target: String,
    credential_path: String,
    requester_subject: String,
    requester_name: String,
    duration_seconds: i64,
    reason: String,
    ticket: Option<String>,
    approvals_required: i64,
    submitted_at: i64,
    not_before: Option<i64>,
    groups: String,
    idempotency_key: Option<String>,
    state: String,
    revision: i64,
    #[sqlx(flatten)]
    times: Times,
    texts_erased_at: Option<i64>,
    digest: Option<String>,
    decisions: String,
}

/// The instants that only some states have.
#[derive(Default, FromRow, Serialize)]
#[expect(clippy::struct_field_names, reason = "they are the columns' names, and those end in what they are")]
pub(in crate::store) struct Times {
    pub(in crate::store) lapses_at: Option<i64>,
    pub(in crate::store) approved_at: Option<i64>,
    pub(in crate::store) withdrawn_at: Option<i64>,
    pub(in crate::store) lapsed_at: Option<i64>,
    pub(in crate::store) claimed_at: Option<i64>,
}

#[derive(Deserialize)]
struct DecisionRow {
    verdict: String,
    approver_subject: String,
    approver_name: String,
    statement: String,
    digest: String,
    decided_at: i64,
    groups: BTreeSet<String>,
    duration_seconds: Option<i64>,
    not_before: Option<i64>,
    not_after: Option<i64>,
    #[serde(flatten)]
    signed: SignedColumns,
    texts_erased_at: Option<i64>,
}

/// The columns that only signed approvals have.
#[derive(Default, Deserialize, Serialize)]
pub(in crate::store) struct SignedColumns {
    pub(in crate::store) signed_text: Option<String>,
    pub(in crate::store) signature: Option<String>,
    pub(in crate::store) signed_with: Option<String>,
    pub(in crate::store) user_present: Option<i64>,
}

impl SignedColumns {
    /// The columns that a decision has.
    pub(in crate::store) fn of(decision: &Decision) -> Self {
        let Some(signed) = &decision.signed else { return Self::default() };
        Self {
            signed_text: signed.text.kept().map(ToString::to_string),
            signature: Some(signed.signature.clone()),
            signed_with: Some(signed.key.clone()),
            user_present: Some(i64::from(signed.present)),
        }
    }

    /// All of them or none; every other combination is refused.
    fn read(self, erased_at: Option<DateTime<Utc>>) -> Result<Option<Box<Signed>>, Problem> {
        let Self { signed_text, signature, signed_with, user_present } = self;
        match (signed_text, signature, signed_with, user_present) {
            (None, None, None, None) => Ok(None),
            (Some(text), Some(signature), Some(key), Some(present @ (0 | 1))) => {
                let parse =
                    |text: &str| ApprovalText::parse(text).map_err(|_| "a signed text isn't canonical");
                let text = kept_or_erased(&text, erased_at, parse)?;
                Ok(Some(Box::new(Signed { text, signature, key, present: present == 1 })))
            }
            _ => Err("a decision's signature isn't whole"),
        }
    }
}

impl RequestRow {
    /// The request.
    pub(in crate::store) fn read(self, operation: &'static str) -> Result<Request, StoreError> {
        let what = format!("request {}", self.id);
        self.request().map_err(|problem| corrupt(operation, what, problem))
    }

    fn request(self) -> Result<Request, Problem> {
        let (approvals, denial) = decisions(&self.decisions, self.texts_erased_at)?;
        let state = state(&self.state, &self.times, denial)?;
        let ask = Ask {
            target: target(&self.target)?,
            credential_path: self.credential_path,
            requester: person(self.requester_subject, self.requester_name),
            groups: groups(&self.groups)?,
            duration: duration(self.duration_seconds)?,
            reason: reason(&self.reason, self.texts_erased_at, self.digest.as_deref())?,
            ticket: self.ticket.as_deref().map(ticket).transpose()?,
            approvals_required: self
                .approvals_required
                .try_into()
                .map_err(|_| "approvals_required is off")?,
            submitted_at: instant(self.submitted_at)?,
            not_before: self.not_before.map(instant).transpose()?,
            key: self.idempotency_key.as_deref().map(key).transpose()?,
        };
        Ok(Request { id: id(&self.id)?, ask, approvals, state, revision: self.revision })
    }
}

impl Times {
    /// The columns that a state has.
    pub(in crate::store) fn of(state: &State) -> Self {
        let mut times = Self { lapses_at: state.lapses_at().map(millis), ..Self::default() };
        match state {
            // A denial stands among the decisions.
            State::Pending { .. } | State::Denied { .. } => {}
            State::Approved { approved_at, .. } => times.approved_at = Some(millis(*approved_at)),
            State::Withdrawn { withdrawn_at } => times.withdrawn_at = Some(millis(*withdrawn_at)),
            State::Lapsed { lapsed_at } => times.lapsed_at = Some(millis(*lapsed_at)),
            State::Claimed { claimed_at } => times.claimed_at = Some(millis(*claimed_at)),
        }
        times
    }
}

/// The one place where nulls become a state; every combination that isn't one is refused.
fn state(name: &str, times: &Times, denial: Option<Denial>) -> Result<State, Problem> {
    let Times { lapses_at, approved_at, withdrawn_at, lapsed_at, claimed_at } = *times;
    let times = (lapses_at, approved_at, withdrawn_at, lapsed_at, claimed_at);
    Ok(match (name, times, denial) {
        ("PENDING", (Some(at), None, None, None, None), None) => State::Pending { lapses_at: instant(at)? },
        ("APPROVED", (Some(at), Some(approved_at), None, None, None), None) => {
            State::Approved { approved_at: instant(approved_at)?, lapses_at: instant(at)? }
        }
        ("DENIED", (None, None, None, None, None), Some(denial)) => State::Denied { denial },
        ("WITHDRAWN", (None, None, Some(at), None, None), None) => {
            State::Withdrawn { withdrawn_at: instant(at)? }
        }
        ("LAPSED", (None, None, None, Some(at), None), None) => State::Lapsed { lapsed_at: instant(at)? },
        ("CLAIMED", (None, None, None, None, Some(at)), None) => State::Claimed { claimed_at: instant(at)? },
        _ => return Err("its columns fit no state"),
    })
}

/// The approvals in the order they came, and the denial, which can only be the last decision.
fn decisions(json: &str, texts_erased_at: Option<i64>) -> Result<(Vec<Approval>, Option<Denial>), Problem> {
    let rows: Vec<DecisionRow> = serde_json::from_str(json).map_err(|_| "its decisions are malformed")?;
    let (mut approvals, mut denial) = (Vec::new(), None);
    for row in rows {
        let verdict = row.verdict.clone();
        if row.texts_erased_at != texts_erased_at {
            return Err("only some of its texts are erased");
        }
        let decision = row.decision()?;
        match (verdict.as_str(), &denial) {
            ("APPROVED", None) => approvals.push(Approval::recorded(decision)),
            ("DENIED", None) if decision.signed.is_none() && decision.terms == Terms::default() => {
                denial = Some(Denial::recorded(decision));
            }
            _ => return Err("its decisions contradict each other"),
        }
    }
    Ok((approvals, denial))
}

impl DecisionRow {
    fn terms(&self) -> Result<Terms, Problem> {
        Ok(Terms {
            duration: self.duration_seconds.map(duration).transpose()?,
            not_before: self.not_before.map(instant).transpose()?,
            not_after: self.not_after.map(instant).transpose()?,
        })
    }

    fn decision(self) -> Result<Decision, Problem> {
        let terms = self.terms()?;
        let erased_at = self.texts_erased_at.map(instant).transpose()?;
        Ok(Decision {
            approver: person(self.approver_subject, self.approver_name),
            statement: kept_or_erased(&self.statement, erased_at, prose)?,
            digest: digest(&self.digest)?,
            decided_at: instant(self.decided_at)?,
            groups: self.groups,
            terms,
            signed: self.signed.read(erased_at)?,
        })
    }
}

fn duration(seconds: i64) -> Result<Duration, Problem> {
    u64::try_from(seconds).map(Duration::from_secs).map_err(|_| "its duration is negative")
}

fn groups(json: &str) -> Result<BTreeSet<String>, Problem> {
    serde_json::from_str(json).map_err(|_| "its groups are malformed")
}

/// A text as it was written, or the digest that has its place.
fn kept_or_erased<T>(
    text: &str,
    erased_at: Option<DateTime<Utc>>,
    read: impl Fn(&str) -> Result<T, Problem>,
) -> Result<Text<T>, Problem> {
    match erased_at {
        None => read(text).map(Text::Kept),
        Some(erased_at) => Ok(Text::Erased(Erased { digest: digest(text)?, erased_at })),
    }
}

/// Why, and without it what is in its place: its digest and the request's, both or neither.
fn reason(text: &str, erased_at: Option<i64>, request: Option<&str>) -> Result<Reason, Problem> {
    match (erased_at, request) {
        (None, None) => prose(text).map(Reason::Kept),
        (Some(at), Some(request)) => {
            let text = Erased { digest: digest(text)?, erased_at: instant(at)? };
            Ok(Reason::Erased { text, request: digest(request)? })
        }
        _ => Err("its reason isn't wholly erased"),
    }
}

fn digest(text: &str) -> Result<Digest, Problem> {
    Digest::parse(text).ok_or("a digest is malformed")
}

fn prose(text: &str) -> Result<Prose, Problem> {
    // Reading must not repair: the digest is over the text as it was.
    Prose::recorded(text).ok_or("a text breaks the rules for texts")
}

fn ticket(text: &str) -> Result<Ticket, Problem> {
    Ticket::recorded(text).ok_or("its ticket breaks the rules for tickets")
}

fn key(text: &str) -> Result<IdempotencyKey, Problem> {
    IdempotencyKey::new(text).ok().flatten().ok_or("its idempotency key breaks the rules for keys")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::tests::raw as rows;

    /// Bit by bit: `lapses_at`, `approved_at`, `withdrawn_at`, `lapsed_at`, `claimed_at`.
    fn times(bits: u32) -> Times {
        let set = |bit: u32| (bits & (1 << bit) != 0).then_some(1);
        Times {
            lapses_at: set(0),
            approved_at: set(1),
            withdrawn_at: set(2),
            lapsed_at: set(3),
            claimed_at: set(4),
        }
    }

    /// Every combination of set columns, for every name, without and with a denial: only one each is a state.
    #[test]
    fn one_combination_of_columns_per_state() {
        let mut read = Vec::new();
        for name in ["PENDING", "APPROVED", "DENIED", "WITHDRAWN", "LAPSED", "CLAIMED", "pending", ""] {
            for bits in 0_u32..64 {
                if let Ok(state) = state(name, &times(bits), (bits & 32 != 0).then(denial)) {
                    assert_eq!(state.name(), name);
                    read.push((name, bits));
                }
            }
        }
        let expected = [
            ("PENDING", 1),
            ("APPROVED", 3),
            ("DENIED", 32),
            ("WITHDRAWN", 4),
            ("LAPSED", 8),
            ("CLAIMED", 16),
        ];
        assert_eq!(read, expected);
    }

    /// The table takes exactly the rows that can be read. The triggers, which judge moves rather than rows, are off.
    #[tokio::test]
    async fn the_table_says_the_same() {
        let update = "UPDATE requests SET state = ?, lapses_at = ?, approved_at = ?, withdrawn_at = ?, lapsed_at = ?, \
                      claimed_at = ?";
        let (_directory, mut raw) = rows::one_of_each().await;
        for name in ["PENDING", "APPROVED", "DENIED", "WITHDRAWN", "LAPSED", "CLAIMED", "pending", ""] {
            for bits in 0_u32..32 {
                let times = times(bits);
                let update = sqlx::query(update).bind(name).bind(times.lapses_at).bind(times.approved_at);
                let update = update.bind(times.withdrawn_at).bind(times.lapsed_at).bind(times.claimed_at);
                let taken = update.execute(&mut raw).await.is_ok();
                let denial = (name == "DENIED").then(denial);
                assert_eq!(taken, state(name, &times, denial).is_ok(), "{name} {bits:#b}");
            }
        }
    }

    /// Of what makes up a signature all is there or nothing; and a denial has none.
    #[tokio::test]
    async fn the_table_says_the_same_of_signatures() {
        let insert = "INSERT INTO decisions (request_id, position, verdict, approver_subject, approver_name, statement, \
                                            digest, decided_at, signed_text, signature, signed_with, user_present) \
                      VALUES ('00000000000000000000000000', 1, ?, 's', 'n', 'x', ?, 0, ?, ?, ?, ?)";
        let text = "hallpass-approval v1\nrequest: 00000000000000000000000000\ndigest: {}\ntarget: t\nrequester: s\n\
                    requester-name: n\nwindow-seconds: 1\napprover: s\ntime: 1970-01-01T00:00:00Z\n\
                    statement-bytes: 1\n\nx\n";
        let digest = format!("sha256:{}", "0".repeat(64));
        let text = text.replace("{}", &digest);
        let (_directory, mut raw) = rows::one_of_each().await;
        for verdict in ["APPROVED", "DENIED"] {
            for bits in 0_u32..32 {
                let set = |bit: u32| bits & (1 << bit) != 0;
                let columns = SignedColumns {
                    signed_text: set(0).then(|| text.clone()),
                    signature: set(1).then(|| "signature".to_owned()),
                    signed_with: set(2).then(|| format!("SHA256:{}", "x".repeat(43))),
                    user_present: set(3).then_some(if set(4) { 2 } else { 1 }),
                };
                sqlx::raw_sql("SAVEPOINT one").execute(&mut raw).await.unwrap();
                let row = sqlx::query(insert).bind(verdict).bind(&digest).bind(&columns.signed_text);
                let row = row.bind(&columns.signature).bind(&columns.signed_with).bind(columns.user_present);
                let taken = row.execute(&mut raw).await.is_ok();
                sqlx::raw_sql("ROLLBACK TO one; RELEASE one").execute(&mut raw).await.unwrap();
                let read = columns.read(None);
                let fits = read.is_ok_and(|signed| signed.is_none() || verdict == "APPROVED");
                assert_eq!(taken, fits, "{verdict} {bits:#b}");
            }
        }
    }

    #[test]
    fn reading_repairs_nothing() {
        assert!(prose("as written").is_ok());
        assert!(prose(" as written").is_err());
        assert!(prose("as\r\nwritten").is_err());
        assert!(ticket("").is_err());
        assert!(key("a b").is_err());
    }

    fn denial() -> Denial {
        Denial::recorded(Decision {
            approver: person("s".into(), "n".into()),
            statement: prose("no").unwrap().into(),
            digest: Digest::parse(&format!("sha256:{}", "0".repeat(64))).unwrap(),
            decided_at: instant(1).unwrap(),
            groups: BTreeSet::new(),
            terms: Terms::default(),
            signed: None,
        })
    }
}
