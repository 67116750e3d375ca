//! What can be wrong with an identity. Every text is ours: no part of a token or a certificate is in it, whatever it says.

/// Why an identity isn't trusted. Each reads after "the identity was refused: ".
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
    /// The client's certificate isn't to be trusted, or says nothing that helps.
    #[error("the client's certificate {0}")]
    Certificate(&'static str),
    /// The authorities or revocation lists can't be read or are out of date, so nothing can be said about a certificate.
    #[error("whether the client's certificate is revoked can't be known at present")]
    TrustUnavailable,
    /// The user at the other end of the socket is nobody who is known here.
    #[error("the user who calls isn't listed here")]
    User,
    /// The system's user database can't be asked, so nothing can be said about the user.
    #[error("the system's user database doesn't answer")]
    UsersUnavailable,
    /// The call says twice who calls.
    #[error("the call comes with more than one identity: {0}")]
    Ambiguous(&'static str),
    /// What was true when a stream began is so no longer.
    #[error("the caller's identity or groups have changed")]
    Changed,
}

impl IdentityError {
    /// Whether nothing is known of the identity, for a reason on this side: then nobody tried anything.
    #[must_use]
    pub const fn is_unavailable(&self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::TrustUnavailable | Self::UsersUnavailable)
    }

    /// Whether it is about a token, so that logging in again may help.
    #[must_use]
    pub const fn is_about_a_token(&self) -> bool {
        !matches!(
            self,
            Self::Certificate(_)
                | Self::TrustUnavailable
                | Self::User
                | Self::UsersUnavailable
                | Self::Ambiguous(_)
                | Self::Changed
        )
    }
}
