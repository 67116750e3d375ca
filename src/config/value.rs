//! Reads single values: each function takes what the file says and returns what is meant, or says what to write
//! instead. None repeats the value, which may be a secret in the wrong place. The first thing that each says is what it
//! takes, as a JSON schema.

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

use serde_json::{Value as Json, json};
use url::Url;

use super::found::{Found, Read};
use crate::{
    access::text::{LINE_MAX_BYTES, PROSE_MAX_BYTES, Prose, line},
    http::is_guarded,
};

/// The longest name of a role, a policy or a path in Vault, in bytes: more than anybody types, and small enough
/// for a log line.
const NAME_MAX_BYTES: usize = 256;

/// The names that the file chooses, of targets, issuers and people: what [`TargetName`](crate::access::target::TargetName)
/// takes.
pub(super) const CHOSEN_NAME: &str = "^[a-z][a-z0-9-]{0,62}$";

/// One line of text, as far as a schema can tell.
fn text_shape() -> Json {
    json!({ "type": "string", "minLength": 1, "maxLength": PROSE_MAX_BYTES })
}

/// A text of this form.
pub(super) fn pattern_shape(pattern: &str) -> Json {
    json!({ "type": "string", "pattern": pattern })
}

/// A text of one line, without control characters or white space around it.
pub(super) fn text(value: &Found<'_>) -> Read<String> {
    let text = value.as_of(text_shape)?.as_str().ok_or("must be a text in quotes")?;
    if prose(text)?.as_str() == text && !text.contains(['\n', '\t']) {
        Ok(text.to_owned())
    } else {
        Err("must be one line without white space around it".to_owned())
    }
}

/// A description, for people.
pub(super) fn description(value: &Found<'_>) -> Read<String> {
    // White space around it is cut off before it is measured.
    let shape = || json!({ "type": "string", "minLength": 1 });
    let text = value.as_of(shape)?.as_str().ok_or("must be a text in quotes")?;
    prose(text).map(|prose| prose.to_string())
}

fn prose(text: &str) -> Read<Prose> {
    Prose::new(text).map_err(|bad| bad.to_string())
}

/// `true` or `false`.
pub(super) fn flag(value: &Found<'_>) -> Read<bool> {
    value
        .as_of(|| json!({ "type": "boolean" }))?
        .as_bool()
        .ok_or_else(|| "must be true or false, without quotes".to_owned())
}

/// A whole number that isn't zero.
pub(super) fn count(bounds: RangeInclusive<u32>) -> impl FnOnce(&Found<'_>) -> Read<NonZeroU32> {
    move |value| {
        let shape = || json!({ "type": "integer", "minimum": bounds.start(), "maximum": bounds.end() });
        let value = value.as_of(shape)?;
        let number =
            value.as_integer().and_then(|found| u32::from_str_radix(found.as_str(), found.radix()).ok());
        let number = number.filter(|number| bounds.contains(number)).and_then(NonZeroU32::new);
        number.ok_or_else(|| format!("must be a whole number from {} to {}", bounds.start(), bounds.end()))
    }
}

/// The permissions of a file, as `chmod` takes them.
pub(super) fn mode(value: &Found<'_>) -> Read<u32> {
    let is_octal = |text: &&str| text.bytes().all(|digit| matches!(digit, b'0'..=b'7'));
    let text = value
        .as_of(|| pattern_shape("^0?[0-7]{3}$"))?
        .as_str()
        .filter(|text| matches!(text.len(), 3 | 4))
        .filter(is_octal);
    let mode = text.and_then(|text| u32::from_str_radix(text, 8).ok()).filter(|mode| *mode <= 0o777);
    mode.ok_or_else(|| "must be permissions in quotes, like \"0660\"".to_owned())
}

/// A length of time in whole seconds.
pub(super) fn duration(bounds: RangeInclusive<Duration>) -> impl FnOnce(&Found<'_>) -> Read<Duration> {
    move |value| {
        let shape = || pattern_shape("^\\s*[0-9][0-9A-Za-zµ.\\s]*$");
        let text = value.as_of(shape)?.as_str().and_then(|text| humantime::parse_duration(text).ok());
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
pub(super) fn choice<T: Copy>(choices: &[(&str, T)]) -> impl FnOnce(&Found<'_>) -> Read<T> {
    move |value| {
        let words = || choices.iter().map(|(word, _)| *word).collect::<Vec<_>>();
        let value = value.as_of(|| json!({ "enum": words() }))?;
        let found = choices.iter().find(|(word, _)| value.as_str() == Some(*word));
        let words = || choices.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        found.map(|(_, meant)| *meant).ok_or_else(|| format!("must be one of {}", words()))
    }
}

/// Anything that is parsed from a text and whose error says what to write.
pub(super) fn parsed<T: FromStr<Err: Display>>(value: &Found<'_>) -> Read<T> {
    text(value)?.parse().map_err(|error: T::Err| error.to_string())
}

/// Where to listen. No host names: what they resolve to isn't in the file.
pub(super) fn socket(value: &Found<'_>) -> Read<SocketAddr> {
    let shape = || pattern_shape("^[0-9.]+:[0-9]+$|^\\[[0-9A-Fa-f:.%]+\\]:[0-9]+$");
    let parsed = value.as_of(shape)?.as_str().and_then(|text| text.parse().ok());
    parsed.ok_or_else(|| {
        "must be an IP address and a port, like \"127.0.0.1:7643\" or \"[::1]:7643\"".to_owned()
    })
}

/// The address of a server that credentials or keys come from: HTTPS, or HTTP if it is on this machine.
pub(super) fn address(value: &Found<'_>) -> Read<Url> {
    let shape = || pattern_shape("^\\s*[Hh][Tt][Tt][Pp][Ss]?:[^?#@]+$");
    url(value.as_of(shape)?.as_str())
}

/// The same of an address that isn't a key's own.
pub(super) fn url(text: Option<&str>) -> Read<Url> {
    let url = text.and_then(|text| Url::parse(text).ok()).filter(Url::has_host);
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
pub(super) fn absolute(value: &Found<'_>) -> Read<PathBuf> {
    value.as_of(|| pattern_shape("^/"))?;
    let path = PathBuf::from(text(value)?);
    let named = path.is_absolute() && path.file_name().is_some() && !has_parent(&path);
    if named {
        Ok(path)
    } else {
        Err("must be an absolute path without \"..\", like \"/var/lib/hallpass/x\"".to_owned())
    }
}

/// The name of a file, for [`Files`](super::files::Files) to look for.
pub(super) fn file(value: &Found<'_>) -> Read<String> {
    value.as_of(|| pattern_shape("^/|^credential:[^/]+$"))?;
    text(value)
}

fn has_parent(path: &Path) -> bool {
    path.components().any(|part| part == std::path::Component::ParentDir)
}

/// A name or a path in Vault, segments parted by single slashes. No wildcard may slip into a policy or a path.
pub(super) fn vault_path(value: &Found<'_>) -> Read<String> {
    value.as_of(|| name_shape("^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$"))?;
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

/// A name or a path in Vault of this form.
pub(super) fn name_shape(pattern: &str) -> Json {
    json!({ "type": "string", "pattern": pattern, "maxLength": NAME_MAX_BYTES })
}

/// A name in Vault: a path of one segment.
pub(super) fn vault_name(value: &Found<'_>) -> Read<String> {
    value.as_of(|| name_shape("^[A-Za-z0-9_.-]+$"))?;
    let name = vault_path(value)?;
    if name.contains('/') { Err("must not contain '/'".to_owned()) } else { Ok(name) }
}

/// What [`line()`] takes, as far as a schema can tell.
pub(super) fn line_shape() -> Json {
    json!({ "type": "string", "minLength": 1, "maxLength": LINE_MAX_BYTES })
}

/// How many of each group: names of groups with whole numbers that aren't zero.
pub(super) fn counts(bounds: RangeInclusive<u32>) -> impl FnOnce(&Found<'_>) -> Read<BTreeMap<String, u32>> {
    move |value| {
        let one = || Found::shape_of(count(bounds.clone()));
        let shape = || json!({ "type": "object", "additionalProperties": one() });
        let table = value
            .as_of(shape)?
            .as_table()
            .ok_or("must be a table of groups with numbers, like { security = 1 }")?;
        let entry = |(group, number): (&toml::Spanned<_>, &toml::Spanned<toml::de::DeValue<'_>>)| {
            let group: &toml::Spanned<toml::de::DeString<'_>> = group;
            let name = line(group.get_ref()).map_err(|bad| format!("has a group whose name {bad}"))?;
            let number = count(bounds.clone())(&Found::Value(number.get_ref()))
                .map_err(|bad| format!("has a group whose number {bad}"))?;
            Ok((name.to_owned(), number.get()))
        };
        table.iter().map(entry).collect()
    }
}

/// A list that isn't empty, of what each of its entries is read as.
pub(super) fn list<T>(read: impl Fn(&Found<'_>) -> Read<T>) -> impl FnOnce(&Found<'_>) -> Read<Vec<T>> {
    move |value| {
        let shape = || json!({ "type": "array", "minItems": 1, "items": Found::shape_of(&read) });
        let list = value.as_of(shape)?.as_array().filter(|list| !list.is_empty());
        let list = list.ok_or("must be a list with at least one entry")?;
        let entry = |(index, item): (usize, &toml::Spanned<toml::de::DeValue<'_>>)| {
            read(&Found::Value(item.get_ref())).map_err(|bad| format!("entry {} {bad}", index + 1))
        };
        list.iter().enumerate().map(entry).collect()
    }
}

/// Names of groups. An empty list means nobody.
pub(super) fn groups(value: &Found<'_>) -> Read<BTreeSet<String>> {
    let shape = || json!({ "type": "array", "items": line_shape() });
    let list = value.as_of(shape)?.as_array().ok_or("must be a list of groups, like [\"oncall\"]")?;
    let named = |(index, item): (usize, &toml::Spanned<toml::de::DeValue<'_>>)| {
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
