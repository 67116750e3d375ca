//! What a token has to say, once its signature holds. A claim that is missing is never taken for an empty one: Vault drops
//! the claims of a broken template without a word.

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Settings, Verified, error::IdentityError, json::Unique};
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

/// The way to a claim, from the outermost object inwards: `["realm_access", "roles"]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPath(Vec<String>);

impl ClaimPath {
    /// A path of at least one name; `None` without.
    #[must_use]
    pub fn new(names: Vec<String>) -> Option<Self> {
        (!names.is_empty()).then_some(Self(names))
    }

    /// A claim that stands by itself.
    fn of(name: &str) -> Self {
        Self(vec![name.to_owned()])
    }
}

impl fmt::Display for ClaimPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Where an issuer's tokens say who somebody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimPaths {
    /// The person's id: stable, and never given to anybody else.
    pub subject: ClaimPath,
    /// The name that people know.
    pub name: ClaimPath,
    /// The list of groups.
    pub groups: ClaimPath,
}

impl Default for ClaimPaths {
    /// Where Vault's template in the documentation puts them.
    fn default() -> Self {
        let [subject, name, groups] = ["sub", "name", "groups"].map(ClaimPath::of);
        Self { subject, name, groups }
    }
}

/// The claims as they come, so that a wrong type is told from a missing claim. One that comes twice is an error already
/// when the token is read.
#[derive(Debug)]
pub(super) struct Claims(Value);

impl<'de> Deserialize<'de> for Claims {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Unique::deserialize(deserializer).map(|unique| Self(unique.0))
    }
}

impl Claims {
    /// Checks the claims, and answers with whom they are about. The subject begins with the issuer's name: what another
    /// issuer calls the same is somebody else.
    pub(super) fn verified(
        &self,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Result<Verified, IdentityError> {
        if self.0.get("iss").and_then(Value::as_str) != Some(&settings.issuer) {
            return Err(IdentityError::Issuer);
        }
        if !is_only(self.0.get("aud"), &settings.audience) {
            return Err(IdentityError::Audience);
        }
        let expires_at = self.in_time(now)?;
        let paths = &settings.claims;
        let subject = format!("{}:{}", settings.name, self.line(&paths.subject)?);
        if text::line(&subject).is_err() {
            return Err(IdentityError::Claims(format!("{} is too long", paths.subject)));
        }
        let name = self.line(&paths.name)?.to_owned();
        let mut groups = self.groups(&paths.groups)?;
        if let Some(vouched) = &settings.groups {
            groups.retain(|group| vouched.contains(group));
        }
        let caller = Caller { person: Person { subject, name }, groups };
        Ok(Verified { caller, expires_at })
    }

    fn in_time(&self, now: DateTime<Utc>) -> Result<DateTime<Utc>, IdentityError> {
        let expires_at = self.instant("exp")?;
        let expires_at = expires_at.ok_or_else(|| IdentityError::Claims("exp is missing".to_owned()))?;
        if now >= expires_at {
            return Err(IdentityError::Expired);
        }
        let begins = [self.instant("nbf")?, self.instant("iat")?];
        if begins.into_iter().flatten().any(|at| at > now + LEEWAY) {
            return Err(IdentityError::NotYetValid);
        }
        Ok(expires_at)
    }

    /// A `NumericDate` (RFC 7519, section 2), which may have a fraction; it is rounded down, towards less time.
    fn instant(&self, claim: &str) -> Result<Option<DateTime<Utc>>, IdentityError> {
        let Some(value) = self.0.get(claim) else { return Ok(None) };
        #[expect(
            clippy::cast_possible_truncation,
            reason = "as saturates, and chrono refuses what is out of range"
        )]
        let seconds = value.as_i64().or_else(|| value.as_f64().map(|seconds| seconds.floor() as i64));
        let at = seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        at.map(Some).ok_or_else(|| IdentityError::Claims(format!("{claim} isn't a time")))
    }

    fn find(&self, path: &ClaimPath) -> Result<&Value, IdentityError> {
        let found = path.0.iter().try_fold(&self.0, |value, name| value.get(name));
        found.filter(|value| !value.is_null()).ok_or_else(|| {
            IdentityError::Claims(format!("{path} is missing; check what the issuer puts into its tokens"))
        })
    }

    fn line(&self, path: &ClaimPath) -> Result<&str, IdentityError> {
        let line = self.find(path)?.as_str().filter(|text| text::line(text).is_ok());
        line.ok_or_else(|| IdentityError::Claims(format!("{path} isn't one short line of text")))
    }

    fn groups(&self, path: &ClaimPath) -> Result<BTreeSet<String>, IdentityError> {
        let bad = || IdentityError::Claims(format!("{path} isn't a list of short texts"));
        let groups = self.find(path)?.as_array().ok_or_else(bad)?;
        if groups.len() > GROUPS_MAX {
            return Err(IdentityError::Claims(format!("{path} has more than {GROUPS_MAX} entries")));
        }
        let group = |group: &Value| group.as_str().and_then(|text| text::line(text).ok()).map(str::to_owned);
        groups.iter().map(group).collect::<Option<_>>().ok_or_else(bad)
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
