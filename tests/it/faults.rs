//! Faults on the daemon's way to Vault, at each call by which a grant is made and ended, and what must be true after each
//! of them, whatever the fault was:
//!
//! - a claim delivers a credential that works and ends with its window, or says what failed, and then nothing is left;
//! - a grant is REVOKED only when its account is gone, and after the fault it comes to that with nobody's help;
//! - the holder who got nothing, or lost it, claims again.
//!
//! OpenBao and PostgreSQL are real and are asked themselves. Nobody knows whether a read that had no answer is still under
//! way in Vault, so its grant stays REVOKING until that is impossible, minutes later: here it is only seen that it says so
//! and that nothing is left, and the tests with a clock to turn see the rest.

mod company;
mod ending;
mod issuing;
mod outage;
mod proxy;

use crate::support::servers::proxy::{Fault, When};

const SEALED: &str = r#"{"errors":["Vault is sealed"]}"#;
const LIMITED: &str = r#"{"errors":["request path \"x\": rate limit quota exceeded"]}"#;
const BROKEN: &str = r#"{"errors":["1 error occurred:\n\t* internal error\n\n"]}"#;
const PAGE: &str = "<html><body>Please sign in</body></html>";
/// It has the words that prove an end, but not from Vault.
const FALSE_WORD: &str = "<html>invalid lease, token not found</html>";

/// Each kind of fault, by what a test of it is called.
const RESETS: [Fault; 2] = [Fault::Reset(When::Before), Fault::Reset(When::After)];
const SILENCES: [Fault; 3] = [Fault::Hang(When::Before), Fault::Hang(When::After), Fault::Stall];
const REFUSALS: [Fault; 2] =
    [Fault::Says(When::Before, 429, LIMITED), Fault::Says(When::Before, 503, SEALED)];
const ERRORS: [Fault; 3] = [
    Fault::Says(When::Before, 500, BROKEN),
    Fault::Says(When::After, 500, BROKEN),
    Fault::Says(When::After, 502, PAGE),
];
const NONSENSE: [Fault; 3] =
    [Fault::Says(When::Before, 200, PAGE), Fault::Says(When::Before, 400, FALSE_WORD), Fault::Cut];
const OTHERS: [Fault; 2] = [Fault::Slow, Fault::Last];
