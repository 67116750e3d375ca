//! Which name in a certificate says who somebody is. One rule, and exactly one name that fits it: a certificate with two
//! could be read as somebody else by the next one who reads it.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use rustls::pki_types::CertificateDer;
use x509_parser::{extensions::GeneralName, prelude::FromDer, x509::X509Version};

use crate::identity::IdentityError;

/// The longest id. It stands in subjects and logs.
const ID_MAX_BYTES: usize = 64;

/// The kind of name, and what stands before and behind the id in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameRule {
    kind: Kind,
    before: String,
    after: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Uri,
    Dns,
    Email,
}

/// Whose certificate it is, and until when it can be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Named {
    pub(super) id: String,
    pub(super) expires_at: DateTime<Utc>,
}

/// The text is no rule.
#[derive(Debug, thiserror::Error)]
#[error(
    "must be one of \"uri:spiffe://corp.example/person/*\", \"dns:*.people.corp.example\" and \
     \"email:*@corp.example\", with your own names, where the '*' stands for the person's id"
)]
pub struct BadRule;

impl FromStr for NameRule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        let (kind, pattern) = text.split_once(':').ok_or(BadRule)?;
        let (before, after) = pattern.split_once('*').ok_or(BadRule)?;
        let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '*' | '%'));
        let is_host = |text: &str| {
            let label = |label: &str| {
                !label.is_empty() && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            };
            text.contains('.') && text.split('.').all(label)
        };
        // The id must end where the pattern says, and nowhere that the certificate's bearer could choose.
        let kind = match kind {
            "uri" if before.contains(':') && before.ends_with(['/', ':']) => Kind::Uri,
            "dns" if before.is_empty() && after.strip_prefix('.').is_some_and(is_host) => Kind::Dns,
            "email" if before.is_empty() && after.strip_prefix('@').is_some_and(is_host) => Kind::Email,
            _ => return Err(BadRule),
        };
        let ends_well = kind != Kind::Uri || after.is_empty() || after.starts_with('/');
        if !ends_well || !is_plain(before) || !is_plain(after) {
            return Err(BadRule);
        }
        let after = if kind == Kind::Uri { after.to_owned() } else { after.to_ascii_lowercase() };
        Ok(Self { kind, before: before.to_owned(), after })
    }
}

impl fmt::Display for NameRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Uri => "uri",
            Kind::Dns => "dns",
            Kind::Email => "email",
        };
        write!(f, "{kind}:{}*{}", self.before, self.after)
    }
}

impl NameRule {
    /// Reads a certificate that was checked before.
    pub(super) fn read(&self, certificate: &CertificateDer<'_>) -> Result<Named, IdentityError> {
        const BROKEN: IdentityError = IdentityError::Certificate("can't be read");
        let (rest, read) =
            x509_parser::certificate::X509Certificate::from_der(certificate.as_ref()).map_err(|_| BROKEN)?;
        if !rest.is_empty() || read.version() != X509Version::V3 {
            return Err(BROKEN);
        }
        let names = read.subject_alternative_name().map_err(|_| BROKEN)?;
        let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
        let id = self.only(names)?;
        let expires_at = DateTime::from_timestamp(read.validity().not_after.timestamp(), 0).ok_or(BROKEN)?;
        Ok(Named { id, expires_at })
    }

    fn only(&self, names: &[GeneralName<'_>]) -> Result<String, IdentityError> {
        let mut ids = names.iter().filter_map(|name| self.matched(name));
        match (ids.next(), ids.next()) {
            (Some(id), None) if is_id(&id) => Ok(id),
            (Some(_), None) => {
                Err(IdentityError::Certificate("names somebody by a name that can't be used here"))
            }
            (None, _) => Err(IdentityError::Certificate(
                "doesn't say who somebody is in the way that is asked for here",
            )),
            (Some(_), Some(_)) => Err(IdentityError::Certificate("names more than one person")),
        }
    }

    /// What stands for the id in a name that fits. Hosts and domains are the same in upper and lower case; whether somebody's
    /// mailbox is, only its server knows.
    fn matched(&self, name: &GeneralName<'_>) -> Option<String> {
        match (self.kind, name) {
            (Kind::Uri, GeneralName::URI(uri)) => self.between(uri),
            (Kind::Dns, GeneralName::DNSName(host)) => {
                self.between(&host.to_ascii_lowercase()).filter(|label| !label.contains('.'))
            }
            (Kind::Email, GeneralName::RFC822Name(address)) => {
                let (mailbox, domain) = address.rsplit_once('@')?;
                self.between(&format!("{mailbox}@{}", domain.to_ascii_lowercase()))
            }
            _ => None,
        }
    }

    fn between(&self, name: &str) -> Option<String> {
        name.strip_prefix(&self.before)?.strip_suffix(&self.after).map(str::to_owned)
    }
}

/// Whether it is a plain word: nothing that parts names, that is written in two ways, or that plays tricks in a log. The dot
/// of a host's name parts, but a mailbox may have one, and a label can't.
fn is_id(id: &str) -> bool {
    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_' | '+');
    id.len() <= ID_MAX_BYTES && id.starts_with(|c: char| c.is_ascii_alphanumeric()) && id.chars().all(known)
}
