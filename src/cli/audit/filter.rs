//! Which exceptions: each of the server's filters is a flag.

use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::Args;

use crate::{
    cli::{error::Failure, list, time},
    wire::{GrantState, HeldFilter, RequestFilter, RequestState, RevocationCause, Signed},
};

/// What `--late` and `--early` mean without a length: the confirmation of an end in time takes a moment, too.
const OFF_BY_DEFAULT: &str = "1m";

/// The filters. All that are given have to match.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Which exceptions")]
pub struct FilterArgs {
    /// Requested by this person, by name or subject.
    #[arg(long, value_name = "PERSON")]
    requester: Option<String>,
    /// Decided on, also denied, by this person, by name or subject.
    #[arg(long, value_name = "PERSON")]
    approver: Option<String>,
    /// With a grant that this person held, by name or subject.
    #[arg(long, value_name = "PERSON")]
    holder: Option<String>,
    /// Of this target.
    #[arg(long, value_name = "TARGET")]
    target: Option<String>,
    /// Requested by somebody whom this group made a requester.
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// The request is in one of these states, separated by commas.
    #[arg(long, value_name = "STATES", value_delimiter = ',')]
    state: Vec<String>,
    /// A grant is in one of these states, separated by commas.
    #[arg(long, value_name = "STATES", value_delimiter = ',')]
    grant_state: Vec<String>,
    /// A grant ended, or is ending, for one of these causes, separated by commas.
    #[arg(long, value_name = "CAUSES", value_delimiter = ',')]
    cause: Vec<String>,
    /// Of this ticket.
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,
    /// With this in the reason or in a statement, whatever the case: three characters at least.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Submitted then or later: a time, or a date, which stands for its first instant.
    #[arg(long, value_name = "TIME", value_parser = time::parse_instant)]
    since: Option<DateTime<Utc>>,
    /// Submitted before.
    #[arg(long, value_name = "TIME", value_parser = time::parse_instant)]
    until: Option<DateTime<Utc>>,
    /// With access that ended after this time, or goes on.
    #[arg(long, value_name = "TIME", value_parser = time::parse_instant)]
    held_since: Option<DateTime<Utc>>,
    /// With access that began before this time.
    #[arg(long, value_name = "TIME", value_parser = time::parse_instant)]
    held_until: Option<DateTime<Utc>>,
    /// With approvals that are all signed.
    #[arg(long, conflicts_with = "unsigned")]
    signed: bool,
    /// With an approval that isn't signed.
    #[arg(long)]
    unsigned: bool,
    /// With a grant that ended at least so long after its window closed [without a length: 1m].
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = OFF_BY_DEFAULT, require_equals = true, value_parser = time::parse_window)]
    late: Option<Duration>,
    /// With a grant that ended at least so long before its window closed [without a length: 1m].
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = OFF_BY_DEFAULT, require_equals = true, value_parser = time::parse_window)]
    early: Option<Duration>,
    /// About which an alarm was raised.
    #[arg(long)]
    alarmed: bool,
}

impl FilterArgs {
    /// The filter as it is sent.
    ///
    /// # Errors
    ///
    /// If a word is none that is known.
    pub fn read(self) -> Result<RequestFilter, Failure> {
        let state = |text: &str| RequestState::from_str_name(&format!("REQUEST_STATE_{text}")).map(i32::from);
        let states =
            list::states(&self.state, "pending, approved, denied, withdrawn, lapsed or claimed", state)?;
        Ok(RequestFilter {
            grant: self.grant()?,
            states,
            target: list::target(self.target)?,
            requester: self.requester.unwrap_or_default(),
            submitted_from: self.since.map(time::timestamp),
            submitted_until: self.until.map(time::timestamp),
            approver: self.approver.unwrap_or_default(),
            group: self.group.unwrap_or_default(),
            ticket: self.ticket.unwrap_or_default(),
            text: self.text.unwrap_or_default(),
            signed: match (self.signed, self.unsigned) {
                (true, _) => Signed::Yes,
                (_, true) => Signed::No,
                _ => Signed::Unspecified,
            }
            .into(),
            alarmed: self.alarmed,
        })
    }

    fn grant(&self) -> Result<Option<HeldFilter>, Failure> {
        let state = |text: &str| GrantState::from_str_name(&format!("GRANT_STATE_{text}")).map(i32::from);
        let cause = |text: &str| {
            let name = format!("REVOCATION_CAUSE_{}", text.replace('-', "_"));
            RevocationCause::from_str_name(&name).map(i32::from)
        };
        let length =
            |length: Option<Duration>| length.map(time::wire_duration).transpose().map_err(Failure::usage);
        let filter = HeldFilter {
            states: list::states(&self.grant_state, "issuing, active, revoking, revoked or failed", state)?,
            causes: list::states(
                &self.cause,
                "window-closed, released, revoked-by-operator, frozen, target-removed, ended-outside, \
                 issue-failed or reissued",
                cause,
            )?,
            holder: self.holder.clone().unwrap_or_default(),
            held_from: self.held_since.map(time::timestamp),
            held_until: self.held_until.map(time::timestamp),
            late_by: length(self.late)?,
            early_by: length(self.early)?,
        };
        Ok(Some(filter).filter(|filter| *filter != HeldFilter::default()))
    }
}
