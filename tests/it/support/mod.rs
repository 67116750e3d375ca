//! What the tests stand on. It refuses to fake: whatever is a server in production is one here.

pub mod servers;
