//! Lengths of time, for people and for commands.

use std::time::Duration;

/// For people: `1h 30m`.
pub(super) fn words(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

/// As Vault's commands take it: in the largest unit that makes it a whole number.
pub(super) fn ttl(seconds: u64) -> String {
    match seconds {
        hours if hours % 3600 == 0 => format!("{}h", hours / 3600),
        minutes if minutes % 60 == 0 => format!("{}m", minutes / 60),
        seconds => format!("{seconds}s"),
    }
}

/// Whole seconds that are no less: what a bound must be.
pub(super) fn at_least(length: Duration) -> u64 {
    length.as_secs() + u64::from(length.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_whole_numbers() {
        assert_eq!([7200, 5400, 90].map(ttl), ["2h", "90m", "90s"]);
        assert_eq!(at_least(Duration::from_millis(1001)), 2);
    }
}
