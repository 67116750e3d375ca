//! A freeze: nothing new is granted, of one target or of all, until it is thawed. It may end what is held as well.
//!
//! ```text
//! begin --> FROZEN --thaw--> THAWED
//!             '--end grants, too--> FROZEN
//! ```

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};

use super::{
    actor::{Actor, Person},
    change::Change,
    event::{About, Event, Fact},
    id::FreezeId,
    target::{BadTargetName, TargetName},
    text::Prose,
};

/// What a freeze covers. `Display` and `FromStr` are how it is stored and shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// Every target, also those that are configured later: `*`.
    Everything,
    /// One target, by its name.
    Target(TargetName),
}

impl Extent {
    /// Whether it covers this target.
    #[must_use]
    pub fn covers(&self, target: &TargetName) -> bool {
        match self {
            Self::Everything => true,
            Self::Target(name) => name == target,
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everything => f.write_str("*"),
            Self::Target(name) => name.fmt(f),
        }
    }
}

impl FromStr for Extent {
    type Err = BadTargetName;

    fn from_str(text: &str) -> Result<Self, BadTargetName> {
        if text == "*" { Ok(Self::Everything) } else { text.parse().map(Self::Target) }
    }
}

/// A freeze.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// Its id.
    pub id: FreezeId,
    /// What it covers.
    pub extent: Extent,
    /// Who froze it, or had it end what is held.
    pub by: Person,
    /// What he wrote.
    pub reason: Prose,
    /// Since when.
    pub frozen_at: DateTime<Utc>,
    /// Where it stands.
    pub state: State,
    /// Counts the changes, so that of two made at once only one can be stored.
    pub revision: i64,
}

/// Where a freeze stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing is granted.
    Frozen {
        /// Whether what is held ends, too.
        ends_grants: bool,
    },
    /// It is over.
    Thawed {
        /// Since when.
        thawed_at: DateTime<Utc>,
    },
}

impl State {
    /// The state's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Frozen { .. } => "FROZEN",
            Self::Thawed { .. } => "THAWED",
        }
    }
}

impl Freeze {
    /// Freezes.
    pub fn begin(
        id: FreezeId,
        extent: Extent,
        by: Person,
        reason: Prose,
        ends_grants: bool,
        now: DateTime<Utc>,
    ) -> Change<Self> {
        let state = State::Frozen { ends_grants };
        let freeze = Self { id, extent, by: by.clone(), reason, frozen_at: now, state, revision: 1 };
        let event = freeze.frozen(now, by, &freeze.reason, ends_grants);
        Change::first(freeze, event)
    }

    /// Whether nothing may be granted.
    #[must_use]
    pub const fn is_frozen(&self) -> bool {
        matches!(self.state, State::Frozen { .. })
    }

    /// Whether it ends what is held of this target.
    #[must_use]
    pub fn ends(&self, target: &TargetName) -> bool {
        matches!(self.state, State::Frozen { ends_grants: true }) && self.extent.covers(target)
    }

    /// Has it end what is held, too; `None` if it does so already, or is over.
    #[must_use]
    pub fn end_grants(self, by: Person, reason: &Prose, now: DateTime<Utc>) -> Option<Change<Self>> {
        if self.state != (State::Frozen { ends_grants: false }) {
            return None;
        }
        let from = self.state.name();
        let event = self.frozen(now, by.clone(), reason, true);
        let (state, revision) = (State::Frozen { ends_grants: true }, self.revision + 1);
        Some(Change::next(from, Self { by, reason: reason.clone(), state, revision, ..self }, event))
    }

    /// Ends it; `None` if it is over.
    #[must_use]
    pub fn thaw(self, by: Person, reason: &Prose, now: DateTime<Utc>) -> Option<Change<Self>> {
        let from = self.is_frozen().then_some(self.state.name())?;
        let fact = Fact::TargetsThawed { extent: self.extent.to_string(), reason: reason.to_string() };
        let event = self.event(now, by, fact);
        let state = State::Thawed { thawed_at: now };
        Some(Change::next(from, Self { state, revision: self.revision + 1, ..self }, event))
    }

    fn frozen(&self, at: DateTime<Utc>, by: Person, reason: &Prose, ends_grants: bool) -> Event {
        let (extent, reason) = (self.extent.to_string(), reason.to_string());
        self.event(at, by, Fact::TargetsFrozen { extent, reason, ends_grants })
    }

    fn event(&self, at: DateTime<Utc>, by: Person, fact: Fact) -> Event {
        let target = match &self.extent {
            Extent::Everything => None,
            Extent::Target(name) => Some(name.clone()),
        };
        Event { at, actor: Actor::Person(by), about: About { target, ..About::default() }, fact }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn olivia() -> Person {
        Person { subject: "s-olivia".into(), name: "olivia".into() }
    }

    fn why(text: &str) -> Prose {
        Prose::new(text).unwrap()
    }

    fn begun(extent: &str, ends_grants: bool) -> Freeze {
        let id = FreezeId::new(at(1), 1);
        Freeze::begin(id, extent.parse().unwrap(), olivia(), why("breach"), ends_grants, at(1)).into_after()
    }

    #[test]
    fn an_extent_covers_one_target_or_all() {
        let (orders, other) = ("orders".parse().unwrap(), "orders-ro".parse().unwrap());
        let all: Extent = "*".parse().unwrap();
        assert!(all.covers(&orders) && all.covers(&other));
        let one: Extent = "orders".parse().unwrap();
        assert!(one.covers(&orders) && !one.covers(&other));
        assert_eq!([all.to_string(), one.to_string()], ["*", "orders"]);
        assert!("**".parse::<Extent>().is_err());
    }

    #[test]
    fn a_freeze_goes_forward_only() {
        let freeze = begun("orders", false);
        assert!(freeze.is_frozen() && !freeze.ends(&"orders".parse().unwrap()));
        let oscar = Person { subject: "s-oscar".into(), name: "oscar".into() };
        let ending = freeze.end_grants(oscar.clone(), &why("worse"), at(2)).unwrap().into_after();
        assert_eq!((&ending.by, ending.reason.as_str()), (&oscar, "worse"), "who ends grants answers for it");
        assert!(ending.ends(&"orders".parse().unwrap()) && !ending.ends(&"other".parse().unwrap()));
        assert!(ending.clone().end_grants(olivia(), &why("again"), at(3)).is_none());
        let thaw = ending.thaw(olivia(), &why("over"), at(4)).unwrap();
        assert_eq!(
            (thaw.from(), thaw.event().about.target.as_ref()),
            (Some("FROZEN"), Some(&"orders".parse().unwrap()))
        );
        let thawed = thaw.into_after();
        assert!(!thawed.is_frozen() && !thawed.ends(&"orders".parse().unwrap()) && thawed.revision == 3);
        assert!(thawed.clone().thaw(olivia(), &why("again"), at(5)).is_none());
        assert!(thawed.end_grants(olivia(), &why("again"), at(5)).is_none());
    }
}
