//! What is attacked: a server with each of its doors open, its authority of certificates and its issuer of tokens.

use std::{
    collections::BTreeSet,
    fs,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use hallpass::{
    access::{actor::Persons, policy::Policy},
    broker::{Broker, Notary, Parts},
    clock::Clock,
    grpc::{self, Doors, Limits, ServeError, SocketDoor, SocketPlace, Tls},
    grpc::{Front, Fronts},
    identity::{
        Algorithm, CertificateSettings, Certificates, ClaimPaths, KeySource, Settings, SocketSettings,
        Verifier,
    },
    signature::Signers,
    store::Store as _,
    wire::{
        ListTargetsRequest, request_service_client::RequestServiceClient,
        target_service_client::TargetServiceClient,
    },
};
use jsonwebtoken::{EncodingKey, Header, encode};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType,
    SerialNumber, generate_simple_self_signed,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
};
use tokio_util::task::TaskTracker;
use tonic::{
    Request as Call, Status,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};

use crate::support::{
    servers::Dir,
    sim::{self, Sim},
};

pub const ISSUER: &str = "https://vault.test/v1/identity/oidc";

/// What a test may want otherwise.
pub struct Wishes {
    pub tls: bool,
    pub limits: Limits,
    /// Identities that are one person.
    pub person: Option<(&'static str, Vec<String>)>,
    /// Who the user that runs the tests is on the socket; nobody if unset.
    pub own_user: Option<&'static str>,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { tls: false, limits: Limits::default(), person: None, own_user: Some("alice") }
    }
}

type Authority = CertifiedIssuer<'static, KeyPair>;

/// A server.
pub struct Attacked {
    pub sim: Sim,
    pub address: SocketAddr,
    pub socket: PathBuf,
    pub dir: Dir,
    pub authority: Authority,
    is_tls: bool,
    key: EncodingKey,
    pub server: JoinHandle<Result<(), ServeError>>,
}

/// Anything to read from and write to.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl Attacked {
    pub async fn start() -> Self {
        Self::with(Wishes::default()).await
    }

    pub async fn with_tls() -> Self {
        Self::with(Wishes { tls: true, ..Wishes::default() }).await
    }

    pub async fn with(wishes: Wishes) -> Self {
        let sim = Sim::start().await;
        let clock: Arc<dyn Clock> = sim.clock.clone();
        Self::with_clock(wishes, sim, clock).await
    }

    /// The broker asks this clock, the server the one of `sim`.
    pub async fn with_clock(wishes: Wishes, sim: Sim, brokers: Arc<dyn Clock>) -> Self {
        let dir = Dir::new("attacked");
        let clock: Arc<dyn Clock> = sim.clock.clone();
        let authority = authority("Corp");
        let persons = persons(&wishes);
        let broker = broker(&sim, persons.clone(), brokers).await;
        let key = issuer(&dir);
        let certificates = wishes.tls.then(|| certificates(&dir, &authority, &clock));
        let verifier = Verifier::new(vec![settings(&dir)], persons, Arc::clone(&clock)).unwrap();
        let verifier = verifier.with_certificates(certificates.clone()).with_socket(Some(users(&wishes)));
        let tls = certificates.map(|certificates| {
            renew(&dir);
            Tls::load(&dir.join("cert.pem"), &dir.join("key.pem"), Some(certificates)).unwrap()
        });
        let socket = dir.join("hallpass.sock");
        let place = SocketPlace { path: socket.clone(), mode: 0o666, owner: None, group: None };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let socket_door = Some(SocketDoor::open(&place).unwrap());
        let doors = Doors { listener, tls, socket: socket_door, limits: wishes.limits };
        let fronts = Arc::new(Fronts::new(Front { verifier: Arc::new(verifier), broker }));
        let serving = grpc::serve(doors, fronts, clock, sim.stopping.clone());
        let server = tokio::spawn(serving);
        Self { sim, address, socket, dir, authority, is_tls: wishes.tls, key, server }
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.sim.clock.now()
    }

    /// The claims of a good token for ten minutes.
    pub fn claims(&self, name: &str, group: &str) -> Value {
        let now = self.now().timestamp();
        json!({
            "iss": ISSUER, "aud": "hallpass", "sub": format!("id-of-{name}"), "name": name,
            "groups": [group], "iat": now, "exp": now + 600,
        })
    }

    pub fn sign(&self, claims: &Value) -> String {
        let header = Header { kid: Some("k".into()), ..Header::new(jsonwebtoken::Algorithm::EdDSA) };
        encode(&header, claims, &self.key).unwrap()
    }

    pub fn token(&self, name: &str, group: &str) -> String {
        self.sign(&self.claims(name, group))
    }

    pub fn alice<T>(&self, message: T) -> Call<T> {
        with_token(message, &self.token("alice", "developers"))
    }

    fn endpoint(&self) -> Endpoint {
        let scheme = if self.is_tls { "https" } else { "http" };
        Endpoint::from_shared(format!("{scheme}://{}", self.address)).unwrap()
    }

    fn client_tls(&self) -> ClientTlsConfig {
        let trusted = Certificate::from_pem(fs::read(self.dir.join("cert.pem")).unwrap());
        ClientTlsConfig::new().ca_certificate(trusted).domain_name("localhost")
    }

    /// A connection without a certificate, made at the first call.
    pub fn channel(&self) -> Channel {
        let endpoint = self.endpoint();
        let endpoint = if self.is_tls { endpoint.tls_config(self.client_tls()).unwrap() } else { endpoint };
        endpoint.connect_lazy()
    }

    /// The same, with a certificate.
    pub fn channel_of(&self, own: &Own) -> Channel {
        let identity = Identity::from_pem(&own.certificate, &own.key);
        self.endpoint().tls_config(self.client_tls().identity(identity)).unwrap().connect_lazy()
    }

    /// The same from another address of this machine.
    pub fn channel_from(&self, address: &str) -> Channel {
        self.endpoint().local_address(Some(address.parse::<IpAddr>().unwrap())).connect_lazy()
    }

    /// The same over the socket.
    pub fn channel_of_socket(&self) -> Channel {
        Endpoint::from_shared(format!("unix:{}", self.socket.display())).unwrap().connect_lazy()
    }

    /// A bare connection from an address of this machine.
    pub async fn connect_from(&self, address: &str) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Somebody else is served.
    pub async fn still_serves(&self) {
        let channel = self.channel();
        let call = with_token(ListTargetsRequest::default(), &self.token("bob", "developers"));
        let answer = TargetServiceClient::new(channel).list_targets(call).await.unwrap().into_inner();
        assert_eq!(answer.targets.len(), 2, "somebody else is served");
    }

    /// A list of what is revoked, in place of the one before, for so long.
    pub fn revoke(&self, serials: &[u64], good_for: TimeDelta) {
        fs::write(self.dir.join("crl.pem"), list(&self.authority, serials, self.now(), good_for)).unwrap();
    }

    /// A certificate for a day.
    pub fn issue(&self, serial: u64, name: &str) -> Own {
        issued(&self.authority, serial, name, self.now(), TimeDelta::hours(24))
    }

    /// A handshake with these versions and this certificate.
    pub async fn handshake(&self, own: Option<&Own>) -> std::io::Result<impl Io + use<>> {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.dir.join("cert.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match own {
            None => builder.with_no_client_auth(),
            Some(own) => {
                let chain = vec![CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        connector.connect("localhost".try_into().unwrap(), self.connect().await).await
    }
}

pub async fn list_targets(channel: Channel, call: Call<ListTargetsRequest>) -> Result<usize, Status> {
    TargetServiceClient::new(channel).list_targets(call).await.map(|page| page.into_inner().targets.len())
}

pub fn requests(channel: &Channel) -> RequestServiceClient<Channel> {
    RequestServiceClient::new(channel.clone())
}

pub fn with_token<T>(message: T, token: &str) -> Call<T> {
    let mut call = Call::new(message);
    call.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    call
}

/// A certificate with its key, PEM.
#[derive(Clone, Debug)]
pub struct Own {
    pub certificate: String,
    pub key: String,
}

pub fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn time(at: DateTime<Utc>) -> time::OffsetDateTime {
    time::OffsetDateTime::from_unix_timestamp(at.timestamp()).unwrap()
}

/// A certificate that began an hour before `at` and is good until so much after it.
pub fn issued(by: &Authority, serial: u64, name: &str, at: DateTime<Utc>, good_for: TimeDelta) -> Own {
    let mut params = CertificateParams::default();
    params.serial_number = Some(SerialNumber::from(serial));
    params.subject_alt_names = vec![SanType::Rfc822Name(format!("{name}@corp.example").try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    (params.not_before, params.not_after) = (time(at - TimeDelta::hours(1)), time(at + good_for));
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    Own { certificate: certificate.pem(), key: key.serialize_pem() }
}

/// A list of what is revoked, which is good for so long.
pub fn list(by: &Authority, revoked: &[u64], at: DateTime<Utc>, good_for: TimeDelta) -> String {
    let entry = |serial: &u64| RevokedCertParams {
        serial_number: SerialNumber::from(*serial),
        revocation_time: time(at),
        reason_code: None,
        invalidity_date: None,
    };
    let params = CertificateRevocationListParams {
        this_update: time(at),
        next_update: time(at + good_for),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    params.signed_by(by).unwrap().pem().unwrap()
}

/// Another certificate for the server.
pub fn renew(dir: &Dir) {
    let made = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(dir.join("cert.pem"), made.cert.pem()).unwrap();
    fs::write(dir.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
}

fn certificates(dir: &Dir, authority: &Authority, clock: &Arc<dyn Clock>) -> Arc<Certificates> {
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    fs::write(dir.join("crl.pem"), list(authority, &[], clock.now(), TimeDelta::days(7))).unwrap();
    let ids = |ids: &[&str]| ids.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let settings = CertificateSettings {
        ca_file: dir.join("ca.pem"),
        crl_file: Some(dir.join("crl.pem")),
        person: "email:*@corp.example".parse().unwrap(),
        groups: [
            ("developers".to_owned(), ids(&["alice", "bob"])),
            ("operations-leads".to_owned(), ids(&["olivia", "alice"])),
        ]
        .into(),
    };
    Arc::new(Certificates::load(settings, Arc::clone(clock)).unwrap())
}

/// An issuer whose keys stand in a file: an Ed25519 key `k` that signs.
fn issuer(dir: &Dir) -> EncodingKey {
    let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let x = URL_SAFE_NO_PAD.encode(pair.public_key_raw());
    let key = json!({ "kid": "k", "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "x": x });
    fs::write(dir.join("keys.json"), json!({ "keys": [key] }).to_string()).unwrap();
    EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap()
}

fn settings(dir: &Dir) -> Settings {
    Settings {
        name: "test".into(),
        issuer: ISSUER.into(),
        audience: "hallpass".into(),
        algorithms: vec![Algorithm::EdDsa, Algorithm::Rs256],
        keys: KeySource::File(dir.join("keys.json")),
        ca_file: None,
        claims: ClaimPaths::default(),
        groups: None,
    }
}

fn users(wishes: &Wishes) -> SocketSettings {
    let own = rustix::process::geteuid().as_raw().to_string();
    let people = wishes.own_user.map(|name| (own, name.to_owned())).into_iter().collect();
    let groups = rustix::process::getegid().as_raw().to_string();
    SocketSettings { people, groups: [("developers".to_owned(), [groups].into())].into() }
}

fn persons(wishes: &Wishes) -> Persons {
    let mut persons = Persons::default();
    if let Some((person, identities)) = &wishes.person {
        assert!(identities.iter().all(|identity| persons.add(person, identity)));
    }
    persons
}

async fn broker(sim: &Sim, persons: Persons, clock: Arc<dyn Clock>) -> Arc<Broker> {
    let policy = Policy { persons, ..sim::policy(&sim::TARGETS) };
    Arc::new(Broker::new(Parts {
        policy,
        digest_key: sim.store.digest_key().await.unwrap(),
        store: sim.store.clone(),
        issuer: sim.vault.clone(),
        clock,
        wrap_ttl: Duration::from_mins(5),
        alarm_after: Duration::from_mins(1),
        revoke_unknown: false,
        texts_for: None,
        signers: Signers::default(),
        notary: Notary::default(),
        stopping: sim.stopping.clone(),
        tasks: TaskTracker::new(),
    }))
}
