//! The kinds of reads, and what each is given, whatever the database.

use std::time::Duration;

use super::waiting::ANSWER_MAX;

/// What one set of connections is like.
#[derive(Clone, Copy, Debug)]
pub(in crate::store) struct Kind {
    /// How many reads are under way at once.
    pub(in crate::store) count: u32,
    /// How long a read takes at most, the wait for those before it included.
    pub(in crate::store) answer_max: Duration,
    /// How much of the file each connection keeps in memory.
    pub(in crate::store) cache_kib: u32,
    /// Whether whole tables are read, and not only some rows along an index.
    pub(in crate::store) reads_all: bool,
}

/// People's: a listing through a long history may take a while, but whoever waited this long has a stuck disk before him, and is
/// told rather than kept. More at once would make no disk faster, and each is a thread. They keep as much of the file in memory
/// as SQLite would by itself: eight times as much makes no page of a long list quicker.
pub(in crate::store) const FOR_PEOPLE: Kind =
    Kind { count: 4, answer_max: Duration::from_secs(10), cache_kib: 2000, reads_all: false };

/// For reports, each of which goes through all that matches, and keeps a processor busy: a million exceptions take some twenty
/// seconds. Shorter than a call may take, so that who waits is told why.
pub(in crate::store) const FOR_REPORTS: Kind =
    Kind { count: 1, answer_max: Duration::from_mins(1), cache_kib: 2000, reads_all: true };

/// The daemon's own: one that looks for what is due, and one beside it for the grants that are being ended. Each read takes a
/// fraction of a millisecond. They keep little of the file in memory, because a sweep reads every open grant once and nothing
/// twice, and however many those are, it must not grow with them.
pub(in crate::store) const FOR_DAEMON: Kind =
    Kind { count: 2, answer_max: ANSWER_MAX, cache_kib: 256, reads_all: false };
