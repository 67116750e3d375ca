//! `[approvals]`: whose SSH keys sign approvals. The lists are read here as the daemon reads them for each signature, so
//! that one which can't be used is reported before anybody waits for an approval.

use super::{files::Files, found::Read, section::Section, value};
use crate::signature::Signers;

/// The lists, and whether a list of keys is named at all, good or not.
pub(super) fn read(mut section: Section<'_>, files: Files<'_>) -> (Option<Signers>, bool) {
    let mut named = false;
    let allowed_file = section.optional("allowed_signers_file", |found| {
        named = true;
        let path = files.public(&value::text(found)?)?;
        checked(&Signers { allowed_file: Some(path.clone()), revoked_file: None }).map(|()| path)
    });
    let revoked_file = section.optional("revoked_keys_file", |found| {
        let path = files.public(&value::text(found)?)?;
        checked(&Signers { allowed_file: None, revoked_file: Some(path.clone()) }).map(|()| path)
    });
    if matches!(revoked_file, Some(Some(_))) && !named {
        section.problem("revoked_keys_file", "is of no use without allowed_signers_file");
    }
    section.finish();
    let signers = allowed_file
        .zip(revoked_file)
        .map(|(allowed_file, revoked_file)| Signers { allowed_file, revoked_file });
    (signers, named)
}

fn checked(signers: &Signers) -> Read<()> {
    signers.check().map(drop).map_err(|error| error.to_string())
}
