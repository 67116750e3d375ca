//! How the daemons are.

use chrono::TimeDelta;

use super::timestamp;
use crate::{broker::Status, wire};

/// How things are.
pub fn status(status: Status) -> wire::GetStatusResponse {
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let daemon = |member: crate::broker::Member| wire::Daemon {
        id: member.id,
        name: member.name,
        version: member.version,
        started_at: Some(timestamp(member.started_at)),
        seen_at: Some(timestamp(member.seen_at)),
        gone: member.is_gone,
        clock_ahead: Some(signed(member.clock_ahead)),
        duties: number(member.duties),
        here: member.is_here,
        held: member.held,
    };
    wire::GetStatusResponse {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        daemons: status.members.into_iter().map(daemon).collect(),
        problem: status.problem.unwrap_or_default(),
        events: status.events,
        events_signed: number(status.events_signed),
        cosigned_at: status.cosigned_at.map(timestamp),
        grants_ending: number(status.grants_ending),
        grants_closing: number(status.grants_closing),
        grants_overdue: number(status.grants_overdue),
        requests_lapsing: number(status.requests_lapsing),
    }
}

/// Both parts of a negative one are negative
/// (<https://protobuf.dev/reference/protobuf/google.protobuf/#duration>).
fn signed(length: TimeDelta) -> prost_types::Duration {
    prost_types::Duration { seconds: length.num_seconds(), nanos: length.subsec_nanos() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_are_behind_are_negative() {
        let length = |millis: i64| {
            let prost_types::Duration { seconds, nanos } = signed(TimeDelta::milliseconds(millis));
            (seconds, nanos)
        };
        assert_eq!(length(1500), (1, 500_000_000));
        assert_eq!(length(-1500), (-1, -500_000_000));
        assert_eq!(length(-20), (0, -20_000_000));
    }
}
