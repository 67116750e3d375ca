//! What becomes of requests, and who may have a part in it.

use chrono::{DateTime, Utc};

use super::{Event, Id, Place, Replay, SignedApproval, Text};
use crate::access::{approval::Digest, approval_text::ApprovalText, request::Asked};

/// A request, as far as it matters what comes next.
#[derive(Debug)]
pub(super) enum Request {
    /// It waits, for decisions or to be claimed.
    Waiting(Box<Waiting>),
    /// It was claimed, and may be claimed again.
    Claimed(Box<Claimed>),
    /// Nothing can become of it any more.
    Over,
}

/// What was asked, and who said yes.
#[derive(Debug)]
pub(super) struct Waiting {
    requester: u32,
    target: Option<u32>,
    asked: Terms,
    /// What is left of it by the approvals.
    duration: Option<u64>,
    required: Option<i64>,
    digest: Option<Box<str>>,
    approvers: Vec<u32>,
    /// The latest beginning and the earliest end of the time in which the window may open.
    not_before: Option<i64>,
    not_after: Option<i64>,
}

/// The terms that were asked for.
#[derive(Clone, Copy, Debug)]
struct Terms {
    duration: Option<u64>,
    not_before: Option<i64>,
}

/// Whose grants they are.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) requester: u32,
    pub(super) target: Option<u32>,
    /// How long the window is to be, in seconds, if that is known.
    pub(super) duration: Option<u64>,
    /// The window of the first grant, in milliseconds.
    pub(super) window: Option<(i64, i64)>,
    /// The last grant.
    pub(super) last: Option<u128>,
}

impl Waiting {
    fn has_enough(&self) -> bool {
        self.required.is_none_or(|required| self.approvers.len() as u64 >= required.unsigned_abs())
    }
}

impl Replay {
    pub(super) fn submitted(&mut self, place: Place<'_>, event: &Event<'_>, reason: Option<&str>) {
        self.counts.requests += 1;
        let requester = self.person(place, event);
        let target = self.target(place, event);
        let (Some(id), Some(requester), Some(_)) = (event.request, requester, target) else {
            return self.wrong(place, "doesn't say who asks for what");
        };
        let detail = &event.detail;
        let duration = detail.number("duration_seconds");
        self.must(place, duration.is_some_and(|seconds| seconds > 0), "asks for no time");
        let digest = detail.text("digest");
        if let (Some(reason), Some(digest)) = (reason, &digest)
            && let Some(computed) = computed(event, id, reason)
        {
            self.must(place, computed.is_written(digest), "has a digest that isn't that of what was asked");
        }
        let asked =
            Terms { duration: duration.map(i64::unsigned_abs), not_before: detail.instant("not_before") };
        let waiting = Waiting {
            requester,
            target,
            asked,
            duration: asked.duration,
            required: detail.number("approvals_required"),
            digest: digest.map(Into::into),
            approvers: Vec::new(),
            not_before: asked.not_before,
            not_after: None,
        };
        let before = self.requests.insert(id.number, Request::Waiting(Box::new(waiting)));
        self.must(place, before.is_none(), "submits a request that was submitted before");
    }

    pub(super) fn approved<'t>(
        &mut self,
        place: Place<'_>,
        event: &Event<'_>,
        text: &dyn Fn(&str) -> Option<&'t str>,
    ) -> Option<SignedApproval> {
        self.counts.approvals += 1;
        let approver = self.person(place, event)?;
        let mut waiting = self.waiting(place, event, "approves")?;
        self.decided(place, event, approver, &waiting);
        let detail = &event.detail;
        for given in &waiting.approvers {
            let again = self.people.are_one(*given, approver);
            self.must(place, !again, "is the second approval of one person");
        }
        waiting.approvers.push(approver);
        let counted = detail
            .number("approvals")
            .is_none_or(|counted| counted.unsigned_abs() == waiting.approvers.len() as u64);
        self.must(place, counted, "counts the approvals wrongly");
        let required = detail.number("approvals_required");
        let same = required.is_none() || waiting.required.is_none() || required == waiting.required;
        self.must(place, same, "requires another number of approvals than was asked");
        let shortened = detail.number("duration_seconds").map(i64::unsigned_abs);
        let longer = shortened.zip(waiting.asked.duration).is_some_and(|(own, asked)| own > asked);
        self.must(place, !longer, "allows more than was asked");
        waiting.duration = least(shortened, waiting.duration);
        waiting.not_before = detail.instant("not_before").max(waiting.not_before);
        waiting.not_after = least(detail.instant("not_after"), waiting.not_after);
        let signed = self.signature(place, event, &waiting, text);
        self.put_back(event, waiting);
        signed
    }

    pub(super) fn denied(&mut self, place: Place<'_>, event: &Event<'_>) {
        let Some(approver) = self.person(place, event) else { return };
        let Some(waiting) = self.waiting(place, event, "denies") else { return };
        self.decided(place, event, approver, &waiting);
        self.ended(event);
    }

    pub(super) fn withdrawn(&mut self, place: Place<'_>, event: &Event<'_>) {
        let Some(person) = self.person(place, event) else { return };
        let Some(waiting) = self.waiting(place, event, "withdraws") else { return };
        let own = self.people.own(person, waiting.requester);
        self.must(place, own, "withdraws another person's request");
        self.ended(event);
    }

    pub(super) fn lapsed(&mut self, place: Place<'_>, event: &Event<'_>) {
        self.must_be_the_daemon(place, event);
        let Some(waiting) = self.waiting(place, event, "lapses") else { return };
        let fits = match event.detail.text("while_in").as_deref() {
            Some("APPROVED") => waiting.has_enough(),
            Some("PENDING") | None => true,
            Some(_) => false,
        };
        self.must(place, fits, "lapses in a state that the request can't have been in");
        self.ended(event);
    }

    pub(super) fn request_claimed(&mut self, place: Place<'_>, event: &Event<'_>) {
        let Some(person) = self.person(place, event) else { return };
        let Some(waiting) = self.waiting(place, event, "claims") else { return };
        self.must(place, person == waiting.requester, "claims another person's request");
        let enough = waiting.has_enough() && !waiting.approvers.is_empty();
        self.must(place, enough, "claims a request that wasn't approved by enough people");
        let in_time = waiting.not_before.is_none_or(|from| from <= event.at)
            && waiting.not_after.is_none_or(|until| event.at < until);
        self.must(place, in_time, "claims at a time at which it wasn't allowed");
        let claimed = Claimed {
            requester: waiting.requester,
            target: waiting.target,
            duration: waiting.duration,
            window: None,
            last: None,
        };
        if let Some(id) = event.request {
            self.claimed = Some((id.number, event.at));
            self.requests.insert(id.number, Request::Claimed(Box::new(claimed)));
        }
    }

    /// Who decides, and what: another person, and what was asked.
    fn decided(&mut self, place: Place<'_>, event: &Event<'_>, approver: u32, waiting: &Waiting) {
        let own = self.people.are_one(approver, waiting.requester);
        self.must(place, !own, "decides on the person's own request");
        let digest = event.detail.text("digest");
        let same =
            digest.is_none() || waiting.digest.is_none() || digest.as_deref() == waiting.digest.as_deref();
        self.must(place, same, "names another digest than the request's");
    }

    /// Takes the request out that an event is about, if it waits.
    fn waiting(&mut self, place: Place<'_>, event: &Event<'_>, does: &'static str) -> Option<Box<Waiting>> {
        let target = self.target(place, event);
        match event.request.and_then(|id| Some((id, self.requests.remove(&id.number)?))) {
            Some((_, Request::Waiting(waiting))) => {
                self.must(place, waiting.target == target, "is about another target than the request");
                Some(waiting)
            }
            Some((id, other)) => {
                self.requests.insert(id.number, other);
                self.wrong(place, not_waiting(does));
                None
            }
            None => {
                self.wrong(place, "is about a request that was never submitted");
                None
            }
        }
    }

    fn put_back(&mut self, event: &Event<'_>, waiting: Box<Waiting>) {
        if let Some(id) = event.request {
            self.requests.insert(id.number, Request::Waiting(waiting));
        }
    }

    fn ended(&mut self, event: &Event<'_>) {
        if let Some(id) = event.request {
            self.requests.insert(id.number, Request::Over);
        }
    }

    /// The signature of an approval, if it has one; and whether what was signed is that approval.
    fn signature<'t>(
        &mut self,
        place: Place<'_>,
        event: &Event<'_>,
        waiting: &Waiting,
        text: &dyn Fn(&str) -> Option<&'t str>,
    ) -> Option<SignedApproval> {
        let (detail, who) = (&event.detail, event.actor.as_ref()?);
        let (Some(key), Some(present)) = (detail.text("signed_with"), detail.flag("user_present")) else {
            let none = !detail.has("signed_with") && !detail.has("signature") && !detail.has("user_present");
            self.must(place, none, "has a part of a signature, and not all of it");
            return None;
        };
        self.counts.signed += 1;
        let signed = text("signed_text");
        if let Some(signed) = signed {
            let fits = ApprovalText::parse(signed)
                .is_ok_and(|signed| self.is_of(&signed, event, waiting, text("statement")));
            self.must(place, fits, "was signed as another approval than was recorded");
        }
        // Before signatures stood in the log, only the key did.
        let signature = detail.text("signature")?;
        Some(SignedApproval {
            sequence: place.sequence,
            request: place.request.unwrap_or_default().to_owned(),
            approver: who.subject.clone().into_owned(),
            decided_at: event.at,
            signature: signature.into_owned(),
            text: signed.map(str::to_owned),
            text_sha512: detail.text("signed_text_sha512").map(Text::into_owned),
            signed_with: key.into_owned(),
            user_present: present,
        })
    }

    /// Whether what was signed is of this approval.
    fn is_of(
        &self,
        signed: &ApprovalText,
        event: &Event<'_>,
        waiting: &Waiting,
        statement: Option<&str>,
    ) -> bool {
        let (detail, second) = (&event.detail, |at: i64| at.div_euclid(1000));
        let approver = event.actor.as_ref().map(|who| who.subject.as_ref());
        let head = event.request.is_some_and(|id| id.text == signed.request.to_string())
            && waiting.digest.as_deref().is_none_or(|digest| digest == signed.digest.to_string())
            && event.target.as_deref() == Some(signed.target.as_str())
            && self.people.get(waiting.requester) == Some(&signed.requester)
            && approver == Some(signed.approver.as_str())
            && statement.is_none_or(|statement| statement == signed.statement.as_str());
        let at = |at: Option<DateTime<Utc>>| at.map(|at| at.timestamp());
        let from = detail.instant("not_before").max(waiting.asked.not_before).map(second);
        let until = detail.instant("not_after").map(second);
        let duration =
            least(detail.number("duration_seconds").map(i64::unsigned_abs), waiting.asked.duration);
        let terms = duration.is_none_or(|seconds| seconds == signed.window.as_secs())
            && at(signed.window_from) == from
            && at(signed.window_until) == until;
        head && terms
    }
}

const fn not_waiting(does: &'static str) -> &'static str {
    match does.as_bytes() {
        b"approves" => "approves a request that doesn't wait for decisions any more",
        b"denies" => "denies a request that doesn't wait for decisions any more",
        b"withdraws" => "withdraws a request that is over or claimed",
        b"lapses" => "lets a request lapse that is over or claimed",
        _ => "claims a request that is over or was claimed before",
    }
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The digest of what was asked, if all of it is recorded.
fn computed(event: &Event<'_>, id: Id<'_>, reason: &str) -> Option<Digest> {
    let (detail, who) = (&event.detail, event.actor.as_ref()?);
    let (ticket, credential_path) = (detail.text("ticket"), detail.text("credential_path")?);
    let asked = Asked {
        id: id.text,
        target: event.target.as_ref()?,
        credential_path: &credential_path,
        requester: (&who.subject, &who.name),
        duration_seconds: detail.number("duration_seconds")?.unsigned_abs(),
        reason,
        ticket: ticket.as_deref().unwrap_or_default(),
        approvals_required: detail.number("approvals_required")?.try_into().ok()?,
        submitted_at: event.at,
        not_before: detail.instant("not_before"),
    };
    Some(asked.digest())
}
