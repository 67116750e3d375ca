//! The connection to hallpassd: the channel, who calls, and a time limit for each call.
//!
//! Who calls is said once: by the socket's peer, which is whoever runs this; or by a certificate; or by the stored token.

use std::{fs, future::Future, path::Path, time::Duration};

use secrecy::ExposeSecret;
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use super::{
    address,
    args::Options,
    error::{Failure, chain},
    session, status,
};
use crate::wire::{
    daemon_service_client::DaemonServiceClient, exception_service_client::ExceptionServiceClient,
    freeze_service_client::FreezeServiceClient, grant_service_client::GrantServiceClient,
    ledger_service_client::LedgerServiceClient, request_service_client::RequestServiceClient,
    target_service_client::TargetServiceClient,
};

/// How long setting up a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a connection without traffic is checked while a stream waits on it.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
/// How long the check may take before the connection counts as broken.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// More than the certificate authorities of any company have.
const CA_FILE_MAX_BYTES: u64 = 1024 * 1024;
/// Where hallpassd's address is set.
const SERVER_HINT: &str = "set `--server` or HALLPASS_SERVER";

/// hallpassd, as this caller reaches it.
#[derive(Clone)]
pub struct Server {
    /// The address, for messages.
    pub address: String,
    channel: Channel,
    bearer: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

impl Server {
    /// Reads what says who calls and prepares the connection; the first call makes it.
    ///
    /// # Errors
    ///
    /// If nobody is logged in, or the address, the certificate or the certificate authorities can't be used.
    pub fn new(options: &Options, timeout: Duration) -> Result<Self, Failure> {
        if let Some(path) = address::socket(options.server(), SERVER_HINT)? {
            let address = format!("unix:{}", path.display());
            let channel = endpoint(&address, None, None)?.connect_lazy();
            return Ok(Self { address, channel, bearer: None, timeout });
        }
        let url = address::parse(options.server(), "the address of hallpassd", SERVER_HINT)?;
        let address = url.as_str().trim_end_matches('/').to_owned();
        let own = own_certificate(options)?;
        if own.is_some() && url.scheme() == "http" {
            return Err(Failure::local("a certificate says who calls over https:// only").hint(SERVER_HINT));
        }
        let bearer = if own.is_some() { None } else { Some(stored_token(options)?) };
        let channel = endpoint(&address, options.ca_file(), own)?.connect_lazy();
        Ok(Self { address, channel, bearer, timeout })
    }

    /// The requests' service.
    #[must_use]
    pub fn requests(&self) -> RequestServiceClient<Channel> {
        RequestServiceClient::new(self.channel.clone())
    }

    /// The grants' service.
    #[must_use]
    pub fn grants(&self) -> GrantServiceClient<Channel> {
        GrantServiceClient::new(self.channel.clone())
    }

    /// The daemons' service.
    #[must_use]
    pub fn daemons(&self) -> DaemonServiceClient<Channel> {
        DaemonServiceClient::new(self.channel.clone())
    }

    /// The freezes' service.
    #[must_use]
    pub fn freezes(&self) -> FreezeServiceClient<Channel> {
        FreezeServiceClient::new(self.channel.clone())
    }

    /// The exceptions' service.
    #[must_use]
    pub fn exceptions(&self) -> ExceptionServiceClient<Channel> {
        ExceptionServiceClient::new(self.channel.clone())
    }

    /// The ledger's service.
    #[must_use]
    pub fn ledger(&self) -> LedgerServiceClient<Channel> {
        LedgerServiceClient::new(self.channel.clone())
    }

    /// The targets' service.
    #[must_use]
    pub fn targets(&self) -> TargetServiceClient<Channel> {
        TargetServiceClient::new(self.channel.clone())
    }

    /// A message with who calls and the time limit.
    #[must_use]
    pub fn call<T>(&self, message: T) -> Request<T> {
        let mut request = self.stream(message);
        request.set_timeout(self.timeout);
        request
    }

    /// A message with who calls, for a stream that goes on as long as it is wanted.
    #[must_use]
    pub fn stream<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        request
    }

    /// Waits for an answer, no longer than the time limit.
    ///
    /// # Errors
    ///
    /// If the server refuses, can't be reached, or takes too long.
    pub async fn answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Failure> {
        self.try_answer(call).await.map_err(|status| self.failure(&status))
    }

    /// As [`Self::answer`], with the status itself, for those who try again.
    ///
    /// # Errors
    ///
    /// As [`Self::answer`].
    pub async fn try_answer<T>(
        &self,
        call: impl Future<Output = Result<Response<T>, Status>>,
    ) -> Result<T, Status> {
        // The transport's own limit covers the time until the answer begins; this one covers all of it.
        let limited = tokio::time::timeout(self.timeout, call).await;
        let answer = limited.unwrap_or_else(|_| Err(Status::deadline_exceeded("no answer in time")));
        answer.map(Response::into_inner)
    }

    /// What a status means.
    #[must_use]
    pub fn failure(&self, status: &Status) -> Failure {
        status::failure(status, &self.address)
    }
}

/// The stored login, as calls carry it.
fn stored_token(options: &Options) -> Result<MetadataValue<Ascii>, Failure> {
    let token = session::read(&session::path(options)?)?;
    let bearer: Result<MetadataValue<Ascii>, _> = format!("Bearer {}", token.expose_secret()).parse();
    let mut bearer = bearer.map_err(|_| session::broken())?;
    // Debug output of a request shows "Sensitive" instead.
    bearer.set_sensitive(true);
    Ok(bearer)
}

/// The caller's certificate with its key, if there is one.
fn own_certificate(options: &Options) -> Result<Option<Identity>, Failure> {
    let hint = "`--cert-file` (HALLPASS_CERT_FILE) and `--key-file` (HALLPASS_KEY_FILE) name PEM files, and go together";
    let read = |path: &Path| {
        let unreadable =
            |error| Failure::local(format!("cannot read {}: {error}", path.display())).hint(hint);
        fs::read(path).map_err(unreadable)
    };
    match (options.cert_file(), options.key_file()) {
        (None, None) => Ok(None),
        (Some(certificate), Some(key)) => Ok(Some(Identity::from_pem(read(certificate)?, read(key)?))),
        _ => Err(Failure::local("a certificate and its key go together").hint(hint)),
    }
}

fn endpoint(address: &str, ca_file: Option<&Path>, own: Option<Identity>) -> Result<Endpoint, Failure> {
    let unusable =
        |error: tonic::transport::Error| Failure::local(format!("cannot connect: {}", chain(&error)));
    let endpoint = Endpoint::from_shared(address.to_owned())
        .map_err(unusable)?
        .user_agent(concat!("hallpass/", env!("CARGO_PKG_VERSION")))
        .map_err(unusable)?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    if !address.starts_with("https://") {
        return Ok(endpoint);
    }
    let tls = match ca_file {
        Some(path) => ClientTlsConfig::new().ca_certificate(authorities(path)?),
        None => ClientTlsConfig::new().with_native_roots(),
    };
    let hint = "name a certificate authority with `--ca-file`; a certificate of your own must fit its key";
    let tls = match own {
        Some(own) => tls.identity(own),
        None => tls,
    };
    endpoint.tls_config(tls).map_err(|error| unusable(error).hint(hint))
}

fn authorities(path: &Path) -> Result<Certificate, Failure> {
    let hint = "`--ca-file` or HALLPASS_CA_FILE names a PEM file with certificates";
    let shown = path.display();
    let size = fs::metadata(path).map(|file| file.len());
    if size.is_ok_and(|size| size > CA_FILE_MAX_BYTES) {
        return Err(Failure::local(format!("{shown} is too large for a file of certificates")).hint(hint));
    }
    let pem =
        fs::read(path).map_err(|error| Failure::local(format!("cannot read {shown}: {error}")).hint(hint))?;
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
        return Err(Failure::local(format!("{shown} holds no certificate")).hint(hint));
    }
    Ok(Certificate::from_pem(pem))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_certificates_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let failure = endpoint("https://host:1", Some(file.path()), None).unwrap_err();
        assert!(failure.message.contains("holds no certificate"), "{failure:?}");
        assert!(endpoint("https://host:1", Some(Path::new("/nonexistent")), None).is_err());
    }
}
