//! The names of requests, grants, exceptions and targets, as people type them: with the collection or without.
//!
//! Nonsense is refused here, before anything is sent; whether the thing exists, only hallpassd knows.

use super::error::Failure;
use crate::access::{id::RequestId, target::TargetName};

/// Something that an id was given for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// `requests/…`, or `exceptions/…`, which has the same id.
    Request(String),
    /// `grants/…`.
    Grant(String),
    /// An id alone.
    Bare(String),
}

/// Reads a name of any kind.
///
/// # Errors
///
/// If the collection is unknown or the id can't be one.
pub fn any(text: &str) -> Result<Name, Failure> {
    let text = text.trim();
    let Some((collection, rest)) = text.split_once('/') else {
        return Ok(Name::Bare(id(text, text)?));
    };
    let id = id(rest, text)?;
    match collection {
        "requests" | "exceptions" => Ok(Name::Request(id)),
        "grants" => Ok(Name::Grant(id)),
        _ => Err(nonsense(text)),
    }
}

/// Reads a request's name: `requests/{id}`.
///
/// # Errors
///
/// If it can't be one.
pub fn request(text: &str) -> Result<String, Failure> {
    match any(text)? {
        Name::Request(id) | Name::Bare(id) => Ok(format!("requests/{id}")),
        Name::Grant(_) => {
            let failure = Failure::usage(format!("`{text}` is a grant; a request is needed"));
            Err(failure.hint(format!("`hallpass show {text}` names the grant's request")))
        }
    }
}

/// Reads a grant's name: `grants/{id}`.
///
/// # Errors
///
/// If it can't be one.
pub fn grant(text: &str) -> Result<String, Failure> {
    match any(text)? {
        Name::Grant(id) | Name::Bare(id) => Ok(format!("grants/{id}")),
        Name::Request(_) => {
            let failure = Failure::usage(format!("`{text}` is a request; a grant is needed"));
            Err(failure.hint(format!("`hallpass show {text}` names the request's grants")))
        }
    }
}

/// Reads a target's name: `targets/{target}`.
///
/// # Errors
///
/// If it can't be one.
pub fn target(text: &str) -> Result<String, Failure> {
    let name = text.trim();
    let name = name.strip_prefix("targets/").unwrap_or(name);
    let name = name.parse::<TargetName>().map_err(|bad| {
        Failure::usage(format!("`{text}` {bad}")).hint("`hallpass targets` lists the targets")
    })?;
    Ok(format!("targets/{name}"))
}

/// The last part of a resource name, for tables.
#[must_use]
pub fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// Requests and grants have ids of the same shape.
fn id(part: &str, whole: &str) -> Result<String, Failure> {
    part.parse::<RequestId>().map(|id| id.to_string()).map_err(|_| nonsense(whole))
}

fn nonsense(text: &str) -> Failure {
    Failure::usage(format!(
        "`{text}` can't be an id: 26 letters and digits, with or without `requests/` or `grants/`"
    ))
    .hint("`hallpass list` and `hallpass list grants` show the ids")
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01kb0x3v9m2d4e5f6g7h8j9kab";

    #[test]
    fn ids_are_read_with_and_without_the_collection() {
        assert_eq!(request(ID).unwrap(), format!("requests/{ID}"));
        assert_eq!(request(&format!("requests/{ID}")).unwrap(), format!("requests/{ID}"));
        assert_eq!(
            request(&format!(" exceptions/{} ", ID.to_uppercase())).unwrap(),
            format!("requests/{ID}")
        );
        assert_eq!(grant(ID).unwrap(), format!("grants/{ID}"));
        assert_eq!(any(&format!("grants/{ID}")).unwrap(), Name::Grant(ID.into()));
        assert_eq!(any(ID).unwrap(), Name::Bare(ID.into()));
    }

    #[test]
    fn a_wrong_collection_is_named() {
        let failure = grant(&format!("requests/{ID}")).unwrap_err();
        assert!(failure.message.contains("a grant is needed"), "{failure:?}");
        assert!(failure.hint.unwrap().contains("hallpass show"));
        assert!(request(&format!("grants/{ID}")).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        let long = format!("{ID}0");
        let beyond = format!("8{}", &ID[1..]);
        let letter = ID.replace('a', "u");
        let texts = ["", "/", "requests/", "abc", "things/x", &long, &beyond, &letter, "requests/a/b", "é"];
        for text in texts {
            assert!(any(text).is_err(), "{text}");
        }
        assert!(any(&format!("targets/{ID}")).is_err());
    }

    #[test]
    fn targets_have_one_part() {
        assert_eq!(target("orders-ro").unwrap(), "targets/orders-ro");
        assert_eq!(target("targets/orders-ro").unwrap(), "targets/orders-ro");
        for text in ["", "a/b", "a b", "targets/", "a\nb", "Orders"] {
            assert!(target(text).is_err(), "{text:?}");
        }
        assert!(target(&"x".repeat(129)).is_err());
    }

    #[test]
    fn tables_show_the_last_part() {
        assert_eq!(last("targets/orders-ro"), "orders-ro");
        assert_eq!(last("bare"), "bare");
        assert_eq!(last(""), "");
    }
}
