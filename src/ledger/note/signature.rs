//! A line below a note's text: an em dash, the name of a key, and base64 of the key's id and the signature.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::{Malformed, SIGNATURES_MAX};

/// Before each signature: an em dash and a space.
const DASH: &str = "— ";

/// The id of a key, which comes before its signature.
pub(super) const ID_BYTES: usize = 4;

/// One signature: whose it says it is, and its bytes. Nothing of it is verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub(super) name: String,
    pub(super) id: u32,
    /// What follows the id.
    pub(super) bytes: Vec<u8>,
}

impl Signature {
    /// Reads a line, without its newline.
    ///
    /// # Errors
    ///
    /// If it is anything else, or spelt in another way than it would be written.
    pub fn parse(line: &str) -> Result<Self, Malformed> {
        let rest =
            line.strip_prefix(DASH).ok_or(Malformed("a signature must begin with a dash and a space"))?;
        let (name, encoded) =
            rest.split_once(' ').ok_or(Malformed("a signature must be a name, a space, and base64"))?;
        if !is_name(name) {
            return Err(Malformed("the name of a key is empty, or has a space or a plus in it"));
        }
        let blob =
            BASE64_STANDARD.decode(encoded).map_err(|_| Malformed("a signature must be in padded base64"))?;
        match blob.split_first_chunk::<ID_BYTES>() {
            Some((id, bytes)) if !bytes.is_empty() => {
                Ok(Self { name: name.to_owned(), id: u32::from_be_bytes(*id), bytes: bytes.to_owned() })
            }
            _ => Err(Malformed("a signature must have its key's id and more")),
        }
    }

    /// Reads some lines, each with its newline.
    pub(in crate::ledger) fn parse_lines(lines: &str) -> Result<Vec<Self>, Malformed> {
        let lines = lines.strip_suffix('\n').ok_or(Malformed("a newline must end the last signature"))?;
        let read: Vec<_> =
            lines.split('\n').take(SIGNATURES_MAX + 1).map(Self::parse).collect::<Result<_, _>>()?;
        if read.len() > SIGNATURES_MAX {
            return Err(Malformed("it has more than 100 signatures"));
        }
        Ok(read)
    }

    /// The name of the key that it says it is by.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of that key.
    #[must_use]
    pub const fn key_id(&self) -> u32 {
        self.id
    }
}

/// The line, without its newline.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blob = [&self.id.to_be_bytes()[..], &self.bytes].concat();
        write!(f, "{DASH}{} {}", self.name, BASE64_STANDARD.encode(blob))
    }
}

/// Whether a key may be called that. Neither spaces nor pluses, because they part the names from what comes next.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+' || c < ' ')
}
