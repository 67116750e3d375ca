//! One way to Vault: a pool of connections of its own, and the daemon's login, which all lanes share.
//!
//! There are two. People's calls go one way and what ends access the other, so that a flood of claims, or claims that
//! hang, can't keep a revocation waiting.

use std::{sync::Arc, time::Duration};

use rustify::endpoint::Endpoint;

use super::{
    client::{Carried, Client},
    endpoints::{Answer, LookUpSelf},
    error::Failure,
    login::{Login, Session},
};
use crate::clock::Clock;

/// What the calls of a lane go by.
pub(super) struct Lane {
    pub(super) client: Client,
    pub(super) login: Arc<Login>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) token_role: String,
    pub(super) namespace: Option<String>,
}

impl Lane {
    /// Sends what may be sent twice: again if the connection was cut, and with a new login if that had ended.
    pub(super) async fn ask<E: Endpoint>(
        &self,
        request: impl Fn() -> E + Send + Sync,
    ) -> Result<Answer<E::Response>, Failure> {
        self.ask_wrapped(None, request).await
    }

    /// The same, with the answer wrapped if a time to keep it wrapped is given.
    pub(super) async fn ask_wrapped<E: Endpoint>(
        &self,
        wrap: Option<Duration>,
        request: impl Fn() -> E + Send + Sync,
    ) -> Result<Answer<E::Response>, Failure> {
        let session = self.login.session().await?;
        let failure = match self.send_twice(&session, wrap, &request).await {
            Err(failure) if failure.is(403) => failure,
            other => return other,
        };
        match self.login.instead_of(&session).await {
            Some(newer) => self.send_twice(&newer, wrap, &request).await,
            None => Err(failure),
        }
    }

    /// A kept connection is found dead only by using it, after every restart of Vault.
    async fn send_twice<E: Endpoint>(
        &self,
        session: &Session,
        wrap: Option<Duration>,
        request: &(impl Fn() -> E + Send + Sync),
    ) -> Result<Answer<E::Response>, Failure> {
        let carried = Carried { token: Some(&session.token), wrap };
        match self.client.send(carried, request()).await {
            Err(Failure::Cut(_)) => self.client.send(carried, request()).await,
            other => other,
        }
    }

    /// Sends what must not be sent twice. A question that may be goes ahead and finds out about a dead connection, an
    /// ended login, or a proxy without a Vault behind it; if it gets no answer of Vault's, nothing more is sent.
    pub(super) async fn ask_once<E: Endpoint>(&self, request: E) -> Result<Answer<E::Response>, Failure> {
        match self.ask(|| LookUpSelf {}).await {
            Err(Failure::Silent) => return Err(Failure::Unsent("no answer within the time limit".into())),
            Err(Failure::Cut(why)) => return Err(Failure::Unsent(format!("no answer ({why})"))),
            Err(Failure::Foreign { status }) => {
                return Err(Failure::Unsent(format!(
                    "status {status} without Vault's words; check the address and what stands before Vault"
                )));
            }
            Err(failure @ (Failure::Unreached(_) | Failure::Unsent(_))) => return Err(failure),
            // Any other answer is Vault's: the request gets its own.
            _ => {}
        }
        let session = self.login.session().await?;
        self.client.send(Carried { token: Some(&session.token), wrap: None }, request).await
    }
}
