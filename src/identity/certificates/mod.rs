//! Client certificates: whether one is to be trusted now, and whose it is.
//!
//! ```text
//! handshake   chain to ca_file, times, revocation     what fails is not let in
//! each call   the same again, then the name           so a connection doesn't outlive a revocation
//! ```
//!
//! What decides who comes in fails closed: authorities or revocation lists that can't be read, or lists that are out of
//! date, let nobody in by a certificate until they are mended. What a certificate says beside its name counts for nothing:
//! groups come from the configuration.

mod name;
mod trust;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use chrono::{DateTime, Utc};
use rustls::{
    DigitallySignedStruct, DistinguishedName, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, UnixTime},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};

use self::{name::Named, trust::Trust};
pub use self::{
    name::{BadRule, NameRule},
    trust::TrustError,
};
use super::{Verified, error::IdentityError};
use crate::{
    access::actor::{Caller, Person},
    clock::Clock,
};

/// What the subjects of people who come in by certificate begin with, without the `:`.
pub const CERTIFICATE_SOURCE: &str = "cert";

/// What is trusted of certificates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateSettings {
    /// The authorities, PEM.
    pub ca_file: PathBuf,
    /// Their revocation lists, PEM. Without it nothing is ever revoked.
    pub crl_file: Option<PathBuf>,
    /// Which name says who somebody is.
    pub person: NameRule,
    /// Who is in each group.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

/// The certificates that a client has shown, its own first. It has proved that it has the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientChain(Arc<[CertificateDer<'static>]>);

impl ClientChain {
    /// The chain, if there is anything in it.
    #[must_use]
    pub fn new(chain: &[CertificateDer<'static>]) -> Option<Self> {
        (!chain.is_empty()).then(|| Self(chain.into()))
    }
}

/// Checks certificates.
#[derive(Debug)]
pub struct Certificates {
    person: NameRule,
    groups: BTreeMap<String, BTreeSet<String>>,
    trust: Trust,
    algorithms: WebPkiSupportedAlgorithms,
    clock: Arc<dyn Clock>,
}

impl Certificates {
    /// Loads the authorities and the lists.
    ///
    /// # Errors
    ///
    /// If a file can't be read or used.
    pub fn load(settings: CertificateSettings, clock: Arc<dyn Clock>) -> Result<Self, TrustError> {
        let CertificateSettings { ca_file, crl_file, person, groups } = settings;
        let trust = Trust::load(ca_file, crl_file)?;
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Ok(Self { person, groups, trust, algorithms, clock })
    }

    /// Reads the files again, and counts what is in them from now on. Blocks for as long as that takes.
    pub fn reload(&self) {
        self.trust.reload(self.clock.now());
    }

    /// Who shows this chain, if it holds now.
    ///
    /// # Errors
    ///
    /// Whatever is wrong with it, or [`IdentityError::TrustUnavailable`] if that can't be known.
    pub fn verify(&self, chain: &ClientChain) -> Result<Verified, IdentityError> {
        let (own, others) = chain.0.split_first().ok_or(IdentityError::Certificate("is missing"))?;
        self.check(own, others, self.clock.now())?;
        let Named { id, expires_at } = self.person.read(own)?;
        let groups = self.groups.iter().filter(|(_, ids)| ids.contains(&id));
        let groups = groups.map(|(group, _)| group.clone()).collect();
        let person = Person { subject: format!("{CERTIFICATE_SOURCE}:{id}"), name: id };
        Ok(Verified { caller: Caller { person, groups }, expires_at })
    }

    fn check(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: DateTime<Utc>,
    ) -> Result<(), IdentityError> {
        let verifier = self.trust.verifier().ok_or(IdentityError::TrustUnavailable)?;
        let checked = verifier.verify_client_cert(own, others, unix(now));
        checked.map(drop).map_err(|error| trust::fault(&error))
    }
}

/// A time before 1970 is one at which nothing is valid.
fn unix(at: DateTime<Utc>) -> UnixTime {
    UnixTime::since_unix_epoch((at - DateTime::UNIX_EPOCH).to_std().unwrap_or_default())
}

/// The same check in the handshake. Whether somebody may do without a certificate depends on what else there is; it is asked
/// at each call, which can say what is missing.
impl ClientCertVerifier for Certificates {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// None: strangers needn't know who the authorities are, and they change while the server runs.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let Some(verifier) = self.trust.verifier() else {
            return Err(rustls::Error::General(
                "the authorities or revocation lists can't be read".to_owned(),
            ));
        };
        // By our own clock, as everywhere.
        verifier.verify_client_cert(own, others, unix(self.clock.now()))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
