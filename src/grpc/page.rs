//! Pages of lists, by keyset: a token names the last thing that was shown, never a position, so it stays valid while
//! things are added (<https://google.aip.dev/158>).
//!
//! A token is no secret and gives no access: what a list shows is decided anew for each page. It is bound to its list and
//! filter, so that a mistake is an error rather than a page of something else.

use std::{fmt::Display, str::FromStr};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::{
    access::id::RequestId,
    broker::{BadField, Part, Slice},
};

/// The size of a page if none is asked for.
const SIZE_DEFAULT: u32 = 50;
/// The largest page; who asks for more gets this many.
const SIZE_MAX: u32 = 200;
/// How long a page gets before it ends early: half of what gRPC clients take by default. People write long statements.
const PAGE_MAX_BYTES: usize = 2 * 1024 * 1024;
/// The first byte of a token, should another kind ever be needed.
const VERSION: u8 = 1;
/// How much of the filter's hash a token holds: it only has to catch mistakes.
const HASH_BYTES: usize = 8;
/// Longer than any token that is given out.
const TOKEN_MAX_BYTES: usize = 256;

/// What is asked of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page<Id> {
    size: u32,
    after: Option<Id>,
    hash: [u8; HASH_BYTES],
}

impl<Id: Copy> Page<Id> {
    /// The part of the list to read: one more than fits, which tells whether there is another page.
    pub(super) const fn slice(&self) -> Slice<Id> {
        Slice { after: self.after, limit: self.size + 1 }
    }
}

impl<Id: FromStr + Display> Page<Id> {
    /// Reads `page_size` and `page_token` of a list with this filter.
    pub(super) fn parse(
        list: &'static str,
        filter: &impl Message,
        page_size: i32,
        page_token: &str,
    ) -> (Self, Vec<BadField>) {
        let mut bad = Vec::new();
        let size = match u32::try_from(page_size) {
            Ok(0) => SIZE_DEFAULT,
            Ok(size) => size.min(SIZE_MAX),
            Err(_) => {
                bad.push(BadField::new("page_size", "must not be negative"));
                SIZE_DEFAULT
            }
        };
        let hash = hash(list, filter);
        let after = match page_token {
            "" => None,
            token => last(token, hash).or_else(|| {
                let problem =
                    "is not the next_page_token of this list with this filter; begin with the first page";
                bad.push(BadField::new("page_token", problem));
                None
            }),
        };
        (Self { size, after, hash }, bad)
    }

    /// The last thing on the page before.
    pub(super) const fn after(&self) -> Option<&Id> {
        self.after.as_ref()
    }

    /// Fills the page, and makes the token of the next one if anything is left.
    pub(super) fn fill<T, M: Message>(
        &self,
        items: impl IntoIterator<Item = T>,
        id: impl Fn(&T) -> Id,
        render: impl Fn(T) -> M,
    ) -> (Vec<M>, String) {
        let (mut page, mut bytes, mut last) = (Vec::new(), 0, None);
        for item in items {
            let item_id = id(&item);
            let message = render(item);
            bytes += message.encoded_len();
            let full = page.len() >= self.size as usize || bytes > PAGE_MAX_BYTES;
            // One thing is shown however long it is, or the list would never get past it.
            if let (true, Some(last)) = (full, &last) {
                return (page, self.token(last));
            }
            page.push(message);
            last = Some(item_id);
        }
        (page, String::new())
    }

    /// The same of what was found of a list: where the search ended early, the next page goes on there.
    pub(super) fn fill_part<T, M: Message>(
        &self,
        part: Part<T>,
        id: impl Fn(&T) -> Id,
        render: impl Fn(T) -> M,
    ) -> (Vec<M>, String)
    where
        Id: From<RequestId>,
    {
        let Part { items, resume } = part;
        let (page, token) = self.fill(items, id, render);
        match resume {
            Some(resume) if token.is_empty() => (page, self.token(&resume.into())),
            _ => (page, token),
        }
    }

    fn token(&self, last: &Id) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.hash);
        bytes.extend_from_slice(last.to_string().as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// What the token names, if it is one of this list and filter. Ids have more than one spelling; in a token is the one that
/// was put there.
fn last<Id: FromStr + Display>(token: &str, hash: [u8; HASH_BYTES]) -> Option<Id> {
    let bytes = URL_SAFE_NO_PAD.decode(Some(token).filter(|token| token.len() <= TOKEN_MAX_BYTES)?).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (bound, id) = rest.split_at_checked(HASH_BYTES)?;
    let fits = *version == VERSION && bound == hash;
    let last: Id = std::str::from_utf8(id).ok().filter(|_| fits)?.parse().ok()?;
    (last.to_string().as_bytes() == id).then_some(last)
}

fn hash(list: &'static str, filter: &impl Message) -> [u8; HASH_BYTES] {
    let mut hash = Sha256::new();
    hash.update(list);
    hash.update([0]);
    hash.update(filter.encode_to_vec());
    let mut short = [0; HASH_BYTES];
    short.iter_mut().zip(hash.finalize()).for_each(|(byte, whole)| *byte = whole);
    short
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::wire;

    fn id(random: u128) -> RequestId {
        RequestId::new(DateTime::UNIX_EPOCH, random)
    }

    fn filter(requester: &str) -> wire::RequestFilter {
        wire::RequestFilter { requester: requester.into(), ..wire::RequestFilter::default() }
    }

    fn request(random: u128) -> wire::Request {
        wire::Request { name: format!("requests/{}", id(random)), ..wire::Request::default() }
    }

    fn page(size: i32, token: &str) -> Page<RequestId> {
        let (page, bad) = Page::parse("requests", &filter("dana"), size, token);
        assert_eq!(bad, []);
        page
    }

    /// Fields that are wrong when this token comes with this list and filter.
    fn wrong(list: &'static str, requester: &str, size: i32, token: &str) -> Vec<&'static str> {
        let (_, bad) = Page::<RequestId>::parse(list, &filter(requester), size, token);
        bad.into_iter().map(|bad| bad.field).collect()
    }

    #[test]
    fn sizes_have_a_default_and_a_bound() {
        for (asked, given) in [(0, 50), (1, 1), (200, 200), (201, 200), (i32::MAX, 200)] {
            assert_eq!(page(asked, "").slice().limit, given + 1, "{asked}");
        }
        for negative in [-1, i32::MIN] {
            assert_eq!(wrong("requests", "dana", negative, ""), ["page_size"]);
        }
    }

    #[test]
    fn a_list_is_walked_to_its_end_while_it_grows() {
        let (first, token) = page(2, "").fill([9, 8, 7], |n| id(*n), request);
        assert_eq!(first, [request(9), request(8)]);
        let next = page(2, &token);
        // What came in meanwhile is newer, so it doesn't shift anything.
        assert_eq!(next.slice(), Slice { after: Some(id(8)), limit: 3 });
        let (second, end) = next.fill([7], |n| id(*n), request);
        assert_eq!((second, end.as_str()), (vec![request(7)], ""));
        assert_eq!(page(2, "").fill([9, 8], |n| id(*n), request).1, "", "a full last page has no next one");
    }

    #[test]
    fn a_token_goes_with_its_list_and_filter_only() {
        let (_, token) = page(1, "").fill([9, 8], |n| id(*n), request);
        assert!(wrong("requests", "dana", 100, &token).is_empty(), "the size may change");
        assert_eq!(wrong("requests", "erin", 1, &token), ["page_token"]);
        assert_eq!(wrong("exceptions", "dana", 1, &token), ["page_token"]);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        let other_version = [&[2], &bytes[1..]].concat();
        for bad in [&other_version[..], &bytes[..20], &bytes[..9], &bytes[..3], &[]] {
            let bad = format!("{}=", URL_SAFE_NO_PAD.encode(bad));
            assert_eq!(
                wrong("requests", "dana", 1, bad.trim_end_matches('=')).len(),
                usize::from(bad.len() > 1)
            );
        }
        for bad in ["x", "!", "1", &"A".repeat(300), &format!("{token}A")] {
            assert_eq!(wrong("requests", "dana", 1, bad), ["page_token"], "{bad}");
        }
        assert_eq!(wrong("requests", "dana", -1, "x"), ["page_size", "page_token"], "all at once");
    }

    /// There is one token for one place in a list.
    #[test]
    fn a_token_has_one_spelling() {
        let (_, token) = page(1, "").fill([u128::MAX, 8], |n| id(*n), request);
        let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
        let (head, shown) = bytes.split_at(1 + HASH_BYTES);
        assert_ne!(shown, shown.to_ascii_uppercase());
        let other = URL_SAFE_NO_PAD.encode([head, &shown.to_ascii_uppercase()].concat());
        assert_eq!(wrong("requests", "dana", 1, &token), [""; 0]);
        assert_eq!(wrong("requests", "dana", 1, &other), ["page_token"]);
    }

    #[test]
    fn a_page_ends_before_it_is_too_long_for_a_client() {
        let long = |n: u128| wire::Request { reason: "x".repeat(PAGE_MAX_BYTES * 2 / 3), ..request(n) };
        let (first, token) = page(50, "").fill([9, 8, 7], |n| id(*n), long);
        assert_eq!(first.len(), 1);
        assert_eq!(page(50, &token).after(), Some(&id(9)));
        let huge = |n: u128| wire::Request { reason: "x".repeat(PAGE_MAX_BYTES * 2), ..request(n) };
        let (first, token) = page(50, "").fill([9, 8], |n| id(*n), huge);
        assert_eq!((first.len(), token.is_empty()), (1, false), "one is shown however long it is");
    }
}
