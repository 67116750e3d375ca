//! How much of a target may be held at once, and how soon again. An exception that is always open is a permission.

use std::{num::NonZeroU32, time::Duration};

use chrono::{DateTime, Utc};

use super::refusal::{Holders, Refusal};

/// A target's limits; by default there are none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// How many grants one person may hold at once.
    pub per_person_max: Option<NonZeroU32>,
    /// How many grants there may be at once.
    pub grants_max: Option<NonZeroU32>,
    /// How long after a grant's confirmed end the same person may claim the next.
    pub pause: Option<Duration>,
}

/// What there is of a target's grants, but for those of the request that asks. A grant counts until its end is confirmed:
/// until then its credential may still work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// How many the person holds.
    pub by_person: u64,
    /// How many there are.
    pub in_all: u64,
    /// When the person's last one was confirmed to have ended.
    pub last_ended_at: Option<DateTime<Utc>>,
}

impl Limits {
    /// Whether there is nothing to ask for.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.per_person_max.is_none() && self.grants_max.is_none() && self.pause.is_none()
    }

    /// Whether one more grant may be opened.
    ///
    /// # Errors
    ///
    /// If a limit is reached, or the pause isn't over.
    pub fn allow(&self, held: Held, now: DateTime<Utc>) -> Result<(), Refusal> {
        self.allow_again(held)?;
        let over_at = self.pause.zip(held.last_ended_at).map(|(pause, ended_at)| ended_at + pause);
        match over_at.filter(|over_at| now < *over_at) {
            Some(over_at) => Err(Refusal::GrantPause { over_at }),
            None => Ok(()),
        }
    }

    /// Whether a grant may be opened in the place of an earlier one of the same request. It needs no pause; but others may
    /// have taken the place meanwhile.
    ///
    /// # Errors
    ///
    /// If a limit is reached.
    pub fn allow_again(&self, held: Held) -> Result<(), Refusal> {
        let reached = |max: Option<NonZeroU32>, held: u64| max.filter(|max| held >= max.get().into());
        if let Some(max) = reached(self.per_person_max, held.by_person) {
            return Err(Refusal::GrantLimit { holders: Holders::Caller, max });
        }
        if let Some(max) = reached(self.grants_max, held.in_all) {
            return Err(Refusal::GrantLimit { holders: Holders::Everybody, max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const NOW: DateTime<Utc> = DateTime::UNIX_EPOCH;

    fn reason(limits: &Limits, held: Held) -> Option<&'static str> {
        limits.allow(held, NOW).err().map(|refusal| refusal.reason())
    }

    #[test]
    fn without_limits_everything_goes() {
        let held = Held { by_person: 1000, in_all: 1000, last_ended_at: Some(NOW) };
        assert!(Limits::default().is_none());
        assert_eq!(reason(&Limits::default(), held), None);
    }

    #[test]
    fn each_limit_counts_what_it_says() {
        let two = NonZeroU32::new(2);
        let person = Limits { per_person_max: two, ..Limits::default() };
        let all = Limits { grants_max: two, ..Limits::default() };
        assert!(!person.is_none() && !all.is_none());
        for (by_person, in_all, persons, everybodys) in [
            (0, 0, None, None),
            (1, 1, None, None),
            (1, 2, None, Some("GRANT_LIMIT")),
            (2, 2, Some("GRANT_LIMIT"), Some("GRANT_LIMIT")),
        ] {
            let held = Held { by_person, in_all, last_ended_at: None };
            assert_eq!((reason(&person, held), reason(&all, held)), (persons, everybodys), "{held:?}");
        }
        let both = Limits { per_person_max: two, grants_max: two, pause: None };
        let held = Held { by_person: 2, in_all: 2, last_ended_at: None };
        assert!(
            both.allow(held, NOW).unwrap_err().to_string().contains("you hold"),
            "what he can mend comes first"
        );
    }

    #[test]
    fn the_pause_is_over_when_it_is() {
        let limits = Limits { pause: Some(Duration::from_mins(10)), ..Limits::default() };
        assert!(!limits.is_none());
        let ended =
            |ago: i64| Held { last_ended_at: Some(NOW - TimeDelta::milliseconds(ago)), ..Held::default() };
        assert_eq!(reason(&limits, ended(599_999)), Some("GRANT_PAUSE"));
        assert_eq!(reason(&limits, ended(600_000)), None);
        assert_eq!(limits.allow_again(ended(0)), Ok(()));
        assert_eq!(reason(&limits, Held::default()), None);
    }
}
