//! What can be wrong with a token. Every text is ours: no part of the token is in it, whatever the token says.

/// Why a token isn't trusted. Each reads after "the token was refused: ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It isn't a signed JWT, or not one that could be checked.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// Its header names another algorithm than those that its issuer is pinned to.
    #[error("the token is signed in another way than is allowed to its issuer")]
    Algorithm,
    /// The issuer has no such key.
    #[error("the token is signed with a key that the issuer doesn't publish")]
    UnknownKey,
    /// The signature doesn't fit: it is forged or damaged.
    #[error("the token's signature is wrong")]
    Signature,
    /// Somebody else issued it.
    #[error("the token is from an issuer that isn't trusted here")]
    Issuer,
    /// It is meant for somebody else, or not for this daemon alone.
    #[error("the token is for another audience")]
    Audience,
    /// Its time is over.
    #[error("the token is expired")]
    Expired,
    /// Its time has not begun.
    #[error("the token isn't valid yet; check the clocks of the issuer and of this host")]
    NotYetValid,
    /// A claim is missing or not what it has to be.
    #[error("the token's claims don't suffice: {0}")]
    Claims(String),
    /// The issuer's keys can't be had, so nothing can be said about the token.
    #[error("the identity provider's keys can't be had")]
    KeysUnavailable,
}
