//! What people wrote, for as long as it is kept, and what is left of it afterwards. These are types of their own so that
//! nobody takes a digest for what somebody wrote: whoever wants the words has to ask whether they are there.

use std::fmt::Display;

use chrono::{DateTime, Utc};

use super::{approval::Digest, text::Prose};

/// What is left of a text that was erased.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Erased {
    /// The SHA-256 of its UTF-8: the digest that the log has of it.
    pub digest: Digest,
    /// When it was erased.
    pub erased_at: DateTime<Utc>,
}

/// What somebody wrote or signed, until it is erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Text<T = Prose> {
    /// As it was written.
    Kept(T),
    /// No more than that it was.
    Erased(Erased),
}

impl<T> Text<T> {
    /// The text, if it is kept.
    #[must_use]
    pub const fn kept(&self) -> Option<&T> {
        match self {
            Self::Kept(text) => Some(text),
            Self::Erased(_) => None,
        }
    }

    /// What is left of it, if it was erased.
    #[must_use]
    pub const fn erased(&self) -> Option<Erased> {
        match self {
            Self::Kept(_) => None,
            Self::Erased(erased) => Some(*erased),
        }
    }
}

impl<T: Display> Text<T> {
    /// Takes the words away. What was erased before stays what it is.
    #[must_use]
    pub(super) fn erase(&self, now: DateTime<Utc>) -> Self {
        Self::Erased(match self {
            Self::Kept(text) => Erased { digest: Digest::of_text(&text.to_string()), erased_at: now },
            Self::Erased(erased) => *erased,
        })
    }

    /// The digest of the words.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Self::Kept(text) => Digest::of_text(&text.to_string()),
            Self::Erased(erased) => erased.digest,
        }
    }

    /// The words, for an event that tells of what is being written now. There are none if they were erased, which is
    /// never the case then.
    pub(super) fn words(&self) -> String {
        self.kept().map(ToString::to_string).unwrap_or_default()
    }
}

impl<T> From<T> for Text<T> {
    fn from(text: T) -> Self {
        Self::Kept(text)
    }
}

/// Why somebody asks, until it is erased. The request's digest covers the words, so it can't be computed without them;
/// it is kept in their place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// As it was written.
    Kept(Prose),
    /// No more than that it was.
    Erased {
        /// What is left of it.
        text: Erased,
        /// The digest of the request, which decisions were bound to.
        request: Digest,
    },
}

impl Reason {
    /// The words, if they are kept.
    #[must_use]
    pub const fn kept(&self) -> Option<&Prose> {
        match self {
            Self::Kept(text) => Some(text),
            Self::Erased { .. } => None,
        }
    }

    /// What is left of them, if they were erased.
    #[must_use]
    pub const fn erased(&self) -> Option<Erased> {
        match self {
            Self::Kept(_) => None,
            Self::Erased { text, .. } => Some(*text),
        }
    }

    /// Whether both are of the same words, as far as that can be told: a text that was erased by its digest.
    #[must_use]
    pub(super) fn is(&self, other: &Self) -> bool {
        self.digest() == other.digest()
    }

    /// The digest of the words.
    #[must_use]
    pub fn digest(&self) -> Digest {
        match self {
            Self::Kept(text) => Digest::of_text(text.as_str()),
            Self::Erased { text, .. } => text.digest,
        }
    }
}

impl From<Prose> for Reason {
    fn from(text: Prose) -> Self {
        Self::Kept(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(words: &str) -> Text {
        Prose::new(words).unwrap().into()
    }

    #[test]
    fn what_is_left_is_the_digest_that_the_log_has() {
        let now = DateTime::UNIX_EPOCH;
        let erased = text("abc").erase(now);
        let expected = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(erased.erased().map(|left| left.digest.to_string()).as_deref(), Some(expected));
        assert_eq!(super::super::event::digest_of("abc"), expected);
        assert_eq!((erased.kept(), erased.words().as_str()), (None, ""));
        let later = erased.erase(DateTime::from_timestamp(9, 0).unwrap());
        assert_eq!(later, erased, "it was erased once");
    }

    #[test]
    fn a_reason_that_was_erased_is_known_by_its_digest() {
        let kept: Reason = Prose::new("abc").unwrap().into();
        let left = Erased { digest: Digest::of_text("abc"), erased_at: DateTime::UNIX_EPOCH };
        let erased = Reason::Erased { text: left, request: Digest::of_text("all of it") };
        assert!(kept.is(&erased) && erased.is(&kept) && !kept.is(&Prose::new("abd").unwrap().into()));
        assert_eq!((erased.kept(), kept.erased(), erased.erased()), (None, None, Some(left)));
    }
}
