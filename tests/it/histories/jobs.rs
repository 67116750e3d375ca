//! What can be asked of the daemon, by people and by time, as tasks with answers.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use hallpass::{
    access::{
        grant::Grant,
        id::{GrantId, RequestId},
        request::Request,
        text::{IdempotencyKey, Prose},
    },
    broker::{
        Broker, Claimed, ConfigurationChange, Error, NotChanged, Occasion, Removed, Settings, Submission,
        Tried, Written,
    },
    signature::Signers,
};
use secrecy::SecretString;

use super::{
    cast::{self, Login},
    daemon::{ALARM_AFTER, WRAP_TTL},
};

/// The target that the configuration in force doesn't have, and whether it says that unknown leases are revoked.
pub type InForce = Mutex<(Option<&'static str>, bool)>;

/// Something that a person asks for.
#[derive(Clone, Debug)]
pub enum Verb {
    Submit { target: &'static str, duration: Duration, key: Option<String> },
    Approve { request: Request, is_stale: bool },
    Deny { request: Request },
    Withdraw { request: RequestId },
    Claim { request: RequestId, reissue: bool },
    Release { grant: GrantId, opened: bool },
    Revoke { grant: GrantId },
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Submit { target, duration, key } => write!(f, "submit {target} {duration:?} {key:?}"),
            Self::Approve { request, is_stale } => write!(f, "approve {} (stale: {is_stale})", request.id),
            Self::Deny { request } => write!(f, "deny {}", request.id),
            Self::Withdraw { request } => write!(f, "withdraw {request}"),
            Self::Claim { request, reissue } => write!(f, "claim {request} (reissue: {reissue})"),
            Self::Release { grant, opened } => write!(f, "release {grant} (opened: {opened})"),
            Self::Revoke { grant } => write!(f, "revoke {grant}"),
        }
    }
}

/// Something that the daemon does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Chore {
    Arm,
    Rescan,
    Record,
    Lapse,
    Alarm,
    Sweep,
    Reconcile,
    Pursue(GrantId),
    /// Reads a configuration without this target, and ends its grants or refuses.
    Reload {
        without: Option<&'static str>,
        ends: bool,
    },
}

/// How it went.
#[derive(Debug)]
pub enum Outcome {
    Submitted(Login, Option<String>, Request),
    Approved(Login, Request),
    Decided(Request),
    Claimed(Claimed),
    Ended(Grant),
    Tried(GrantId, Tried),
    Done(Chore),
    Failed(Error),
}

/// A credential on its way to its holder.
#[derive(Debug)]
pub struct Delivered {
    pub grant: GrantId,
    pub wrapping_token: SecretString,
}

fn prose(text: &str) -> Prose {
    Prose::new(text).unwrap()
}

/// Asks for something in a person's name.
pub async fn ask(broker: Arc<Broker>, login: Login, names_apart: bool, verb: Verb) -> Outcome {
    let (broker, caller) = (Arc::new(broker.renewed()), login.caller(names_apart));
    let done = match verb {
        Verb::Submit { target, duration, key } => {
            let submission = Submission {
                target: target.parse().unwrap(),
                duration: Some(duration),
                reason: prose("orders hang since 09:40"),
                not_before: None,
                ticket: None,
                key: key.as_deref().and_then(|key| IdempotencyKey::new(key).unwrap()),
                validate_only: false,
            };
            let submitted = broker.submit(&caller, submission).await;
            submitted.map(|view| Outcome::Submitted(login, key, view.request))
        }
        Verb::Approve { request, is_stale } => {
            let digest = if is_stale { stale(&request) } else { request.digest() };
            let written = Written { digest, statement: prose("read-only, for the incident") };
            let approved = broker.approve(&caller, request.id, written).await;
            approved.map(|view| Outcome::Approved(login, view.request))
        }
        Verb::Deny { request } => {
            let written = Written { digest: request.digest(), statement: prose("not now") };
            broker.deny(&caller, request.id, written).await.map(|view| Outcome::Decided(view.request))
        }
        Verb::Withdraw { request } => {
            broker.withdraw(&caller, request).await.map(|view| Outcome::Decided(view.request))
        }
        Verb::Claim { request, reissue } => {
            broker.claim(&caller, request, reissue).await.map(Outcome::Claimed)
        }
        Verb::Release { grant, opened } => broker.release(&caller, grant, opened).await.map(Outcome::Ended),
        Verb::Revoke { grant } => {
            broker.revoke(&caller, grant, prose("an incident")).await.map(Outcome::Ended)
        }
    };
    done.unwrap_or_else(Outcome::Failed)
}

/// What stands for a file's digest: the target that it doesn't have.
pub fn digest(without: Option<&str>) -> String {
    without.unwrap_or_default().to_owned()
}

async fn reload(
    broker: &Broker,
    in_force: &InForce,
    without: Option<&'static str>,
    ends: bool,
) -> Result<(), Error> {
    let (former, revoke_unknown) = *in_force.lock().unwrap();
    let settings = Settings {
        policy: cast::policy(without),
        wrap_ttl: WRAP_TTL,
        alarm_after: ALARM_AFTER,
        revoke_unknown,
        texts_for: None,
        signers: Signers::default(),
    };
    let change = ConfigurationChange::to(digest(without), Some(digest(former)), Occasion::Command);
    let removed = if ends { Removed::End } else { Removed::Refuse };
    match broker.reconfigure(settings, Some(change), removed).await {
        Ok(_) => in_force.lock().unwrap().0 = without,
        Err(NotChanged::GrantsHeld(_)) => {}
        Err(NotChanged::Failed(failure)) => return Err(failure),
    }
    Ok(())
}

/// The digest of what was never asked.
fn stale(request: &Request) -> hallpass::access::approval::Digest {
    let mut other = request.clone();
    other.ask.duration += Duration::from_secs(1);
    other.digest()
}

/// Does one of the daemon's chores.
pub async fn work(broker: Arc<Broker>, in_force: Arc<InForce>, chore: Chore) -> Outcome {
    let broker = broker.renewed();
    let done = match chore {
        Chore::Reload { without, ends } => reload(&broker, &in_force, without, ends).await,
        Chore::Arm => {
            broker.arm().await;
            Ok(())
        }
        Chore::Rescan => broker.rescan().await,
        Chore::Record => broker.record_kept().await.map(drop),
        Chore::Lapse => broker.let_lapse().await.map(drop),
        Chore::Alarm => broker.raise_alarms().await.map(drop),
        Chore::Sweep => broker.sweep().await,
        Chore::Reconcile => broker.reconcile().await.map(drop),
        Chore::Pursue(id) => return Outcome::Tried(id, broker.pursue(id).await),
    };
    done.map_or_else(Outcome::Failed, |()| Outcome::Done(chore))
}
