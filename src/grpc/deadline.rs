//! How long a call may take: as long as its caller says, and no longer than we do.

use std::time::Duration;

use http::HeaderMap;

/// How long a call may take; a stream, until it begins. Longer than all that a claim waits for, each with its own bound;
/// and a claim whose call is cut goes on by itself.
pub(super) const CALL_MAX: Duration = Duration::from_mins(2);

/// How much earlier than its caller asks a call is given up, so that the answer, with its reason, still comes in time: both
/// the caller and the transport library count the same time, and know nothing better to say than that it is over.
const AHEAD: Duration = Duration::from_millis(20);

/// The header of a caller's own limit, and how many digits it may have.
const HEADER: &str = "grpc-timeout";
const DIGITS_MAX: usize = 8;

/// How long this call may take. A limit that can't be read is none.
pub(super) fn limit(headers: &HeaderMap) -> Duration {
    let asked = headers.get(HEADER).and_then(|value| parse(value.to_str().ok()?));
    asked.map_or(CALL_MAX, |asked| asked.saturating_sub(AHEAD).min(CALL_MAX))
}

/// A number and a unit (gRPC over HTTP/2, "Timeout").
fn parse(text: &str) -> Option<Duration> {
    let digits = text.get(..text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > DIGITS_MAX || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number = digits.parse::<u64>().ok()?;
    match text.get(digits.len()..)? {
        "H" => Some(Duration::from_hours(number)),
        "M" => Some(Duration::from_mins(number)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn limit_of(value: &[u8]) -> Duration {
        let headers =
            HeaderMap::from_iter([(HEADER.parse().unwrap(), HeaderValue::from_bytes(value).unwrap())]);
        limit(&headers)
    }

    #[test]
    fn a_callers_limit_counts_up_to_ours() {
        assert_eq!(limit(&HeaderMap::new()), CALL_MAX);
        for (asked, granted) in [
            ("1S", Duration::from_millis(980)),
            ("1000m", Duration::from_millis(980)),
            ("500000u", Duration::from_millis(480)),
            ("99999999n", Duration::from_nanos(79_999_999)),
            ("1M", Duration::from_millis(59_980)),
            ("3M", CALL_MAX),
            ("99999999H", CALL_MAX),
            ("0S", Duration::ZERO),
        ] {
            assert_eq!(limit_of(asked.as_bytes()), granted, "{asked}");
        }
    }

    #[test]
    fn nonsense_is_no_limit_but_ours() {
        for nonsense in ["", "S", "1", "1s", "-1S", "+1S", "1 S", "999999999S", "1.5S", "1S1S", "∞", "1µ"]
        {
            assert_eq!(limit_of(nonsense.as_bytes()), CALL_MAX, "{nonsense}");
        }
        assert_eq!(limit_of(b"\xff\xfeS"), CALL_MAX);
    }
}
