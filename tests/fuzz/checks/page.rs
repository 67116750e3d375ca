//! Page tokens: a byte for the list, one for the length of a token, the token, and an encoded filter. A token that is taken
//! is one that the daemon gives out, to the byte, and for this list with this filter alone.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass::{grpc::fuzzing::List, wire};
use prost::Message as _;

/// What comes before the id in a token: a version and a hash.
const HEAD_BYTES: usize = 9;

pub fn check(input: &[u8]) {
    let Some(([list, length], rest)) = input.split_first_chunk::<2>() else { return };
    let list = List::ALL[usize::from(*list) % List::ALL.len()];
    let Some((token, filter)) = rest.split_at_checked(usize::from(*length)) else { return };
    let good = if list == List::Targets { "orders-ro" } else { "01kb0x3v9m2d4e5f6g7h8j9kab" };
    let Some(known) = list.token(filter, good) else {
        assert_eq!(list.read(filter, ""), None, "the filter is none");
        return;
    };
    assert_eq!(list.read(filter, &known), Some(Ok(good.to_owned())), "what is given out is taken");
    // As a token, and as what stands in one behind a hash that fits.
    if let Ok(token) = std::str::from_utf8(token) {
        must_be_ours(list, filter, token);
    }
    let head = URL_SAFE_NO_PAD.decode(&known).unwrap();
    let made = URL_SAFE_NO_PAD.encode([&head[..HEAD_BYTES], token].concat());
    must_be_ours(list, filter, &made);
}

fn must_be_ours(list: List, filter: &[u8], token: &str) {
    let Some(Ok(shown)) = list.read(filter, token) else { return };
    assert_eq!(list.token(filter, &shown).as_deref(), Some(token), "this token was never given out");
    for other in List::ALL.into_iter().filter(|other| *other != list) {
        assert!(!matches!(other.read(filter, token), Some(Ok(_))), "taken by {other:?}");
    }
    // `target`, which is the second field of both messages.
    let other = [filter, b"\x12\x09targets/x"].concat();
    if differ(list, filter, &other) {
        assert!(!matches!(list.read(&other, token), Some(Ok(_))), "taken with another filter");
    }
}

/// Whether the two are different filters of this list.
fn differ(list: List, one: &[u8], other: &[u8]) -> bool {
    match list {
        List::Targets => false,
        List::Grants => wire::GrantFilter::decode(one) != wire::GrantFilter::decode(other),
        List::Requests | List::Exceptions => {
            wire::RequestFilter::decode(one) != wire::RequestFilter::decode(other)
        }
    }
}
