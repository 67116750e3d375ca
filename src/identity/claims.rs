//! What a token has to say, once its signature holds. A claim that is missing is never taken for an empty one: Vault drops
//! the claims of a broken template without a word.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{Verified, error::IdentityError};
use crate::access::{
    actor::{Caller, Person},
    text,
};

/// How far the issuer's clock may be ahead of ours before a fresh token is refused.
///
/// `exp` has no such leeway. It would lengthen what the issuer granted, and would leave a token that is expired in one
/// place (the end of a stream) and valid in another; a clock that runs ahead only means logging in earlier.
const LEEWAY: TimeDelta = TimeDelta::seconds(30);

/// The most groups that a person may be in: a token of more doesn't fit its bound anyway, and each is compared.
const GROUPS_MAX: usize = 256;

/// The claims as they come; `Value`, so that a wrong type is told from a missing claim. A claim that comes twice is an
/// error already when the token is read.
#[derive(Deserialize)]
pub(super) struct Claims {
    iss: Option<Value>,
    aud: Option<Value>,
    exp: Option<Value>,
    nbf: Option<Value>,
    iat: Option<Value>,
    sub: Option<Value>,
    name: Option<Value>,
    groups: Option<Value>,
}

impl Claims {
    pub(super) fn verified(
        self,
        issuer: &str,
        audience: &str,
        now: DateTime<Utc>,
    ) -> Result<Verified, IdentityError> {
        if self.iss.as_ref().and_then(Value::as_str) != Some(issuer) {
            return Err(IdentityError::Issuer);
        }
        if !is_only(self.aud.as_ref(), audience) {
            return Err(IdentityError::Audience);
        }
        let expires_at = self.in_time(now)?;
        let subject = line(self.sub, "sub is missing", "sub isn't one short line of text")?;
        let name = line(self.name, "name is missing", "name isn't one short line of text")?;
        let caller = Caller { person: Person { subject, name }, groups: groups(self.groups)? };
        Ok(Verified { caller, expires_at })
    }

    fn in_time(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, IdentityError> {
        let expires_at = instant(self.exp.as_ref(), "exp isn't a time")?;
        let expires_at = expires_at.ok_or(IdentityError::Claims("exp is missing"))?;
        if now >= expires_at {
            return Err(IdentityError::Expired);
        }
        let not_before = instant(self.nbf.as_ref(), "nbf isn't a time")?;
        let issued_at = instant(self.iat.as_ref(), "iat isn't a time")?;
        if [not_before, issued_at].into_iter().flatten().any(|at| at > now + LEEWAY) {
            return Err(IdentityError::NotYetValid);
        }
        Ok(expires_at)
    }
}

/// Whether the token is for this audience and no other: any other one could show it here as its own.
fn is_only(aud: Option<&Value>, audience: &str) -> bool {
    match aud {
        Some(Value::String(only)) => only == audience,
        Some(Value::Array(all)) => matches!(all.as_slice(), [Value::String(only)] if only == audience),
        _ => false,
    }
}

/// A `NumericDate` (RFC 7519, section 2), which may have a fraction; it is rounded down, towards less time.
fn instant(value: Option<&Value>, problem: &'static str) -> Result<Option<DateTime<Utc>>, IdentityError> {
    let Some(value) = value else { return Ok(None) };
    #[expect(
        clippy::cast_possible_truncation,
        reason = "as saturates, and chrono refuses what is out of range"
    )]
    let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64));
    let at = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    at.map(Some).ok_or(IdentityError::Claims(problem))
}

fn line(value: Option<Value>, missing: &'static str, bad: &'static str) -> Result<String, IdentityError> {
    match value {
        None => Err(IdentityError::Claims(missing)),
        Some(Value::String(line)) if text::line(&line).is_ok() => Ok(line),
        Some(_) => Err(IdentityError::Claims(bad)),
    }
}

fn groups(value: Option<Value>) -> Result<BTreeSet<String>, IdentityError> {
    let bad = IdentityError::Claims("groups isn't a list of short texts");
    match value {
        None => Err(IdentityError::Claims("groups is missing; check the template of the issuer's role")),
        Some(Value::Array(groups)) if groups.len() > GROUPS_MAX => {
            Err(IdentityError::Claims("groups has too many entries"))
        }
        Some(Value::Array(groups)) => {
            groups.into_iter().map(|group| line(Some(group), "", "").map_err(|_| bad)).collect()
        }
        Some(_) => Err(bad),
    }
}
