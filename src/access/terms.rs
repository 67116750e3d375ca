//! What an approver allows of what was asked: less of it, never more. Several approvers' terms count together.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::refusal::rfc3339;

/// How far ahead a window's opening may be put: whoever wants it later asks or approves later.
const AHEAD_MAX: Duration = Duration::from_hours(24 * 30);

/// What approvers of a target may do to the terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leeway {
    /// Whether they may shorten the window.
    pub shorten: bool,
    /// Whether they may say from when and until when it may open.
    pub narrow: bool,
}

/// What an approver restricts; nothing by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// How long the window may be: not longer than was asked.
    pub duration: Option<Duration>,
    /// When it may open first.
    pub not_before: Option<DateTime<Utc>>,
    /// By when it must have opened; from then on it may not.
    pub not_after: Option<DateTime<Utc>>,
}

impl Terms {
    /// What is left if these count as well.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            duration: least(self.duration, other.duration),
            not_before: self.not_before.max(other.not_before),
            not_after: least(self.not_after, other.not_after),
        }
    }

    /// What is wrong with them, field by field: on a target with this leeway, for a request for so long that others'
    /// approvals restrict already.
    #[must_use]
    pub fn problems(
        &self,
        leeway: Leeway,
        asked: Duration,
        others: Self,
        now: DateTime<Utc>,
    ) -> Vec<(&'static str, String)> {
        let both = others.and(*self);
        let duration = self.duration.and_then(|duration| duration_problem(duration, leeway, asked));
        let forbidden =
            || "must be left out: this target's approvers may not say when the window opens".to_owned();
        let not_before = self.not_before.and_then(|at| match at {
            _ if !leeway.narrow => Some(forbidden()),
            at => not_before_problem(at, now),
        });
        let not_after = self.not_after.and_then(|at| match at {
            _ if !leeway.narrow => Some(forbidden()),
            at if at <= now => Some("is over already".to_owned()),
            _ => None,
        });
        let found = [("duration", duration), ("not_before", not_before), ("not_after", not_after)];
        let mut found: Vec<_> = found
            .into_iter()
            .filter_map(|(field, problem)| problem.map(|problem| (field, problem)))
            .collect();
        if found.is_empty()
            && let (Some(from), Some(until)) = (both.not_before, both.not_after)
            && from >= until
        {
            let field = if self.not_after.is_some() { "not_after" } else { "not_before" };
            let problem = format!(
                "leaves no time in which the window may open: from {} until {}, with what others' approvals say",
                rfc3339(from),
                rfc3339(until)
            );
            found.push((field, problem));
        }
        found
    }
}

/// What is wrong with the earliest opening of a window.
#[must_use]
pub fn not_before_problem(at: DateTime<Utc>, now: DateTime<Utc>) -> Option<String> {
    (at > now + AHEAD_MAX).then(|| "must be in 30 days at most".to_owned())
}

fn duration_problem(duration: Duration, leeway: Leeway, asked: Duration) -> Option<String> {
    if !leeway.shorten {
        return Some("must be left out: this target's approvers may not shorten the window".to_owned());
    }
    (duration > asked).then(|| "must not be longer than was asked".to_owned())
}

fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    const FREE: Leeway = Leeway { shorten: true, narrow: true };
    const HOUR: Duration = Duration::from_hours(1);

    fn at(minutes: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minutes)
    }

    fn between(from: Option<i64>, until: Option<i64>) -> Terms {
        Terms { not_before: from.map(at), not_after: until.map(at), ..Terms::default() }
    }

    fn fields(terms: Terms, leeway: Leeway, others: Terms) -> Vec<&'static str> {
        terms.problems(leeway, HOUR, others, at(0)).into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn together_the_strictest_counts() {
        let long = Terms { duration: Some(HOUR), ..between(Some(5), None) };
        let short = Terms { duration: Some(HOUR / 2), ..between(Some(3), Some(9)) };
        let both = Terms { duration: Some(HOUR / 2), ..between(Some(5), Some(9)) };
        assert_eq!((long.and(short), short.and(long)), (both, both));
        assert_eq!((long.and(Terms::default()), Terms::default().and(long)), (long, long));
    }

    #[test]
    fn terms_only_take_away() {
        let none = Terms::default();
        let lasting = |duration| Terms { duration: Some(duration), ..none };
        assert!(fields(lasting(HOUR), FREE, none).is_empty());
        assert_eq!(fields(lasting(HOUR + Duration::from_secs(1)), FREE, none), ["duration"]);
        assert!(fields(between(Some(-1), Some(1)), FREE, none).is_empty());
        assert_eq!(fields(between(None, Some(0)), FREE, none), ["not_after"]);
        assert_eq!(fields(between(Some(5), Some(5)), FREE, none), ["not_after"]);
        assert_eq!(fields(between(Some(30 * 24 * 60 + 1), None), FREE, none), ["not_before"]);
        assert_eq!(fields(between(Some(7), None), FREE, between(None, Some(7))), ["not_before"]);
        assert_eq!(fields(between(None, Some(7)), FREE, between(Some(7), None)), ["not_after"]);
        assert!(fields(between(None, Some(8)), FREE, between(Some(7), None)).is_empty());
    }

    #[test]
    fn a_target_may_allow_neither() {
        let strict = Leeway { shorten: false, narrow: false };
        let all = Terms { duration: Some(HOUR), ..between(Some(1), Some(2)) };
        assert_eq!(fields(all, strict, Terms::default()), ["duration", "not_before", "not_after"]);
        assert!(fields(Terms::default(), strict, Terms::default()).is_empty());
    }
}
