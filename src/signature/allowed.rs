//! One line of a list of keys: `allowed_signers` (ssh-keygen(1), ALLOWED SIGNERS) or a plain list of revoked keys.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Local, NaiveDate, NaiveDateTime, NaiveTime, TimeZone as _, Utc};

use super::{key::PublicKey, pattern::matches_list};

/// What is wrong with a line, so that it reads after the line's number.
pub(super) type Fault = String;

/// A key, and by whom, for what and when it may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    principals: String,
    namespaces: Option<String>,
    /// The first and the last second at which it may be used.
    pub(super) valid_after: Option<DateTime<Utc>>,
    pub(super) valid_before: Option<DateTime<Utc>>,
    pub(super) key: PublicKey,
}

impl Allowed {
    /// Whether this line speaks of that principal.
    pub(super) fn is_for(&self, principal: &str) -> bool {
        matches_list(principal, &self.principals)
    }

    /// Whether the key may sign for that.
    pub(super) fn takes(&self, namespace: &str) -> bool {
        self.namespaces.as_ref().is_none_or(|list| matches_list(namespace, list))
    }
}

/// What is left of a line that is neither empty nor a comment.
pub(super) fn content(line: &str) -> Option<&str> {
    let line = line.trim_matches([' ', '\t', '\r']);
    (!line.is_empty() && !line.starts_with('#')).then_some(line)
}

/// A line of `allowed_signers`.
pub(super) fn allowed(line: &str) -> Result<Allowed, Fault> {
    let (principals, rest) = principals(line)?;
    let (options, key) = if begins_with_key(rest) { ("", rest) } else { options(rest)? };
    let read = Options::read(options)?;
    Ok(Allowed {
        principals: principals.to_owned(),
        namespaces: read.namespaces,
        valid_after: read.valid_after,
        valid_before: read.valid_before,
        key: key_of(key)?,
    })
}

/// A key by itself: its kind, itself in Base64, and perhaps a comment.
pub(super) fn key_of(text: &str) -> Result<PublicKey, Fault> {
    let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let (Some(kind), Some(encoded)) = (words.next(), words.next()) else {
        return Err("has no key: a kind like ssh-ed25519, and the key in Base64".to_owned());
    };
    if !PublicKey::KINDS.contains(&kind) {
        return Err(format!(
            "has a key of a kind that isn't taken; there are: {}",
            PublicKey::KINDS.join(", ")
        ));
    }
    let key = STANDARD.decode(encoded).ok().and_then(|blob| PublicKey::parse(&blob).ok());
    let key = key.filter(|key| key.kind() == kind);
    key.ok_or_else(|| {
        "has a key that is malformed, or an RSA key of less than 2048 or more than 8192 bits".to_owned()
    })
}

fn begins_with_key(text: &str) -> bool {
    text.split([' ', '\t']).next().is_some_and(|word| PublicKey::KINDS.contains(&word))
}

/// The principals may stand in quotes, as a whole.
fn principals(line: &str) -> Result<(&str, &str), Fault> {
    let missing = || "has nothing behind its principals; write a key".to_owned();
    let (principals, rest) = match line.strip_prefix('"') {
        Some(quoted) => quoted.split_once('"').ok_or("has no closing quote")?,
        None => line.split_once([' ', '\t']).ok_or_else(missing)?,
    };
    if principals.is_empty() || principals.contains('"') {
        return Err("has principals that are empty, or have a quote within".to_owned());
    }
    Ok((principals, rest.trim_start_matches([' ', '\t'])))
}

/// Parts the options from the key: at the first white space that isn't in quotes.
fn options(text: &str) -> Result<(&str, &str), Fault> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ' ' | '\t' if !quoted => {
                let (options, key) = text.split_at(at);
                return Ok((options, key));
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    Err("has no key behind its options, or no closing quote".to_owned())
}

#[derive(Default)]
struct Options {
    namespaces: Option<String>,
    valid_after: Option<DateTime<Utc>>,
    valid_before: Option<DateTime<Utc>>,
}

impl Options {
    fn read(text: &str) -> Result<Self, Fault> {
        let mut read = Self::default();
        let mut rest = text;
        while !rest.is_empty() {
            rest = read.one(rest)?;
            match rest.strip_prefix(',') {
                Some(more) if !more.is_empty() => rest = more,
                None if rest.is_empty() => {}
                _ => return Err("has options that end in a comma, or aren't parted by one".to_owned()),
            }
        }
        if let (Some(after), Some(before)) = (read.valid_after, read.valid_before)
            && before <= after
        {
            return Err("has a valid-before that isn't after its valid-after".to_owned());
        }
        Ok(read)
    }

    /// Reads one option, and answers with what comes after it.
    fn one<'a>(&mut self, text: &'a str) -> Result<&'a str, Fault> {
        let name = text.split([',', '=']).next().unwrap_or_default();
        let rest = text.get(name.len()..).unwrap_or_default();
        let once = |is_new: bool| if is_new { Ok(()) } else { Err(format!("has {name} twice")) };
        match name.to_ascii_lowercase().as_str() {
            "cert-authority" => Err("has cert-authority, but certificates are not taken; list each person's key".to_owned()),
            "namespaces" => {
                let (value, rest) = quoted(name, rest)?;
                once(self.namespaces.replace(value).is_none())?;
                Ok(rest)
            }
            "valid-after" => {
                let (value, rest) = quoted(name, rest)?;
                once(self.valid_after.replace(instant(&value, true)?).is_none())?;
                Ok(rest)
            }
            "valid-before" => {
                let (value, rest) = quoted(name, rest)?;
                once(self.valid_before.replace(instant(&value, false)?).is_none())?;
                Ok(rest)
            }
            _ => Err("has an option or a kind of key that isn't known; options are: namespaces, valid-after, valid-before"
                .to_owned()),
        }
    }
}

/// A value in quotes behind a `=`; within, `\"` stands for a quote.
fn quoted<'a>(name: &str, text: &'a str) -> Result<(String, &'a str), Fault> {
    let inner = text.strip_prefix("=\"").ok_or_else(|| format!("must have {name}=\"…\", with the quotes"))?;
    let (mut value, mut characters) = (String::new(), inner.char_indices().peekable());
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Ok((value, inner.get(at + 1..).unwrap_or_default())),
            '\\' => match characters.next_if(|(_, next)| *next == '"') {
                Some(_) => value.push('"'),
                None => value.push('\\'),
            },
            c => value.push(c),
        }
    }
    Err("has no closing quote".to_owned())
}

/// `YYYYMMDD` or `YYYYMMDDHHMM[SS]`, with `Z` in UTC, else in the machine's own zone.
fn instant(text: &str, is_begin: bool) -> Result<DateTime<Utc>, Fault> {
    let bad = || "has a time that isn't YYYYMMDD[Z] or YYYYMMDDHHMM[SS][Z]".to_owned();
    let utc = text.strip_suffix(['Z', 'z']);
    let digits = utc.unwrap_or(text);
    let plain = matches!(digits.len(), 8 | 12 | 14) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let at = if plain { naive(digits) } else { None }.ok_or_else(bad)?;
    if utc.is_some() {
        return Ok(at.and_utc());
    }
    let local = Local.from_local_datetime(&at);
    // Where the clocks are set back an hour comes twice: the shorter validity counts.
    let local = if is_begin { local.latest() } else { local.earliest() };
    local
        .map(|at| at.to_utc())
        .ok_or_else(|| "has a time that didn't exist in this zone; write one in UTC, with Z".to_owned())
}

fn naive(digits: &str) -> Option<NaiveDateTime> {
    let number = |from: usize, to: usize| digits.get(from..to).map_or(Ok(0), str::parse::<u32>).ok();
    let date = NaiveDate::from_ymd_opt(digits.get(..4)?.parse().ok()?, number(4, 6)?, number(6, 8)?)?;
    Some(date.and_time(NaiveTime::from_hms_opt(number(8, 10)?, number(10, 12)?, number(12, 14)?)?))
}
