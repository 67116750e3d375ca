//! A company whose target may demand signatures, with lists that a test writes as it goes.

use std::{fs, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use hallpass::{
    clock::{Clock as _, SystemClock},
    wire::{ApproveRequestRequest, Request},
};
use serde_json::Value;
use tonic::Status;

use crate::support::{
    people::Person,
    servers::Dir,
    world::{Wishes, World},
};

pub struct Company {
    pub world: World,
    /// Where the lists are, and keys.
    pub dir: Dir,
}

impl Company {
    /// One whose target has this for `approval_signed`.
    pub async fn demanding(demand: &str) -> Self {
        let dir = Dir::new("signers");
        fs::write(dir.join("allowed_signers"), "").unwrap();
        fs::write(dir.join("revoked_keys"), "").unwrap();
        let more = format!(
            "[approvals]\nallowed_signers_file = {:?}\nrevoked_keys_file = {:?}\n",
            dir.join("allowed_signers"),
            dir.join("revoked_keys")
        );
        let usual = Wishes::default();
        let target = format!("{}approval_signed = \"{demand}\"\n", usual.target);
        let world = World::with(Wishes { target, more, ..usual }).await;
        Self { world, dir }
    }

    pub fn list(&self, lines: &str) {
        fs::write(self.dir.join("allowed_signers"), lines).unwrap();
    }

    pub fn revoke(&self, lines: &str) {
        fs::write(self.dir.join("revoked_keys"), lines).unwrap();
    }

    /// Starts the daemon anew with another demand.
    pub async fn demand(&self, from: &str, to: &str) {
        self.world.stop_daemon("TERM").await;
        let file = self.world.config_file();
        let line = |demand| format!("approval_signed = \"{demand}\"");
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains(&line(from)));
        fs::write(&file, text.replace(&line(from), &line(to))).unwrap();
        self.world.start_daemon().await;
    }
}

/// How hallpass knows somebody.
pub fn subject(person: &Person) -> String {
    let claims = URL_SAFE_NO_PAD.decode(person.jwt.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    format!("vault:{}", claims["sub"].as_str().unwrap())
}

pub async fn ask(person: &mut Person) -> Request {
    person.submit(Duration::from_mins(30), "order 4711 is stuck").await.unwrap()
}

/// The text, as `docs/approval.md` has it, written down without the code that writes it.
pub fn text(request: &Request, approver: &str, statement: &str) -> String {
    text_at(request, approver, statement, TimeDelta::zero())
}

/// The same, signed so much later than now.
pub fn text_at(request: &Request, approver: &str, statement: &str, later: TimeDelta) -> String {
    let requester = request.requester.as_ref().unwrap();
    let now: DateTime<Utc> = SystemClock.now() + later;
    format!(
        "hallpass-approval v1\nrequest: {}\ndigest: {}\ntarget: {}\nrequester: {}\nrequester-name: {}\n\
         window-seconds: {}\napprover: {approver}\ntime: {}\nstatement-bytes: {}\n\n{statement}\n",
        request.name.trim_start_matches("requests/"),
        request.digest,
        request.target.trim_start_matches("targets/"),
        requester.subject,
        requester.name,
        request.duration.unwrap().seconds,
        now.to_rfc3339_opts(SecondsFormat::Secs, true),
        statement.len(),
    )
}

/// Sends an approval with a text and a signature.
pub async fn approve(
    person: &mut Person,
    request: &Request,
    statement: &str,
    (signed_text, signature): (&str, &str),
) -> Result<Request, Status> {
    let message = ApproveRequestRequest {
        name: request.name.clone(),
        digest: request.digest.clone(),
        statement: statement.to_owned(),
        signed_text: signed_text.to_owned(),
        signature: signature.to_owned(),
        ..ApproveRequestRequest::default()
    };
    Ok(person.requests.approve_request(message).await?.into_inner())
}
