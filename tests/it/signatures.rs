//! Signed approvals: what OpenSSH's own programs sign is what hallpass takes, and what hallpass keeps is what they verify.
//! `openssh` compares the two without a daemon; `refusals` and `story` go through the real one.

mod claims;
mod company;
mod openssh;
mod refusals;
mod story;
