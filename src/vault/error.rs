//! What can go wrong in a call to Vault, and how it is told.
//!
//! A [`Failure`] is for this module's own decisions and may hold what Vault said; it has neither `Debug` nor `Display`.
//! Only [`Operation::error`] makes a [`VaultError`] of it, and it lets no token, accessor or lease id through, whatever
//! Vault, a database or a proxy wrote into its answer.

use std::borrow::Cow;

use super::{Outcome, VaultError};

/// What a sealed Vault says to every request.
const SEALED: &str = "Vault is sealed";

/// How much of an answer's text an error repeats, in characters: enough for a database's complaint.
const TEXT_MAX: usize = 400;

/// From this length on, a word of mixed letters and digits counts as a handle. Vault's random parts have 24 characters.
const HANDLE_MIN: usize = 20;

/// What a call came to when it didn't succeed.
pub(super) enum Failure {
    /// Vault answered with an error of its own.
    Said {
        /// The HTTP status.
        status: u16,
        /// The texts, one for each error; may be none.
        errors: Vec<String>,
    },
    /// Something answered that isn't Vault: a proxy, or a redirect.
    Foreign {
        /// The HTTP status.
        status: u16,
    },
    /// A success that can't be understood.
    Unreadable,
    /// No connection was made, so that nothing was sent. The text says why.
    Unreached(String),
    /// The connection ended before the answer came. The text says how.
    Cut(String),
    /// No answer came within the time limit.
    Silent,
    /// Nothing was sent, for a reason of our own.
    Unsent(String),
}

impl Failure {
    /// Whether Vault certainly did nothing.
    ///
    /// | answer | outcome |
    /// |---|---|
    /// | no connection, or nothing sent | refused |
    /// | Vault's own 4xx; 429 comes from its rate limit, which stands before everything else | refused |
    /// | Vault's own 503 that says "sealed" and nothing else: it is looked for before the request is | refused |
    /// | any other 5xx: it may come after the effect, or from a node that gave up waiting for the one that acts | unknown |
    /// | a success that can't be understood | unknown |
    /// | any status without Vault's words, such as a proxy's or a redirect | unknown |
    /// | a time-out, or a connection cut, before or within the answer | unknown |
    ///
    /// Source: <https://developer.hashicorp.com/vault/api-docs#http-status-codes>,
    /// <https://developer.hashicorp.com/vault/docs/concepts/resource-quotas>; that sealing waits for requests under way
    /// was read in OpenBao's source.
    pub(super) fn outcome(&self) -> Outcome {
        match self {
            Self::Said { status: 400..=499, .. } | Self::Unreached(_) | Self::Unsent(_) => Outcome::Refused,
            Self::Said { .. } if self.said(503, SEALED) => Outcome::Refused,
            _ => Outcome::Unknown,
        }
    }

    /// Whether Vault answered with this status and, among its texts, exactly this one.
    pub(super) fn said(&self, code: u16, text: &str) -> bool {
        matches!(self, Self::Said { status, errors } if *status == code && errors.iter().any(|e| plain(e) == text))
    }

    /// Whether Vault answered with this status.
    pub(super) fn is(&self, code: u16) -> bool {
        matches!(self, Self::Said { status, .. } if *status == code)
    }

    /// Whether Vault is sealed, or was while it worked: then the text is part of another, and something may be done.
    fn is_sealed(&self) -> bool {
        matches!(self, Self::Said { status: 503, errors } if errors.iter().any(|e| e.contains(SEALED)))
    }
}

/// Vault's texts come bare or, from its `multierror`, as a list of one. This is the bare one.
fn plain(text: &str) -> &str {
    let text = text.trim();
    text.strip_prefix("1 error occurred:").map_or(text, |rest| rest.trim().trim_start_matches("* ")).trim()
}

/// One of the things that the daemon asks of Vault, with what a policy must grant for it.
pub(super) struct Operation {
    /// For people: what was tried.
    pub(super) name: &'static str,
    /// The path as a policy names it. Never one with a handle in it.
    pub(super) path: Cow<'static, str>,
    /// The capabilities that the path takes.
    pub(super) capability: &'static str,
}

impl Operation {
    pub(super) const fn new(name: &'static str, path: &'static str, capability: &'static str) -> Self {
        Self { name, path: Cow::Borrowed(path), capability }
    }

    /// Tells the failure, without the handles and secrets in `hide` and without what looks like one.
    pub(super) fn error(&self, failure: &Failure, hide: &[&str]) -> VaultError {
        self.refuse(failure.outcome(), self.reason(failure, hide))
    }

    /// Tells what this module itself found wrong. `reason` must hold no handle.
    pub(super) fn refuse(&self, outcome: Outcome, reason: impl Into<String>) -> VaultError {
        VaultError { operation: self.name, reason: reason.into(), outcome }
    }

    fn reason(&self, failure: &Failure, hide: &[&str]) -> String {
        match failure {
            Failure::Said { status: 403, .. } => self.denied(),
            Failure::Said { .. } if failure.is_sealed() => {
                "Vault is sealed; unseal it, it revokes nothing meanwhile".into()
            }
            Failure::Said { status, errors } => told(*status, errors, hide),
            Failure::Foreign { status: status @ 300..=399 } => format!(
                "a redirect ({status}), which is not followed; give the address of the active node, \
                 or let the standby forward requests"
            ),
            Failure::Foreign { status } => {
                format!(
                    "status {status} without Vault's words; check the address and what stands before Vault"
                )
            }
            Failure::Unreadable => {
                "an answer that can't be understood; check that the address is Vault's".into()
            }
            Failure::Unreached(why) => format!("cannot connect ({why}); {}", connect_advice(why)),
            Failure::Cut(why) => format!("no answer ({why}); it may have been done or may yet be"),
            Failure::Silent => "no answer within the time limit; it may have been done or may yet be".into(),
            Failure::Unsent(why) => why.clone(),
        }
    }

    fn denied(&self) -> String {
        format!(
            "permission denied; the policy must grant {} on {}, if it does then the token has ended",
            self.capability, self.path
        )
    }
}

fn told(status: u16, errors: &[String], hide: &[&str]) -> String {
    if errors.is_empty() {
        return format!("Vault answered {status}");
    }
    let texts: Vec<_> = errors.iter().map(|e| scrub(plain(e), hide)).collect();
    format!("Vault answered {status}: {}", texts.join("; "))
}

fn connect_advice(why: &str) -> &'static str {
    if why.contains("certificate") {
        "check that ca_file holds the authority of Vault's certificate, and the address its name"
    } else {
        "check that Vault runs and that the address is right"
    }
}

/// Vault's text on one line, bounded, with `…` for what is in `hide` and for what looks like a handle.
///
/// Of a lease id, the last part alone is hidden too: that is what makes it one.
pub(super) fn scrub(text: &str, hide: &[&str]) -> String {
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for secret in hide.iter().filter(|s| !s.is_empty()) {
        text = text.replace(secret, "…");
        if let Some((_, last)) = secret.rsplit_once('/').filter(|(_, last)| !last.is_empty()) {
            text = text.replace(last, "…");
        }
    }
    words(&text).chars().take(TEXT_MAX).collect()
}

/// Replaces each word that looks like a handle, and keeps everything between the words.
fn words(text: &str) -> String {
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    text.split_inclusive(|c| !in_word(c))
        .map(|piece| {
            let word = piece.trim_end_matches(|c| !in_word(c));
            let rest = piece.get(word.len()..).unwrap_or_default();
            if looks_like_handle(word) { format!("…{rest}") } else { piece.to_owned() }
        })
        .collect()
}

/// Tokens have a prefix; accessors, lease ids and old tokens are long runs of mixed letters and digits. Ids of our own
/// have no capitals and stay readable, as do names made of several parts.
fn looks_like_handle(word: &str) -> bool {
    let prefixed = ["hvs.", "hvb.", "hvr.", "s.", "b.", "r."].iter().any(|p| word.starts_with(p));
    (prefixed && word.len() >= HANDLE_MIN) || word.split(['-', '.']).any(is_random)
}

fn is_random(run: &str) -> bool {
    let has = |wanted: fn(&char) -> bool| run.chars().any(|c| wanted(&c));
    let mixed = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase);
    run.len() >= HANDLE_MIN && (mixed || run.len() >= 2 * HANDLE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(status: u16, text: &str) -> Failure {
        Failure::Said { status, errors: vec![text.into()] }
    }

    const LOOK_UP: Operation = Operation::new("look the lease up", "sys/leases/lookup", "update");

    #[test]
    fn the_handles_of_the_call_are_hidden() {
        let lease = "database/creds/hp/tr46VGDTiQ5qteYP87BbVMKz";
        let error =
            LOOK_UP.error(&said(400, &format!("failed to revoke \"{lease}\" (acc)")), &[lease, "acc"]);
        assert_eq!(
            error.to_string(),
            "Vault: look the lease up: Vault answered 400: failed to revoke \"…\" (…)"
        );
    }

    #[test]
    fn handles_of_other_calls_are_hidden_too() {
        for handle in [
            "tr46VGDTiQ5qteYP87BbVMKz",
            "hvs.CAESIJ-x_yZ0123456789abcdefg",
            "s.QoQF4i5XGOkWt9Z0Imveoasm",
            "ha5ff8e229aeae2019f946045b874bdc4ee7164c2979e5d48766fa779982657b0",
        ] {
            assert_eq!(scrub(&format!("lease (db/{handle}), again"), &[]), "lease (db/…), again");
        }
    }

    #[test]
    fn what_helps_stays() {
        let text = "dial tcp 127.0.0.1:5432: connect: connection refused; role token-01k9zq2m3n4p5r6s7t8v9w0x1y-a1B2c3";
        assert_eq!(scrub(text, &[]), text);
    }

    #[test]
    fn a_long_text_on_many_lines_becomes_a_short_one_on_one() {
        let text = scrub(&"a line\n".repeat(500), &[]);
        assert_eq!((text.chars().count(), text.contains('\n')), (TEXT_MAX, false));
    }

    #[test]
    fn a_list_of_one_is_its_one_text() {
        let failure = said(400, "1 error occurred:\n\t* invalid accessor\n\n");
        assert!(failure.said(400, "invalid accessor"));
        assert!(!failure.said(403, "invalid accessor"));
    }

    #[test]
    fn denied_names_the_path_and_the_capability() {
        let reason = LOOK_UP.error(&said(403, "permission denied"), &[]).reason;
        assert!(reason.contains("grant update on sys/leases/lookup"), "{reason}");
    }

    #[test]
    fn only_a_certain_refusal_is_one() {
        let refused = [
            said(403, "permission denied"),
            said(400, "unknown role"),
            said(429, "request path \"x\": rate limit quota exceeded"),
            said(503, "Vault is sealed"),
            Failure::Unreached("refused".into()),
            Failure::Unsent("no login".into()),
        ];
        assert!(refused.iter().all(|f| f.outcome() == Outcome::Refused));
        let unknown = [
            said(500, "internal error"),
            said(503, "something else"),
            said(503, "failed to persist the entry: Vault is sealed"),
            Failure::Said { status: 503, errors: Vec::new() },
            Failure::Foreign { status: 403 },
            Failure::Foreign { status: 502 },
            Failure::Silent,
            Failure::Cut("reset".into()),
            Failure::Unreadable,
        ];
        assert!(unknown.iter().all(|f| f.outcome() == Outcome::Unknown));
    }
}
