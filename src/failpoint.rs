//! Places where the process can be made to die, so that tests can see what a crash there leaves.
//!
//! Only a build with the feature `failpoints` can be told to, by `HALLPASS_DIE_AT`; in any other build these are empty and
//! no variable is looked at. The feature is switched on for tests by the package's dependency on itself, and never by
//! `cargo build`.

/// A place between two steps of issuing or ending. Each but the last is passed once for each credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Point {
    /// A claim was let in; nothing is recorded.
    ClaimAllowed,
    /// The intent is on record.
    IntentRecorded,
    /// Vault made the grant's token; nobody else knows it.
    TokenMinted,
    /// The token's accessor is on record.
    TokenRecorded,
    /// Vault made the credential and wrapped it; its lease isn't known.
    CredentialRead,
    /// The lease was found; it isn't on record.
    LeaseFound,
    /// The lease is on record.
    LeaseRecorded,
    /// The token's end is set, the lease's isn't.
    TokenShortened,
    /// Both ends are set.
    Shortened,
    /// The grant is held; the holder has no answer.
    Activated,
    /// An earlier credential is gone; the one that replaces it isn't begun.
    EarlierEnded,
    /// A grant has to end; that isn't on record.
    EndingDue,
    /// That it ends is on record.
    EndingRecorded,
    /// The wrapped credential is destroyed.
    WrappingRevoked,
    /// The grant's token is revoked.
    TokenRevoked,
    /// The lease is revoked.
    LeaseRevoked,
    /// Vault said that the lease is gone; that isn't on record.
    LeaseGone,
    /// The end is on record.
    EndRecorded,
    /// That another configuration is in force is on record; it isn't yet. Not on the way of a credential.
    ReloadRecorded,
}

impl Point {
    /// All that are on the way of a credential, in the order of the story.
    pub const ALL: [Self; 18] = [
        Self::ClaimAllowed,
        Self::IntentRecorded,
        Self::TokenMinted,
        Self::TokenRecorded,
        Self::CredentialRead,
        Self::LeaseFound,
        Self::LeaseRecorded,
        Self::TokenShortened,
        Self::Shortened,
        Self::Activated,
        Self::EarlierEnded,
        Self::EndingDue,
        Self::EndingRecorded,
        Self::WrappingRevoked,
        Self::TokenRevoked,
        Self::LeaseRevoked,
        Self::LeaseGone,
        Self::EndRecorded,
    ];
}

/// The process dies here, by SIGKILL, if the environment's `HALLPASS_DIE_AT` is the point's name, like `TokenMinted`.
#[cfg(feature = "failpoints")]
pub fn reach(point: Point) {
    static CHOSEN: std::sync::LazyLock<Option<String>> =
        std::sync::LazyLock::new(|| std::env::var("HALLPASS_DIE_AT").ok());
    if CHOSEN.as_deref() == Some(&format!("{point:?}")) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal may reach another thread a moment later; this one goes no further.
        std::thread::park();
    }
}

/// Nothing.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn reach(_: Point) {}
