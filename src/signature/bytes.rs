//! SSH's wire format (RFC 4251, section 5): numbers, strings, and integers of any size. One value has one encoding; any
//! other is refused, and so is what comes after the end.

use super::sshsig::Unreadable;

/// Reads bytes from their beginning to their end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Unreadable> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Unreadable> {
        self.take(N)?.try_into().map_err(|_| Unreadable)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Unreadable> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn string(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.u32()?;
        self.take(usize::try_from(length).map_err(|_| Unreadable)?)
    }

    /// A string of ASCII characters that can be seen, like a name.
    pub(super) fn name(&mut self) -> Result<&'a str, Unreadable> {
        let name = std::str::from_utf8(self.string()?).map_err(|_| Unreadable)?;
        if name.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(name) } else { Err(Unreadable) }
    }

    /// A positive `mpint`, without leading zeros: its shortest encoding is the only one.
    pub(super) fn positive(&mut self) -> Result<&'a [u8], Unreadable> {
        match self.string()? {
            [0, rest @ ..] if rest.first().is_some_and(|first| *first >= 0x80) => Ok(rest),
            number @ [1..0x80, ..] => Ok(number),
            _ => Err(Unreadable),
        }
    }

    pub(super) fn end(self) -> Result<(), Unreadable> {
        if self.0.is_empty() { Ok(()) } else { Err(Unreadable) }
    }
}

/// Appends a string.
pub(super) fn push(to: &mut Vec<u8>, string: &[u8]) {
    // Longer than 4 GiB is nothing that was read here; what doesn't fit its length verifies nowhere.
    to.extend(u32::try_from(string.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend(string);
}
