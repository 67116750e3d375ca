//! Keeping the memory of a process to itself: tokens and credentials pass through it, and must not end in a core dump or
//! be read by another process of the same user. The first thing that either binary does.

use std::io;

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Turns core dumps off, and attaching with a debugger, for this process. Programs that it starts (the editor) get
/// no core dumps either; the rest is theirs to decide.
///
/// Sources: [setrlimit(2)](https://man7.org/linux/man-pages/man2/setrlimit.2.html),
/// [PR_SET_DUMPABLE(2const)](https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html).
///
/// # Errors
///
/// If the system refuses.
pub fn keep_private() -> io::Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    // Under its systemd unit the daemon may not change its limits, and has this one already.
    if getrlimit(Resource::Core) != none {
        setrlimit(Resource::Core, none)?;
    }
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}
