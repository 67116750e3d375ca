//! A grant's row: which columns a state has, in both directions. The table's CHECKs say the same.
//!
//! The row holds Vault's handles, so nothing here has a `Debug`.

use serde::Serialize;
use sqlx::FromRow;

use super::rows::{Problem, corrupt, id, instant, millis, person, target};
use crate::{
    access::{
        grant::{Ending, Grant, Issued, Leased, State},
        handle::{Accessor, LeaseId},
        revocation::{Cause, Step},
        window::Window,
    },
    store::StoreError,
};

/// A grant as one row.
pub(in crate::store) const SELECT: &str = "\
    SELECT g.id, g.request_id, g.target, g.credential_path, g.holder_subject, g.holder_name, g.opens_at, g.closes_at, \
           g.opened_at, g.state, g.revision, g.token_accessor, g.wrapping_accessor, g.lease_id, g.activated_at, \
           g.cause, g.begun_at, g.step, g.error, g.revoked_at, g.failed_at, g.alarms \
      FROM grants g";

#[derive(FromRow)]
pub(in crate::store) struct GrantRow {
    id: String,
    request_id: String,
    target: String,
    credential_path: String,
    holder_subject: String,
    holder_name: String,
    opens_at: i64,
    closes_at: i64,
    opened_at: i64,
    state: String,
    revision: i64,
    #[sqlx(flatten)]
    columns: Columns,
}

/// The columns that only some states have.
#[derive(Default, FromRow, Serialize)]
pub(in crate::store) struct Columns {
    pub(in crate::store) token_accessor: Option<String>,
    pub(in crate::store) wrapping_accessor: Option<String>,
    pub(in crate::store) lease_id: Option<String>,
    pub(in crate::store) activated_at: Option<i64>,
    pub(in crate::store) cause: Option<String>,
    pub(in crate::store) begun_at: Option<i64>,
    pub(in crate::store) step: Option<String>,
    pub(in crate::store) error: Option<String>,
    pub(in crate::store) revoked_at: Option<i64>,
    pub(in crate::store) failed_at: Option<i64>,
    pub(in crate::store) alarms: i64,
}

impl GrantRow {
    /// The grant.
    pub(in crate::store) fn read(self, operation: &'static str) -> Result<Grant, StoreError> {
        let what = format!("grant {}", self.id);
        self.grant().map_err(|problem| corrupt(operation, what, problem))
    }

    fn grant(self) -> Result<Grant, Problem> {
        let window = Window::recorded(instant(self.opens_at)?, instant(self.closes_at)?);
        Ok(Grant {
            id: id(&self.id)?,
            request: id(&self.request_id)?,
            target: target(&self.target)?,
            credential_path: self.credential_path,
            holder: person(self.holder_subject, self.holder_name),
            window: window.ok_or("its window is empty or runs backwards")?,
            opened_at: instant(self.opened_at)?,
            state: self.columns.state(&self.state)?,
            revision: self.revision,
        })
    }
}

impl Columns {
    /// The columns that a state has.
    pub(in crate::store) fn of(state: &State) -> Self {
        match state {
            State::Issuing { issued } => Self::issued(issued),
            State::Active { leased, activated_at } => {
                Self { activated_at: Some(millis(*activated_at)), ..Self::leased(leased) }
            }
            State::Revoking(Ending { cause, issued, activated_at, begun_at, step, error, alarms }) => Self {
                alarms: i64::from(*alarms),
                activated_at: activated_at.map(millis),
                step: Some(step.name().to_owned()),
                error: error.clone(),
                ..Self::issued(issued).ending(*cause, millis(*begun_at))
            },
            State::Revoked { cause, activated_at, begun_at, revoked_at } => Self {
                activated_at: Some(millis(*activated_at)),
                revoked_at: Some(millis(*revoked_at)),
                ..Self::default().ending(*cause, millis(*begun_at))
            },
            State::Failed { cause, begun_at, failed_at } => Self {
                failed_at: Some(millis(*failed_at)),
                ..Self::default().ending(*cause, millis(*begun_at))
            },
        }
    }

    fn issued(issued: &Issued) -> Self {
        match issued {
            Issued::Nothing => Self::default(),
            Issued::Token(token) => {
                Self { token_accessor: Some(token.expose().to_owned()), ..Self::default() }
            }
            Issued::Lease(leased) => Self::leased(leased),
        }
    }

    fn leased(leased: &Leased) -> Self {
        Self {
            token_accessor: Some(leased.token.expose().to_owned()),
            wrapping_accessor: Some(leased.wrapping.expose().to_owned()),
            lease_id: Some(leased.lease.expose().to_owned()),
            ..Self::default()
        }
    }

    fn ending(self, cause: Cause, begun_at: i64) -> Self {
        Self { cause: Some(cause.name().to_owned()), begun_at: Some(begun_at), ..self }
    }

    /// The one place where nulls become a state; every combination that isn't one is refused.
    fn state(self, name: &str) -> Result<State, Problem> {
        let issued = read_issued(self.token_accessor, self.wrapping_accessor, self.lease_id)?;
        let ended = (self.cause.as_deref(), self.begun_at, self.step.as_deref(), self.error);
        let over = (self.revoked_at, self.failed_at);
        Ok(match (name, issued, self.activated_at, ended, over) {
            ("ISSUING", issued, None, (None, None, None, None), (None, None)) => State::Issuing { issued },
            ("ACTIVE", Issued::Lease(leased), Some(at), (None, None, None, None), (None, None)) => {
                State::Active { leased, activated_at: instant(at)? }
            }
            ("REVOKING", issued, activated_at, (Some(why), Some(begun_at), Some(next), error), (None, None))
                // What was held had a lease.
                if activated_at.is_none() || matches!(issued, Issued::Lease(_)) =>
            {
                State::Revoking(Ending {
                    cause: cause(why)?,
                    issued,
                    activated_at: activated_at.map(instant).transpose()?,
                    begun_at: instant(begun_at)?,
                    step: step(next)?,
                    error,
                    alarms: u32::try_from(self.alarms).map_err(|_| "its count of alarms is none")?,
                })
            }
            (
                "REVOKED",
                Issued::Nothing,
                Some(activated_at),
                (Some(why), Some(begun_at), None, None),
                (Some(at), None),
            ) => State::Revoked {
                cause: cause(why)?,
                activated_at: instant(activated_at)?,
                begun_at: instant(begun_at)?,
                revoked_at: instant(at)?,
            },
            ("FAILED", Issued::Nothing, None, (Some(why), Some(begun_at), None, None), (None, Some(at))) => {
                State::Failed { cause: cause(why)?, begun_at: instant(begun_at)?, failed_at: instant(at)? }
            }
            _ => return Err("its columns fit no state"),
        })
    }
}

fn read_issued(
    token: Option<String>,
    wrapping: Option<String>,
    lease: Option<String>,
) -> Result<Issued, Problem> {
    match (token, wrapping, lease) {
        (None, None, None) => Ok(Issued::Nothing),
        (Some(token), None, None) => Ok(Issued::Token(Accessor::new(token))),
        (Some(token), Some(wrapping), Some(lease)) => Ok(Issued::Lease(Leased {
            token: Accessor::new(token),
            wrapping: Accessor::new(wrapping),
            lease: LeaseId::new(lease),
        })),
        _ => Err("a handle is missing"),
    }
}

fn cause(name: &str) -> Result<Cause, Problem> {
    Cause::named(name).ok_or("its cause is unknown")
}

fn step(name: &str) -> Result<Step, Problem> {
    Step::named(name).ok_or("its step is unknown")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::tests::raw as rows;

    const STATES: [&str; 6] = ["ISSUING", "ACTIVE", "REVOKING", "REVOKED", "FAILED", "issuing"];

    /// Bit by bit: the three handles, `activated_at`, `cause`, `begun_at`, `step`, `error`, `revoked_at`, `failed_at`.
    fn columns(bits: u32) -> Columns {
        let text = |bit: u32, text: &str| (bits & (1 << bit) != 0).then(|| text.to_owned());
        let at = |bit: u32| (bits & (1 << bit) != 0).then_some(1);
        Columns {
            token_accessor: text(0, "t"),
            wrapping_accessor: text(1, "w"),
            lease_id: text(2, "l"),
            activated_at: at(3),
            cause: text(4, "RELEASED"),
            begun_at: at(5),
            step: text(6, "TOKEN"),
            error: text(7, "e"),
            revoked_at: at(8),
            failed_at: at(9),
            alarms: 0,
        }
    }

    /// Every combination of set columns, for every name: these are the states, and nothing else is.
    #[test]
    fn only_known_combinations_of_columns_are_states() {
        let mut read = Vec::new();
        for name in STATES {
            for bits in 0_u32..1024 {
                if let Ok(state) = columns(bits).state(name) {
                    assert_eq!(state.name(), name);
                    read.push((name, bits));
                }
            }
        }
        let (token, lease, active, ended, step, error) = (0b1, 0b111, 1 << 3, 0b11 << 4, 1 << 6, 1 << 7);
        let mut revoking: Vec<_> = [0, token, lease, lease | active]
            .into_iter()
            .flat_map(|held| [0, error].map(|error| ("REVOKING", held | ended | step | error)))
            .collect();
        revoking.sort_unstable();
        let mut expected = vec![("ISSUING", 0), ("ISSUING", token), ("ISSUING", lease)];
        expected.push(("ACTIVE", lease | active));
        expected.extend(revoking);
        expected.extend([("REVOKED", active | ended | 1 << 8), ("FAILED", ended | 1 << 9)]);
        assert_eq!(read, expected);
    }

    #[test]
    fn columns_and_states_are_the_same() {
        for name in STATES {
            for bits in 0_u32..1024 {
                if let Ok(state) = columns(bits).state(name) {
                    assert_eq!(Columns::of(&state).state(name).as_ref(), Ok(&state));
                }
            }
        }
    }

    /// The table takes exactly the rows that can be read. The triggers, which judge moves rather than rows, are off.
    #[tokio::test]
    async fn the_table_says_the_same() {
        let update = "UPDATE grants SET state = ?, token_accessor = ?, wrapping_accessor = ?, lease_id = ?, \
                      activated_at = ?, cause = ?, begun_at = ?, step = ?, error = ?, revoked_at = ?, failed_at = ?";
        let (_directory, mut raw) = rows::one_of_each().await;
        for name in STATES {
            for bits in 0_u32..1024 {
                let row = columns(bits);
                let update =
                    sqlx::query(update).bind(name).bind(row.token_accessor).bind(row.wrapping_accessor);
                let update =
                    update.bind(row.lease_id).bind(row.activated_at).bind(row.cause).bind(row.begun_at);
                let update = update.bind(row.step).bind(row.error).bind(row.revoked_at).bind(row.failed_at);
                let taken = update.execute(&mut raw).await.is_ok();
                assert_eq!(taken, columns(bits).state(name).is_ok(), "{name} {bits:#b}");
            }
        }
    }
}
