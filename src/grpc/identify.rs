//! Who a call says that calls, once: by a token in its headers, or by what its connection shows.
//!
//! A call that says it twice is refused, because either could be meant, and whoever reads it next may mean the other one.

use http::{HeaderMap, header::AUTHORIZATION};
use tonic::Status;

use super::{peer::Peer, status};
use crate::identity::{Evidence, IdentityError, Verified, Verifier};

/// What the headers hold.
enum Bearer {
    Token(String),
    Missing,
    Bad(&'static str),
}

/// Who calls, and what of that can stop to hold.
pub(super) async fn identify(
    verifier: &Verifier,
    peer: &Peer,
    headers: &mut HeaderMap,
) -> Result<(Verified, Option<Evidence>), Refusal> {
    match peer.evidence() {
        Some(evidence) => {
            if headers.remove(AUTHORIZATION).is_some() {
                return Err(Refusal::Identity(IdentityError::Ambiguous(match evidence {
                    Evidence::Certificate(_) => "a certificate and an authorization header; leave one out",
                    Evidence::User(_) => "the socket says who calls; leave the authorization header out",
                })));
            }
            let known = verifier.verify_evidence(&evidence).await.map_err(Refusal::Identity)?;
            Ok((known, Some(evidence)))
        }
        None => match bearer(headers) {
            Bearer::Missing => Err(Refusal::Nobody),
            Bearer::Bad(problem) => Err(Refusal::Header(problem)),
            Bearer::Token(token) => {
                let known = verifier.verify(&token).await.map_err(Refusal::Identity)?;
                Ok((known, None))
            }
        },
    }
}

/// Why somebody isn't let in.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error("there is no token")]
    Nobody,
    #[error("{0}")]
    Header(&'static str),
    #[error("{0}")]
    Identity(IdentityError),
}

impl Refusal {
    pub(super) const fn is_unavailable(&self) -> bool {
        matches!(self, Self::Identity(error) if error.is_unavailable())
    }

    pub(super) fn status(&self) -> Status {
        match self {
            Self::Identity(error) => status::identity(error),
            other => status::token_invalid(&other.to_string()),
        }
    }
}

/// Takes the token off the headers.
fn bearer(headers: &mut HeaderMap) -> Bearer {
    if headers.get_all(AUTHORIZATION).iter().count() > 1 {
        return Bearer::Bad("there is more than one authorization header");
    }
    let Some(value) = headers.remove(AUTHORIZATION) else { return Bearer::Missing };
    let Ok(text) = value.to_str() else { return Bearer::Bad("the authorization header isn't plain text") };
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
            Bearer::Token(token.trim().to_owned())
        }
        // Other schemes carry no token of ours, so there is none.
        _ => Bearer::Missing,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn one_bearer_token_is_taken_off_the_call() {
        for good in ["Bearer a.b.c", "bearer a.b.c", "BEARER  a.b.c "] {
            let mut headers = headers(&[good]);
            assert!(matches!(bearer(&mut headers), Bearer::Token(token) if token == "a.b.c"), "{good}");
            assert!(headers.is_empty());
        }
    }

    #[test]
    fn no_token_is_no_token() {
        for missing in [&[][..], &["Basic dXNlcjpwYXNz"], &["a.b.c"], &[""]] {
            assert!(matches!(bearer(&mut headers(missing)), Bearer::Missing), "{missing:?}");
        }
    }

    #[test]
    fn two_tokens_are_one_too_many() {
        assert!(matches!(bearer(&mut headers(&["Bearer a", "Bearer b"])), Bearer::Bad(_)));
        assert!(matches!(bearer(&mut headers(&["Basic a", "Bearer b"])), Bearer::Bad(_)));
    }
}
