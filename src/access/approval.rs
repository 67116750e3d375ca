//! Written decisions. An [`Approval`] or [`Denial`] is evidence: it is made only by the request's own `approve` and
//! `deny` (or read back from the record of one), and opening a grant demands the approvals by value.

use std::{collections::BTreeSet, fmt};

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256, Sha512};

use super::{actor::Person, event::Fact, kept::Text, signing::Signed, terms::Terms};

/// What a decision is bound to: SHA-256 over everything that makes up a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Over the parts, each preceded by its length, so that no two different lists of parts read alike.
    pub(super) fn over(domain: &str, parts: &[&[u8]]) -> Self {
        let mut message = Vec::with_capacity(1024);
        for part in std::iter::once(&domain.as_bytes()).chain(parts) {
            message.extend((part.len() as u64).to_be_bytes());
            message.extend_from_slice(part);
        }
        Self(Sha256::digest(message).into())
    }

    /// Of a text: the SHA-256 of its UTF-8.
    #[must_use]
    pub fn of_text(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }

    /// Reads `sha256:` and 64 hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = hex::decode(text.strip_prefix("sha256:")?).ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// Whether a text is this digest, as it is written.
    #[must_use]
    pub fn is_written(&self, text: &str) -> bool {
        text.strip_prefix("sha256:").is_some_and(|digits| self.digits() == digits.as_bytes())
    }

    fn digits(&self) -> [u8; 64] {
        let mut digits = [0; 64];
        // It fails only for room of another size. Not `encode`, which goes digit by digit: that tells in a log of years.
        let _ = hex::encode_to_slice(self.0, &mut digits);
        digits
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sha256:")?;
        f.write_str(str::from_utf8(&self.digits()).map_err(|_| fmt::Error)?)
    }
}

/// Another person's written yes, to what was asked or to less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval(Decision);

/// Another person's written no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial(Decision);

/// What approvals and denials have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Who decided.
    pub approver: Person,
    /// What he wrote, until it is erased.
    pub statement: Text,
    /// The digest of the request that he read.
    pub digest: Digest,
    /// When it was recorded.
    pub decided_at: DateTime<Utc>,
    /// The groups that made him an approver then.
    pub groups: BTreeSet<String>,
    /// What he allows of what was asked, or less; denials have none.
    pub terms: Terms,
    /// What he signed, if he did. Only approvals are.
    pub signed: Option<Box<Signed>>,
}

impl Decision {
    /// What the log says of it as an approval, the how-manieth of how many.
    pub(super) fn approved(&self, approvals: usize, approvals_required: u32) -> Fact {
        let signed = self.signed.as_deref();
        Fact::RequestApproved {
            statement: self.statement.words(),
            digest: self.digest.to_string(),
            approvals,
            approvals_required,
            groups: self.groups.iter().cloned().collect(),
            duration_seconds: self.terms.duration.map(|duration| duration.as_secs()),
            not_before: self.terms.not_before,
            not_after: self.terms.not_after,
            signed_with: signed.map(|signed| signed.key.clone()),
            user_present: signed.map(|signed| signed.present),
            signed_text: signed.map(|signed| signed.text.words()),
            signed_text_sha512: signed.map(|signed| hex::encode(Sha512::digest(signed.text.words()))),
            signature: signed.map(|signed| signed.signature.clone()),
        }
    }

    /// Without its texts. The signature stays, with the key that made it.
    fn erased(&self, now: DateTime<Utc>) -> Self {
        let signed = self.signed.as_deref().map(|signed| {
            let text = signed.text.erase(now);
            Box::new(Signed { text, ..signed.clone() })
        });
        Self { statement: self.statement.erase(now), signed, ..self.clone() }
    }
}

impl Approval {
    pub(super) const fn mint(decision: Decision) -> Self {
        Self(decision)
    }

    /// What was recorded of an approval that `approve` made.
    #[must_use]
    pub const fn recorded(decision: Decision) -> Self {
        Self(decision)
    }

    /// What it says.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        &self.0
    }

    /// Without its texts.
    pub(super) fn erased(&self, now: DateTime<Utc>) -> Self {
        Self(self.0.erased(now))
    }
}

impl Denial {
    pub(super) const fn mint(decision: Decision) -> Self {
        Self(decision)
    }

    /// What was recorded of a denial that `deny` made.
    #[must_use]
    pub const fn recorded(decision: Decision) -> Self {
        Self(decision)
    }

    /// What it says.
    #[must_use]
    pub const fn decision(&self) -> &Decision {
        &self.0
    }

    /// Without its text.
    pub(super) fn erased(&self, now: DateTime<Utc>) -> Self {
        Self(self.0.erased(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_cannot_be_shifted_into_each_other() {
        assert_ne!(Digest::over("d", &[b"ab", b"c"]), Digest::over("d", &[b"a", b"bc"]));
        assert_ne!(Digest::over("d", &[b"a", b""]), Digest::over("d", &[b"a"]));
    }

    #[test]
    fn a_digest_reads_back() {
        let digest = Digest::over("d", &[b"a"]);
        assert_eq!(Digest::parse(&digest.to_string()), Some(digest));
        assert_eq!(Digest::parse("sha256:00"), None);
        assert_eq!(Digest::parse(&digest.to_string().replace("sha256:", "")), None);
    }
}
