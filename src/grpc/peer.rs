//! Who is at the other end of a connection, as far as the system and TLS know. What a call's own metadata say about it
//! (`x-forwarded-for`, `x-forwarded-client-cert` and their like) is never looked at.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use tokio_util::sync::CancellationToken;

use crate::identity::{ClientChain, Evidence};

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// Over the network, or from this machine by its network.
    Address(IpAddr),
    /// Over the Unix socket, from a process of this user.
    User(u32),
}

/// Whom connections and calls are counted for before it is known who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Counted {
    Address(IpAddr),
    User(u32),
}

impl Origin {
    /// Whom it is counted for. Of IPv6 addresses, whoever has one has the 2^64 beside it.
    pub(super) fn counted(self) -> Counted {
        match self {
            Self::User(uid) => Counted::User(uid),
            Self::Address(address) => Counted::Address(match address.to_canonical() {
                IpAddr::V6(six) if !six.is_loopback() => {
                    IpAddr::V6(Ipv6Addr::from_bits(six.to_bits() & (u128::MAX << 64)))
                }
                other => other,
            }),
        }
    }
}

/// As logs and events have it.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::User(uid) => write!(f, "uid {uid}"),
        }
    }
}

/// The other end of a connection; every call on it carries this.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub(super) origin: Origin,
    /// The certificates that it has shown in the handshake.
    pub(super) chain: Option<ClientChain>,
    /// Cancelled when the first call came.
    pub(super) called: CancellationToken,
}

impl Peer {
    /// What the connection itself says of who calls.
    pub(super) fn evidence(&self) -> Option<Evidence> {
        match (&self.chain, self.origin) {
            (Some(chain), _) => Some(Evidence::Certificate(chain.clone())),
            (None, Origin::User(uid)) => Some(Evidence::User(uid)),
            (None, Origin::Address(_)) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(address: &str) -> Counted {
        Origin::Address(address.parse().unwrap()).counted()
    }

    #[test]
    fn neighbours_in_a_network_of_ones_own_are_one_peer() {
        assert_eq!(counted("2001:db8::1"), counted("2001:db8::ffff:1"));
        assert_ne!(counted("2001:db8::1"), counted("2001:db8:0:1::1"));
        assert_eq!(counted("::ffff:192.0.2.1"), counted("192.0.2.1"));
        assert_ne!(counted("192.0.2.1"), counted("192.0.2.2"));
        assert_ne!(counted("::1"), counted("::"));
        assert_ne!(Origin::User(0).counted(), Origin::User(1).counted());
    }
}
