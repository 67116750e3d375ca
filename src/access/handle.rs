//! Vault's handles: opaque texts that let their bearer revoke. They stand in a grant's row and nowhere else, so their
//! `Debug` shows nothing and they have no `Display`.

use std::fmt;

macro_rules! handle {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// Takes the text as Vault gave it.
            #[must_use]
            pub fn new(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The text, for the grant's row and for calls to Vault, and for nothing else.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(hidden)"))
            }
        }
    };
}

handle! {
    /// Names a token without being one.
    Accessor
}
handle! {
    /// Names a lease: the credential's path and a random part.
    LeaseId
}
