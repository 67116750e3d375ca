//! The ids of requests, grants and freezes: ULIDs in lower case, so that their order is the order of their making.
//!
//! Time and chance are handed in; nothing here asks for them.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use ulid::Ulid;

/// A text that is no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not a valid id: it takes 26 letters and digits")]
pub struct BadId;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            /// Makes an id of its time of making (a time before 1970 counts as 1970) and 80 of the random bits.
            #[must_use]
            pub fn new(at: DateTime<Utc>, random: u128) -> Self {
                Self(Ulid::from_parts(u64::try_from(at.timestamp_millis()).unwrap_or_default(), random))
            }

            /// Like [`Self::new`], but certainly later in order than `before`: within a millisecond chance would decide
            /// that, and a clock may be set back.
            #[must_use]
            pub fn after(before: Self, at: DateTime<Utc>, random: u128) -> Self {
                Self::new(at, random).max(Self(Ulid(before.0.0.saturating_add(1))))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0.to_string().to_ascii_lowercase())
            }
        }

        impl FromStr for $name {
            type Err = BadId;

            fn from_str(text: &str) -> Result<Self, BadId> {
                let id = text.parse().map(Self).map_err(|_| BadId)?;
                // 26 digits have 130 bits; the library drops the first two, so that `8…` would be another name for `0…`.
                if id.to_string() == text.to_ascii_lowercase() { Ok(id) } else { Err(BadId) }
            }
        }
    };
}

id! {
    /// Names a request, and the exception that it begins.
    RequestId
}
id! {
    /// Names a grant.
    GrantId
}
id! {
    /// Names a freeze.
    FreezeId
}
id! {
    /// Names a daemon from its start to its end.
    DaemonId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_name_in_either_case() {
        let id = RequestId::new(DateTime::UNIX_EPOCH, u128::MAX);
        let name = id.to_string();
        assert_eq!((name.parse(), name.to_ascii_uppercase().parse()), (Ok(id), Ok(id)));
        for first in ["8", "g", "z"] {
            assert_eq!(format!("{first}{}", &name[1..]).parse::<RequestId>(), Err(BadId));
        }
        for other in ["", "0", &name[1..], &format!("{name}0"), &name.replace('z', "l")] {
            assert_eq!(other.parse::<RequestId>(), Err(BadId), "{other}");
        }
    }
}
