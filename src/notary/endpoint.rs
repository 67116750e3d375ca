//! A witness behind a URL, by the C2SP protocol ([tlog-witness](https://c2sp.org/tlog-witness)): one `POST` of the checkpoint
//! with its proof, to `add-checkpoint` below it. It is told nothing that isn't public to whoever has a checkpoint, and no more
//! of its answer is read than an answer has.

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use reqwest::{Client, header::CONTENT_TYPE};
use url::Url;

use crate::{
    broker::{Witness, WitnessError},
    http::{self, HttpError},
    ledger::{
        note::VerifierKey,
        witness::{ANSWER_MAX_BYTES, AddCheckpoint, Answer},
    },
};

/// How long a witness may take: it verifies two signatures and writes to a disk.
const TIMEOUT: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Endpoint {
    name: String,
    address: Url,
    key: VerifierKey,
    http: Client,
}

impl Endpoint {
    /// A witness of this name below this URL, with the key of its cosignatures.
    ///
    /// # Errors
    ///
    /// If the authorities' file can't be used.
    pub fn new(name: String, url: &Url, ca_file: Option<&Path>, key: VerifierKey) -> Result<Self, HttpError> {
        let mut address = url.clone();
        address.set_path(&format!("{}/add-checkpoint", url.path().trim_end_matches('/')));
        Ok(Self { name, address, key, http: http::client(ca_file, TIMEOUT)? })
    }

    async fn send(&self, request: &AddCheckpoint) -> Result<(u16, Option<String>, Vec<u8>), reqwest::Error> {
        let post = self.http.post(self.address.clone()).body(request.to_string());
        let mut response = post.send().await?;
        let kind = response.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let (status, kind) = (response.status().as_u16(), kind.map(str::to_owned));
        let mut body = Vec::new();
        // One byte more than it may have is as good as all.
        while body.len() <= ANSWER_MAX_BYTES
            && let Some(chunk) = response.chunk().await?
        {
            let room = (ANSWER_MAX_BYTES + 1).saturating_sub(body.len());
            body.extend(chunk.iter().take(room));
        }
        Ok((status, kind, body))
    }
}

#[async_trait]
impl Witness for Endpoint {
    fn name(&self) -> &str {
        &self.name
    }

    fn key(&self) -> Option<&VerifierKey> {
        Some(&self.key)
    }

    async fn add(&self, request: &AddCheckpoint) -> Result<Answer, WitnessError> {
        let answered = self.send(request).await;
        let (status, kind, body) = answered.map_err(|error| WitnessError(crate::telemetry::chain(&error)))?;
        Answer::read(status, kind.as_deref(), &body)
            .map_err(|bad| WitnessError(format!("it answered with status {status}, and {bad}")))
    }
}
