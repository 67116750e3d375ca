//! Retention: the texts of what is long over are replaced by their digests, a batch at a time, each batch in one
//! transaction with its event. By itself and without input, like all that the daemon does on a schedule.

use chrono::{DateTime, Utc};

use super::{Broker, Error};
use crate::{access::retention::Erasure, store::Write};

/// How many exceptions are erased in one transaction: few enough that whoever commits meanwhile hardly waits.
const BATCH: u32 = 16;
/// How many batches one pass makes at most. The next pass goes on.
const BATCHES_MAX: u32 = 1000;

/// What one pass erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextsErased {
    /// How many requests are without their texts now.
    pub requests: usize,
    /// How many freezes are.
    pub freezes: usize,
    /// Whether there is more to erase.
    pub more: bool,
}

impl Broker {
    /// Erases the texts of what has been over for longer than texts are kept; nothing if they are kept for ever, or while
    /// the log isn't what was signed or witnessed. Nothing
    /// of what they said is left then but in copies: see [`Self::scrub`].
    ///
    /// # Errors
    ///
    /// If the store fails, or if another configuration came into force meanwhile; what was erased before stays so.
    pub async fn erase_texts(&self) -> Result<TextsErased, Error> {
        let mut erased = TextsErased::default();
        let Some(texts_for) = self.texts_for else { return Ok(erased) };
        // What was tampered with is evidence.
        if self.standing.problem().is_some() {
            return Ok(erased);
        }
        let now = self.clock.now();
        // A time before all times is before everything that happened.
        let until = now.checked_sub_signed(texts_for).unwrap_or(DateTime::UNIX_EPOCH);
        for _ in 0..BATCHES_MAX {
            let Some(batch) = self.next_batch(until, now).await? else { return Ok(erased) };
            match self.commit_allowed(&[Write::Erasure(&batch)]).await {
                Ok(()) => {
                    erased.requests += batch.requests().len();
                    erased.freezes += batch.freezes().len();
                }
                // It isn't over after all; the next pass sees what it is.
                Err(Error::Conflict) => return Ok(TextsErased { more: true, ..erased }),
                Err(failure) => return Err(failure),
            }
        }
        Ok(TextsErased { more: true, ..erased })
    }

    async fn next_batch(&self, until: DateTime<Utc>, now: DateTime<Utc>) -> Result<Option<Erasure>, Error> {
        let retention = self.store.retention();
        let past = retention.past(until, BATCH).await?;
        let freezes = retention.past_freezes(until, BATCH).await?;
        Ok(Erasure::of(past, freezes, until, now))
    }

    /// Removes what erased texts left behind in the store's files. False if somebody reads just now.
    ///
    /// # Errors
    ///
    /// If the store fails.
    pub async fn scrub(&self) -> Result<bool, Error> {
        if self.texts_for.is_none() {
            return Ok(true);
        }
        Ok(self.store.retention().scrub().await?)
    }
}
