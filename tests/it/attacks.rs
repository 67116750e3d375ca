//! The doors, as somebody finds them who means harm: the real server on real sockets, with certificates, tokens and frames
//! that no well-behaved client shows. The clock is one to turn, so that nothing has to be waited for. After each attack
//! somebody else is served.

mod answers;
mod attacked;
mod certificates;
mod daemon;
mod doors;
mod frames;
mod socket;
mod tokens;
mod watchers;
