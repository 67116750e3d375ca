//! What has to be written to get access to a target: how much, and with which ticket. It keeps people from approving
//! "pls" with "ok"; what the words are worth is for people to judge.

use std::{fmt, str::FromStr};

use regex_lite::Regex;

use super::{
    signing::Signing,
    text::{LINE_MAX_BYTES, Prose, Ticket},
};

/// What a target asks for. By default: some reason, some statement, no ticket, no signature.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writing {
    /// The least length of a reason, in characters.
    pub reason_min: u32,
    /// The least length of the statement of an approval or a denial, in characters.
    pub statement_min: u32,
    /// Whether a request needs a ticket.
    pub ticket_required: bool,
    /// What a ticket looks like.
    pub ticket_pattern: Option<TicketPattern>,
    /// Whether approvals have to be signed.
    pub signing: Signing,
}

impl Writing {
    /// What is wrong with a reason.
    #[must_use]
    pub fn reason_problem(&self, reason: &Prose) -> Option<String> {
        too_short(reason, self.reason_min)
    }

    /// What is wrong with the statement of a decision.
    #[must_use]
    pub fn statement_problem(&self, statement: &Prose) -> Option<String> {
        too_short(statement, self.statement_min)
    }

    /// What is wrong with a ticket, or with there being none.
    #[must_use]
    pub fn ticket_problem(&self, ticket: Option<&Ticket>) -> Option<String> {
        match (ticket, &self.ticket_pattern) {
            (None, _) if !self.ticket_required => None,
            (None, None) => Some("must be given for this target".to_owned()),
            (None, Some(pattern)) => Some(format!("must be given for this target, and match {pattern}")),
            (Some(ticket), Some(pattern)) if !pattern.matches(ticket) => {
                Some(format!("must match {pattern} for this target"))
            }
            (Some(_), _) => None,
        }
    }
}

fn too_short(text: &Prose, min: u32) -> Option<String> {
    // By characters, as people count; combining ones count, too.
    let length = text.as_str().chars().count();
    (length < min as usize)
        .then(|| format!("must have at least {min} characters for this target, and has {length}"))
}

/// A text that is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is not a regular expression of at most {LINE_MAX_BYTES} bytes: write letters, [0-9], +, *, ?, ( | ), \\ before \
     what stands for itself"
)]
pub struct BadPattern;

/// A regular expression (the syntax of the `regex` crate, without Unicode classes), which a ticket has to match as a
/// whole. Matching takes time in proportion to the ticket's length, whatever the expression.
#[derive(Clone, Debug)]
pub struct TicketPattern {
    text: String,
    whole: Regex,
}

impl TicketPattern {
    /// The expression, as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn matches(&self, ticket: &Ticket) -> bool {
        self.whole.is_match(ticket.as_str())
    }
}

impl FromStr for TicketPattern {
    type Err = BadPattern;

    fn from_str(text: &str) -> Result<Self, BadPattern> {
        if text.len() > LINE_MAX_BYTES || Regex::new(text).is_err() {
            // By itself first, so that a bracket can't close the one that is put around it.
            return Err(BadPattern);
        }
        let whole = Regex::new(&format!(r"\A(?:{text})\z")).map_err(|_| BadPattern)?;
        Ok(Self { text: text.to_owned(), whole })
    }
}

impl PartialEq for TicketPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TicketPattern {}

impl fmt::Display for TicketPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket(text: &str) -> Option<Ticket> {
        Ticket::new(text).unwrap()
    }

    #[test]
    fn texts_have_a_least_length_in_characters() {
        let writing = Writing { reason_min: 4, statement_min: 2, ..Writing::default() };
        let problem = |text: &str| writing.reason_problem(&Prose::new(text).unwrap());
        assert_eq!(problem("öäüß"), None);
        assert_eq!(
            problem("  öäü \n").as_deref(),
            Some("must have at least 4 characters for this target, and has 3")
        );
        let problem = |text: &str| writing.statement_problem(&Prose::new(text).unwrap());
        assert_eq!((problem("ok"), problem("k").is_some()), (None, true));
        assert_eq!(Writing::default().reason_problem(&Prose::new("x").unwrap()), None);
    }

    #[test]
    fn a_ticket_is_asked_for_or_not() {
        let free = Writing::default();
        assert_eq!((free.ticket_problem(None), free.ticket_problem(ticket("x").as_ref())), (None, None));
        let required = Writing { ticket_required: true, ..Writing::default() };
        assert_eq!(required.ticket_problem(None).as_deref(), Some("must be given for this target"));
        assert_eq!(required.ticket_problem(ticket("x").as_ref()), None);
    }

    #[test]
    fn a_pattern_has_to_match_as_a_whole() {
        let with =
            |pattern: &str| Writing { ticket_pattern: Some(pattern.parse().unwrap()), ..Writing::default() };
        let ops = with("OPS-[0-9]+|INC[0-9]{7}");
        assert_eq!(ops.ticket_problem(None), None, "there needn't be any");
        for good in ["OPS-1", "INC0000001"] {
            assert_eq!(ops.ticket_problem(ticket(good).as_ref()), None, "{good}");
        }
        for bad in ["OPS-", "xOPS-1", "OPS-1x", "INC00000012", "OPS-1 INC0000001"] {
            assert!(ops.ticket_problem(ticket(bad).as_ref()).unwrap().contains("must match OPS-"), "{bad}");
        }
        let required = Writing { ticket_required: true, ..ops };
        assert!(
            required.ticket_problem(None).unwrap().contains("must be given for this target, and match OPS-")
        );
    }

    #[test]
    fn what_is_no_expression_is_refused() {
        for bad in ["(", ")|(", "[a", "*", &"x".repeat(LINE_MAX_BYTES + 1)] {
            assert_eq!(bad.parse::<TicketPattern>(), Err(BadPattern), "{bad}");
        }
        assert!("x".repeat(LINE_MAX_BYTES).parse::<TicketPattern>().is_ok());
        let pattern: TicketPattern = "a|b".parse().unwrap();
        assert_eq!((pattern.as_str(), pattern.to_string().as_str()), ("a|b", "a|b"));
        assert_ne!(pattern, "a".parse().unwrap());
        assert_eq!(pattern, "a|b".parse().unwrap());
    }
}
