//! `hallpass approve --sign`: what is signed, and by whom.
//!
//! The text is composed here, out of the request that was shown, and its digest is computed anew: what is seen is what is
//! signed, whatever hallpassd says. From hallpassd comes only by which subject it knows the approver, which stands in the
//! text and is shown. OpenSSH's own `ssh-keygen` signs, as it does for git: it knows key files, agents, hardware keys,
//! and how to ask for a passphrase, a PIN or a touch. No shell is involved.

use std::{
    collections::BTreeSet,
    io::{self, Write as _},
    path::Path,
    process::{Command, Output, Stdio},
};

use chrono::{DateTime, Utc};

use super::{App, connect::Server, error::Failure, name, output, time};
use crate::{
    access::{
        actor::Person,
        approval_text::ApprovalText,
        id::RequestId,
        request::Ask,
        terms::Terms,
        text::{Prose, Ticket},
    },
    signature::{self, NAMESPACE},
    wire::{ApproveRequestRequest, Request},
};

/// Signs an approval of the request that was shown; `None` if hallpassd says that it changes nothing, and with it how the
/// request stands.
///
/// # Errors
///
/// If hallpassd would refuse it anyway, what it shows isn't what its digest says, or nothing was signed.
pub async fn approval(
    app: &App,
    server: &Server,
    shown: &Request,
    (statement, terms): (&str, Terms),
    key: &Path,
) -> Result<Signed, Failure> {
    let asked = Asked::read(shown)?;
    let statement =
        Prose::new(statement).map_err(|problem| Failure::usage(format!("the statement {problem}")))?;
    let question = ApproveRequestRequest {
        name: shown.name.clone(),
        digest: shown.digest.clone(),
        statement: statement.to_string(),
        validate_only: true,
        ..on(terms)?
    };
    let would_be = server.answer(server.requests().approve_request(server.call(question.clone()))).await?;
    let Some(own) = would_be.decisions.iter().rev().find(|decision| decision.decided_at.is_none()) else {
        return Ok(Signed::Unneeded(Box::new(would_be)));
    };
    let approver = own.approver.as_ref().map_or("", |person| person.subject.as_str());
    let text =
        ApprovalText::of(asked.id, &asked.ask, terms, approver, statement, app.clock.now()).to_string();
    // What hallpassd would refuse anyway isn't worth a touch.
    ApprovalText::parse(&text)
        .map_err(|problem| Failure::local(format!("what is to be signed {problem}")))?;
    if app.interactive || !app.out.is_json() {
        output::ask_to_read_text(&format!("this is signed:\n\n{text}"));
    }
    let signature = sign(key, &text, app.interactive)?;
    let message = ApproveRequestRequest { signed_text: text, signature, validate_only: false, ..question };
    Ok(Signed::Approval(Box::new(message)))
}

/// An approval on these terms, which says nothing else yet.
///
/// # Errors
///
/// If a length of time is longer than can be sent.
pub fn on(terms: Terms) -> Result<ApproveRequestRequest, Failure> {
    Ok(ApproveRequestRequest {
        duration: terms.duration.map(time::wire_duration).transpose().map_err(Failure::usage)?,
        not_before: terms.not_before.map(time::timestamp),
        not_after: terms.not_after.map(time::timestamp),
        ..ApproveRequestRequest::default()
    })
}

/// What came of it.
#[derive(Debug)]
pub enum Signed {
    /// An approval to send.
    Approval(Box<ApproveRequestRequest>),
    /// The person approved before; this is how the request stands.
    Unneeded(Box<Request>),
}

/// A request as the rules have it, whose digest can be computed.
struct Asked {
    id: RequestId,
    ask: Ask,
}

impl Asked {
    /// Reads what was shown, and makes sure that the digest is of that.
    fn read(shown: &Request) -> Result<Self, Failure> {
        let asked = Self::of(shown).ok_or_else(|| {
            Failure::local("hallpassd shows a request that can't be signed by this version of hallpass")
        })?;
        let digest = asked.ask.digest(asked.id).to_string();
        if digest == shown.digest {
            return Ok(asked);
        }
        let failure =
            Failure::local("the digest that hallpassd gives isn't that of the request that it shows");
        Err(failure
            .detail(format!("the request's is {digest}"))
            .detail(format!("it gives {}", shown.digest))
            .hint("nothing was signed; inform the operators"))
    }

    fn of(shown: &Request) -> Option<Self> {
        let requester = shown.requester.as_ref()?;
        let reason = Prose::new(&shown.reason).ok().filter(|reason| reason.as_str() == shown.reason)?;
        let ticket = Ticket::new(&shown.ticket).ok()?;
        let ask = Ask {
            groups: BTreeSet::new(),
            target: shown.target.strip_prefix("targets/")?.parse().ok()?,
            credential_path: shown.credential_path.clone(),
            requester: Person { subject: requester.subject.clone(), name: requester.name.clone() },
            duration: shown.duration?.try_into().ok()?,
            not_before: not_before(shown)?,
            reason: reason.into(),
            ticket,
            approvals_required: u32::try_from(shown.approvals_required).ok()?,
            submitted_at: time::instant(shown.submitted_at.as_ref())?,
            key: None,
        };
        Some(Self { id: name::last(&shown.name).parse().ok()?, ask })
    }
}

/// When the window may open first, if the requester said so; nothing if that can't be read.
#[expect(clippy::option_option, reason = "the outer one says whether it could be read")]
fn not_before(shown: &Request) -> Option<Option<DateTime<Utc>>> {
    shown.not_before.as_ref().map_or(Some(None), |at| time::instant(Some(at)).map(Some))
}

/// Has `ssh-keygen` sign a text, and looks at what it made.
fn sign(key: &Path, text: &str, interactive: bool) -> Result<String, Failure> {
    if let Err(error) = key.metadata() {
        return Err(Failure::usage(format!("cannot read the key {}: {error}", key.display()))
            .hint("`--sign` takes a private key, a hardware key's file, or a public key whose private half your agent has"));
    }
    let output = run(key, text, interactive).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Failure::local("cannot sign: there is no `ssh-keygen` on this machine")
            .hint("install OpenSSH's client (Debian: openssh-client), or approve without `--sign` where the target lets you"),
        _ => Failure::local(format!("cannot run `ssh-keygen`: {error}")),
    })?;
    if !output.status.success() {
        return Err(not_signed(&output));
    }
    let armored = String::from_utf8(output.stdout).unwrap_or_default();
    let fits = signature::parse(&armored).is_ok_and(|made| made.verify(text.as_bytes()).is_some());
    if fits {
        return Ok(armored);
    }
    Err(Failure::local("hallpassd takes no signatures of this kind of key")
        .hint(format!("it takes {}; RSA keys from 2048 bits", signature::PublicKey::KINDS.join(", "))))
}

/// The text goes in and the signature comes out through pipes, so nothing of it is left in files. Where nobody can be
/// asked, what it says becomes part of the error instead.
fn run(key: &Path, text: &str, interactive: bool) -> io::Result<Output> {
    let said = if interactive { Stdio::inherit() } else { Stdio::piped() };
    let mut command = Command::new("ssh-keygen");
    command.args(["-Y", "sign", "-n", NAMESPACE, "-f"]).arg(key);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(said).spawn()?;
    if let Some(mut input) = child.stdin.take() {
        // One that ended before it read all says why by how it ended.
        let _ = input.write_all(text.as_bytes());
    }
    child.wait_with_output()
}

fn not_signed(output: &Output) -> Failure {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines =
        said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Signing data"));
    let failure = Failure::local("`ssh-keygen` signed nothing, so nothing was approved")
        .hint("signing takes OpenSSH 8.1 or newer, with hardware keys 8.2; `ssh -V` says which it is");
    lines.take(5).fold(failure, |failure, line| failure.detail(line.to_owned()))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::wire;

    /// A request whose digest is its own.
    pub fn shown() -> Request {
        let request = Request {
            name: "requests/01kb0x3v9m2d4e5f6g7h8j9kab".into(),
            target: "targets/orders-ro".into(),
            requester: Some(wire::Person { subject: "vault:a".into(), name: "alice".into() }),
            duration: Some(prost_types::Duration { seconds: 5400, nanos: 0 }),
            reason: "order 4711 is stuck".into(),
            ticket: "OPS-7".into(),
            credential_path: "database/creds/x".into(),
            approvals_required: 1,
            submitted_at: Some(prost_types::Timestamp { seconds: 1_795_438_800, nanos: 123_000_000 }),
            ..Request::default()
        };
        let asked = Asked::of(&request).unwrap();
        Request { digest: asked.ask.digest(asked.id).to_string(), ..request }
    }

    #[test]
    fn what_is_shown_must_be_what_the_digest_is_of() {
        assert!(Asked::read(&shown()).is_ok());
        let others = [
            Request { target: "targets/orders-rw".into(), ..shown() },
            Request {
                requester: Some(wire::Person { subject: "vault:b".into(), name: "alice".into() }),
                ..shown()
            },
            Request {
                requester: Some(wire::Person { subject: "vault:a".into(), name: "bob".into() }),
                ..shown()
            },
            Request { duration: Some(prost_types::Duration { seconds: 5401, nanos: 0 }), ..shown() },
            Request {
                not_before: Some(prost_types::Timestamp { seconds: 1_795_438_801, nanos: 0 }),
                ..shown()
            },
            Request { reason: "order 4712 is stuck".into(), ..shown() },
            Request { ticket: String::new(), ..shown() },
            Request { credential_path: "database/creds/y".into(), ..shown() },
            Request { approvals_required: 2, ..shown() },
            Request { submitted_at: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }), ..shown() },
            Request { name: "requests/01kb0x3v9m2d4e5f6g7h8j9kac".into(), ..shown() },
        ];
        for other in others {
            let failure = Asked::read(&other).map(|_| ()).unwrap_err();
            assert!(failure.message.contains("isn't that of the request"), "{other:?}");
        }
        let unreadable = [
            Request { requester: None, ..shown() },
            Request { reason: " padded".into(), ..shown() },
            Request { submitted_at: None, ..shown() },
        ];
        for other in unreadable {
            assert!(
                Asked::read(&other).map(|_| ()).unwrap_err().message.contains("can't be signed"),
                "{other:?}"
            );
        }
    }

    #[test]
    fn a_key_that_is_not_there_is_named() {
        let failure = sign(Path::new("/nonexistent/key"), "x", false).unwrap_err();
        assert!(failure.message.contains("/nonexistent/key"), "{failure:?}");
    }

    #[test]
    fn what_ssh_keygen_says_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let key = directory.path().join("key");
        std::fs::write(&key, "no key").unwrap();
        let failure = sign(&key, "x", false).unwrap_err();
        assert!(failure.message.contains("signed nothing") && !failure.details.is_empty(), "{failure:?}");
        assert!(failure.hint.unwrap().contains("8.1"));
    }
}
