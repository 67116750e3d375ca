//! `hallpass show --signatures`: signed approvals as files, for `ssh-keygen -Y verify`.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use super::{App, error::Failure, escape, name, view};
use crate::{
    access::approval_text::ApprovalText,
    signature::NAMESPACE,
    wire::{Decision, Request},
};

/// Writes what was signed, and each signature beside it, and says how to verify them. Nothing is written over.
///
/// # Errors
///
/// If there is nothing to write, or it can't be written.
pub fn write(app: &App, request: &Request, directory: &Path) -> Result<(), Failure> {
    let signed: Vec<(usize, &Decision)> =
        (1..).zip(&request.decisions).filter(|(_, decision)| !decision.signature.is_empty()).collect();
    if signed.is_empty() {
        return Err(Failure::local(format!("none of the approvals of {} is signed", request.name)));
    }
    let is_whole = |(_, decision): &(usize, &Decision)| decision.signed_text_erased.is_none();
    let (signed, without_text): (Vec<_>, Vec<_>) = signed.into_iter().partition(is_whole);
    for (number, decision) in without_text {
        let left = view::erased(decision.signed_text_erased.as_ref(), &app.times());
        app.out.note(&format!("decision {number} is signed, and what was signed was erased: {left}"));
    }
    if signed.is_empty() {
        let failure = format!("what was signed of {} was erased; nothing was written", request.name);
        return Err(Failure::local(failure).hint("the signatures are in `hallpass show --output json`"));
    }
    fs::create_dir_all(directory).map_err(|error| not_written(directory, &error))?;
    for (number, decision) in signed {
        let text = directory.join(format!("{}-{number}.txt", name::last(&request.name)));
        let signature = text.with_extension("txt.sig");
        new_file(&text, &decision.signed_text)?;
        new_file(&signature, &decision.signature)?;
        app.out.note(&format!("verify with: {}", verification(decision, &text, &signature)));
    }
    Ok(())
}

fn new_file(path: &Path, contents: &str) -> Result<(), Failure> {
    let opened = OpenOptions::new().write(true).create_new(true).open(path);
    let written = opened.and_then(|mut file| file.write_all(contents.as_bytes()));
    written.map_err(|error| not_written(path, &error))
}

fn not_written(path: &Path, error: &io::Error) -> Failure {
    Failure::local(format!("cannot write {}: {error}", path.display()))
        .hint("name another directory with `--signatures`")
}

/// The command that verifies it as of when it was signed, by the list that is in force now.
fn verification(decision: &Decision, text: &Path, signature: &Path) -> String {
    let quoted = |path: &Path| escape::shell(&path.display().to_string());
    let principal = decision.approver.as_ref().map_or("", |approver| approver.subject.as_str());
    let at = ApprovalText::parse(&decision.signed_text)
        .map(|text| format!(" -Overify-time={}", text.signed_at.format("%Y%m%d%H%M%SZ")))
        .unwrap_or_default();
    format!(
        "ssh-keygen -Y verify -f allowed_signers -I {} -n {NAMESPACE}{at} -s {} < {}",
        escape::shell(principal),
        quoted(signature),
        quoted(text)
    )
}
