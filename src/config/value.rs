//! Reads single values: each function takes what the file says and returns what is meant, or says what to write
//! instead. None repeats the value, which may be a secret in the wrong place.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Display,
    net::SocketAddr,
    num::NonZeroU32,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use toml::de::DeValue;
use url::Url;

use super::section::Read;
use crate::{
    access::text::{LINE_MAX_BYTES, Prose, line},
    http::is_guarded,
};

/// The longest name of a role, a policy or a path in Vault, in bytes: more than anybody types, and small enough
/// for a log line.
const NAME_MAX_BYTES: usize = 256;

/// A text of one line, without control characters or white space around it.
pub(super) fn text(value: &DeValue<'_>) -> Read<String> {
    let text = value.as_str().ok_or("must be a text in quotes")?;
    if prose(text)?.as_str() == text && !text.contains(['\n', '\t']) {
        Ok(text.to_owned())
    } else {
        Err("must be one line without white space around it".to_owned())
    }
}

/// A description, for people.
pub(super) fn description(value: &DeValue<'_>) -> Read<String> {
    let text = value.as_str().ok_or("must be a text in quotes")?;
    prose(text).map(|prose| prose.to_string())
}

fn prose(text: &str) -> Read<Prose> {
    Prose::new(text).map_err(|bad| bad.to_string())
}

/// `true` or `false`.
pub(super) fn flag(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().ok_or_else(|| "must be true or false, without quotes".to_owned())
}

/// A whole number that isn't zero.
pub(super) fn count(bounds: RangeInclusive<u32>) -> impl FnOnce(&DeValue<'_>) -> Read<NonZeroU32> {
    move |value| {
        let number =
            value.as_integer().and_then(|found| u32::from_str_radix(found.as_str(), found.radix()).ok());
        let number = number.filter(|number| bounds.contains(number)).and_then(NonZeroU32::new);
        number.ok_or_else(|| format!("must be a whole number from {} to {}", bounds.start(), bounds.end()))
    }
}

/// A length of time in whole seconds.
pub(super) fn duration(bounds: RangeInclusive<Duration>) -> impl FnOnce(&DeValue<'_>) -> Read<Duration> {
    move |value| {
        let text = value.as_str().and_then(|text| humantime::parse_duration(text).ok());
        let length =
            text.ok_or("must be a length of time in quotes with its unit, like \"90s\", \"30m\" or \"8h\"")?;
        if length.subsec_nanos() != 0 {
            return Err("must be whole seconds".to_owned());
        }
        if bounds.contains(&length) {
            return Ok(length);
        }
        let shown = humantime::format_duration;
        Err(format!("must be from {} to {}", shown(*bounds.start()), shown(*bounds.end())))
    }
}

/// One of a few words.
pub(super) fn choice<T: Copy>(choices: &[(&str, T)]) -> impl FnOnce(&DeValue<'_>) -> Read<T> {
    move |value| {
        let found = choices.iter().find(|(word, _)| value.as_str() == Some(*word));
        let words = || choices.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        found.map(|(_, meant)| *meant).ok_or_else(|| format!("must be one of {}", words()))
    }
}

/// Anything that is parsed from a text and whose error says what to write.
pub(super) fn parsed<T: FromStr<Err: Display>>(value: &DeValue<'_>) -> Read<T> {
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

/// Where to listen. No host names: what they resolve to isn't in the file.
pub(super) fn socket(value: &DeValue<'_>) -> Read<SocketAddr> {
    let parsed = value.as_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        "must be an IP address and a port, like \"127.0.0.1:7643\" or \"[::1]:7643\"".to_owned()
    })
}

/// The address of a server that credentials or keys come from: HTTPS, or HTTP if it is on this machine.
pub(super) fn address(value: &DeValue<'_>) -> Read<Url> {
    let url = value.as_str().and_then(|text| Url::parse(text).ok()).filter(Url::has_host);
    let url = url.ok_or("must be an address in quotes, like \"https://vault.example:8200\"")?;
    if !is_guarded(&url) {
        return Err("must begin with https://; only a loopback address (127.0.0.1, [::1]) may have http://"
            .to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold a user name or a password".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a '?' or a '#' part".to_owned());
    }
    Ok(url)
}

/// An absolute path.
pub(super) fn absolute(value: &DeValue<'_>) -> Read<PathBuf> {
    let path = PathBuf::from(text(value)?);
    let named = path.is_absolute() && path.file_name().is_some() && !has_parent(&path);
    if named {
        Ok(path)
    } else {
        Err("must be an absolute path without \"..\", like \"/var/lib/hallpass/x\"".to_owned())
    }
}

fn has_parent(path: &Path) -> bool {
    path.components().any(|part| part == std::path::Component::ParentDir)
}

/// A name or a path in Vault, segments parted by single slashes. No wildcard may slip into a policy or a path.
pub(super) fn vault_path(value: &DeValue<'_>) -> Read<String> {
    let text = text(value)?;
    if text.starts_with('/') || text.ends_with('/') {
        return Err("must neither begin nor end with '/'".to_owned());
    }
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.chars().all(known);
    if text.len() > NAME_MAX_BYTES || !text.split('/').all(segment) {
        return Err(format!(
            "must be names of A-Z, a-z, 0-9, '-', '_' and '.', parted by single '/', without \"..\", '*' and '+', \
             {NAME_MAX_BYTES} bytes at most"
        ));
    }
    Ok(text)
}

/// A name in Vault: a path of one segment.
pub(super) fn vault_name(value: &DeValue<'_>) -> Read<String> {
    let name = vault_path(value)?;
    if name.contains('/') { Err("must not contain '/'".to_owned()) } else { Ok(name) }
}

/// How many of each group: names of groups with whole numbers that aren't zero.
pub(super) fn counts(
    bounds: RangeInclusive<u32>,
) -> impl FnOnce(&DeValue<'_>) -> Read<BTreeMap<String, u32>> {
    move |value| {
        let table =
            value.as_table().ok_or("must be a table of groups with numbers, like { security = 1 }")?;
        let entry = |(group, number): (&toml::Spanned<_>, &toml::Spanned<DeValue<'_>>)| {
            let group: &toml::Spanned<toml::de::DeString<'_>> = group;
            let name = line(group.get_ref()).map_err(|bad| format!("has a group whose name {bad}"))?;
            let number = count(bounds.clone())(number.get_ref())
                .map_err(|bad| format!("has a group whose number {bad}"))?;
            Ok((name.to_owned(), number.get()))
        };
        table.iter().map(entry).collect()
    }
}

/// A list that isn't empty, of what each of its entries is read as.
pub(super) fn list<T>(read: impl Fn(&DeValue<'_>) -> Read<T>) -> impl FnOnce(&DeValue<'_>) -> Read<Vec<T>> {
    move |value| {
        let list = value.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or("must be a list with at least one entry")?;
        let entry = |(index, item): (usize, &toml::Spanned<DeValue<'_>>)| {
            read(item.get_ref()).map_err(|bad| format!("entry {} {bad}", index + 1))
        };
        list.iter().enumerate().map(entry).collect()
    }
}

/// Names of groups. An empty list means nobody.
pub(super) fn groups(value: &DeValue<'_>) -> Read<BTreeSet<String>> {
    let list = value.as_array().ok_or("must be a list of groups, like [\"oncall\"]")?;
    let named = |(index, item): (usize, &toml::Spanned<DeValue<'_>>)| {
        // A name that isn't a line as it stands would never match anybody, or hide what it is.
        let group = item.get_ref().as_str().and_then(|group| line(group).ok());
        group.map(str::to_owned).ok_or(index + 1)
    };
    list.iter().enumerate().map(named).collect::<Result<_, _>>().map_err(|nth| {
        format!(
            "entry {nth} must be a group's name in quotes: one line, {LINE_MAX_BYTES} bytes at most, no white space \
             around it"
        )
    })
}
