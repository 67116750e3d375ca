//! Step 2, where it is signed: whether a signature counts. Asked when an approval comes, and again of each approval when a
//! target that demands signatures is claimed, because a key may have been revoked meanwhile.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Broker, Error};
use crate::{
    access::{
        approval::{Approval, Decision},
        approval_text::ApprovalText,
        refusal::Refusal,
        request::{Request, State},
        signing::{Problem, Signed, Signing},
        target::Target,
    },
    signature::{Lists, Signer},
};

/// A text and its signature, as they came.
#[derive(Clone, Debug)]
pub struct Signature {
    /// What was signed.
    pub text: String,
    /// The signature in its armor.
    pub armored: String,
}

impl Broker {
    /// What a signature proves: whose it is, is verified here; what it says, the request's rule judges.
    pub(super) async fn signed(
        &self,
        signature: &Signature,
        principal: &str,
        now: DateTime<Utc>,
    ) -> Result<Result<Signed, Problem>, Error> {
        let lists = self.lists().await?;
        Ok(verify(lists.as_ref(), signature, principal, now))
    }

    /// Whether the signatures that the target demands still count: who lost his key may have lost it before he approved.
    pub(super) async fn must_still_be_signed(
        &self,
        request: &Request,
        target: Option<&Target>,
    ) -> Result<(), Error> {
        let demanded = target.is_some_and(|target| target.writing.signing != Signing::Optional);
        let claimable = matches!(request.state, State::Approved { .. } | State::Claimed { .. });
        if !demanded || !claimable {
            return Ok(());
        }
        let lists = self.lists().await?.unwrap_or_default();
        let counts = |decision: &Decision| {
            // One that isn't signed is the rule's to refuse.
            decision.signed.as_ref().is_none_or(|signed| counts(&lists, signed, decision))
        };
        if request.approvals.iter().map(Approval::decision).all(counts) {
            return Ok(());
        }
        let (name, refusal) = (format!("requests/{}", request.id), Refusal::ApprovalInvalid);
        Err(Error::Refused { name, refusal })
    }

    /// The lists as they are now. Reading two small files takes a thread for a moment.
    async fn lists(&self) -> Result<Option<Lists>, Error> {
        let signers = Arc::clone(&self.signers);
        let read = tokio::task::spawn_blocking(move || signers.read()).await;
        read.map_err(|failure| Error::Internal(Box::new(failure)))?.map_err(Error::SignersUnusable)
    }
}

fn verify(
    lists: Option<&Lists>,
    signature: &Signature,
    principal: &str,
    now: DateTime<Utc>,
) -> Result<Signed, Problem> {
    let text = ApprovalText::parse(&signature.text).map_err(|_| Problem::TextMalformed)?;
    let at = [text.signed_at, now];
    let verified = lists.ok_or(Problem::NotListed)?.verify(
        &signature.text,
        &signature.armored,
        &Signer { principal, at: &at },
    )?;
    Ok(Signed {
        text: text.into(),
        signature: signature.armored.clone(),
        key: verified.key,
        present: verified.present,
    })
}

fn counts(lists: &Lists, signed: &Signed, decision: &Decision) -> bool {
    let Some(text) = signed.text.kept() else { return false };
    let at = [text.signed_at, decision.decided_at];
    let by = Signer { principal: &decision.approver.subject, at: &at };
    // What the record says of the key is looked at again as well.
    let verified = lists.verify(&text.to_string(), &signed.signature, &by);
    verified.is_ok_and(|verified| verified.key == signed.key && verified.present == signed.present)
}
