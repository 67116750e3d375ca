//! Answers of HTTP servers: read up to a bound, and quoted in errors so that they can do no harm.

use reqwest::Response;

use super::{error::chain, escape};

/// The longest text of a server's that an error repeats.
const QUOTE_MAX_CHARS: usize = 300;

/// Reads an answer; `None` if it is longer than that.
///
/// # Errors
///
/// If the connection breaks.
pub async fn read(response: &mut Response, max_bytes: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if bytes.len() + chunk.len() > max_bytes {
            return Ok(None);
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Some(bytes))
}

/// Why a call failed on its way. The address stays in the text without its query, which may hold a code.
#[must_use]
pub fn network(mut error: reqwest::Error) -> String {
    if let Some(url) = error.url_mut() {
        url.set_query(None);
    }
    chain(&error)
}

/// What a server said, in one line, not too long, and with nothing in it that a terminal would obey. An error's own lines
/// begin with `hint:`, so nobody else's words may begin one.
#[must_use]
pub fn quote(text: &str) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut short: String = words.chars().take(QUOTE_MAX_CHARS).collect();
    if short.len() < words.len() {
        short.push('…');
    }
    escape::line(&short)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_one_short_line_that_no_terminal_obeys() {
        assert_eq!(quote("denied\nhint: run \u{1b}]0;x\u{7}"), "denied hint: run \\u{1b}]0;x\\u{7}");
        assert_eq!(quote("\u{202e}no"), "\\u{202e}no");
        let long = quote(&"é".repeat(5_000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (301, true));
    }
}
