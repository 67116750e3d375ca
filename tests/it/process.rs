//! The daemon as a process: its commands and their exit statuses, what systemd is told, TLS, and an end that lets calls in
//! flight finish.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, net::UnixDatagram},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use hallpass::wire::{
    ClaimGrantResponse, GrantState, ListTargetsRequest, Request, target_service_client::TargetServiceClient,
};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, SupportedProtocolVersion};
use tokio::{net::TcpStream, task::JoinHandle};
use tokio_rustls::TlsConnector;
use tonic::{
    Code, Status,
    transport::{Certificate, ClientTlsConfig, Endpoint},
};

use crate::support::{
    people::Person,
    refusals::reason,
    servers::{Dir, Process, eventually, free_port},
    world::{Wishes, World},
};

fn hallpassd(verb: &str, config: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_hallpassd")).args([verb, "--config"]).arg(config).output().unwrap()
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn a_bad_configuration_is_64_with_every_problem_and_nothing_bound() {
    let dir = Dir::new("process");
    let config = dir.join("hallpassd.toml");
    fs::write(&config, "[server]\nlisten = \"0.0.0.0:1\"\nplaintext = true\n[stor]\n").unwrap();
    for verb in ["check", "serve", "migrate"] {
        let output = hallpassd(verb, &config);
        assert_eq!(output.status.code(), Some(64), "{verb}");
        let problems = said(&output.stderr);
        for key in ["server.plaintext", "stor", "store", "vault", "identity", "roles"] {
            assert!(problems.contains(key), "{key} in {problems}");
        }
    }
    assert_eq!(hallpassd("check", &dir.join("missing.toml")).status.code(), Some(64));
}

#[tokio::test]
async fn check_and_migrate_do_what_they_say_and_a_second_daemon_is_refused() {
    let world = World::start().await;
    let config = world.config_file();
    let checked = hallpassd("check", &config);
    assert_eq!((checked.status.code(), checked.stderr.len()), (Some(0), 0), "{checked:?}");

    let second = hallpassd("migrate", &config);
    assert_eq!(second.status.code(), Some(1), "the database is the running daemon's");
    assert!(said(&second.stderr).contains("hallpass.db"), "{second:?}");
    world.stop_daemon("TERM").await;
    assert!(said(&hallpassd("migrate", &config).stdout).contains("nothing to do"));
    fs::remove_file(world.database_file()).unwrap();
    assert!(said(&hallpassd("migrate", &config).stdout).contains("applied"));
}

/// What systemd is to a service: it hears, and it starts the process.
struct Systemd {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Systemd {
    fn of(world: &World) -> Self {
        let path = world.dir.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_mins(1))).unwrap();
        Self { socket, path }
    }

    fn starts(&self, world: &World) -> Process {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
        command.args(["serve", "--config"]).arg(world.config_file());
        command.env("NOTIFY_SOCKET", &self.path).env("WATCHDOG_USEC", "200000");
        Process::start(&command, "KILL", None, &world.dir.join("notified.log"))
    }

    /// Waits for a message with this line.
    fn hears(&self, wanted: &str) -> String {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|_| panic!("no {wanted}"));
            let message = said(&buffer[..length]);
            if message.lines().any(|line| line == wanted) {
                return message;
            }
        }
    }
}

#[tokio::test]
async fn systemd_is_told_that_it_is_ready_alive_and_stopping() {
    let world = World::start().await;
    world.stop_daemon("TERM").await;
    let systemd = Systemd::of(&world);
    let daemon = systemd.starts(&world);
    systemd.hears("READY=1");
    systemd.hears("WATCHDOG=1");
    daemon.signal("HUP");
    let reloading = systemd.hears("RELOADING=1");
    assert!(reloading.lines().any(|line| line.starts_with("MONOTONIC_USEC=")), "{reloading}");
    systemd.hears("READY=1");
    systemd.hears("WATCHDOG=1");
    daemon.signal("TERM");
    systemd.hears("STOPPING=1");
    ended(daemon).await;
    assert!(
        fs::read_to_string(world.dir.join("notified.log")).unwrap().contains("\"hallpass.ended\":\"Clean\"")
    );
}

#[tokio::test]
async fn a_second_signal_does_not_wait_for_calls_in_flight() {
    let wishes = Wishes { before_account: Some("SELECT pg_sleep(20);"), ..Wishes::default() };
    let world = World::with(wishes).await;
    world.stop_daemon("TERM").await;
    let systemd = Systemd::of(&world);
    let daemon = systemd.starts(&world);
    systemd.hears("READY=1");
    let (_, _, claim) = claim_under_way(&world).await;
    daemon.signal("TERM");
    systemd.hears("STOPPING=1");
    daemon.signal("INT");
    ended(daemon).await;
    claim.await.unwrap().expect_err("the claim is cut off");
    assert!(
        fs::read_to_string(world.dir.join("notified.log")).unwrap().contains("\"hallpass.ended\":\"Forced\"")
    );
}

/// A claim that Vault is at work on, with who made it and for which request.
async fn claim_under_way(world: &World) -> (Person, Request, JoinHandle<Result<ClaimGrantResponse, Status>>) {
    let mut alice = world.person("alice").await;
    let request = alice.submit(Duration::from_mins(1), "order 4711 is stuck").await.unwrap();
    world.person("olivia").await.approve(&request, "fine").await.unwrap();
    let claim = tokio::spawn({
        let (mut alice, request) = (alice.clone(), request.clone());
        async move { alice.claim(&request).await }
    });
    eventually("the claim is under way", async || !world.audit("GrantTokenMinted").await.is_empty()).await;
    (alice, request, claim)
}

/// Waits until a process has ended by itself.
async fn ended(mut process: Process) {
    eventually("the process ends", async || !process.runs()).await;
}

#[tokio::test]
async fn a_stop_lets_a_claim_in_flight_finish() {
    let wishes = Wishes { before_account: Some("SELECT pg_sleep(2);"), ..Wishes::default() };
    let world = World::with(wishes).await;
    let (mut alice, _, claim) = claim_under_way(&world).await;
    world.stop_daemon("TERM").await;
    let claimed = claim.await.unwrap().expect("the claim is answered");
    alice.unwrap(&claimed).await;
    assert!(world.log().contains("\"hallpass.ended\":\"Clean\""), "{}", world.log());
    world.start_daemon().await;
    let grant = claimed.grant.unwrap();
    assert_eq!(alice.grant(&grant.name).await.unwrap().state(), GrantState::Active);
}

#[tokio::test]
async fn a_caller_who_hangs_up_leaves_a_grant_that_can_be_claimed_again() {
    let wishes = Wishes { before_account: Some("SELECT pg_sleep(1);"), ..Wishes::default() };
    let world = World::with(wishes).await;
    let (mut alice, request, claim) = claim_under_way(&world).await;
    claim.abort();
    eventually("it goes on to its end", async || !world.audit("GrantActivated").await.is_empty()).await;
    assert_eq!(reason(&alice.claim(&request).await.unwrap_err()).1, "GRANT_HELD");
    let claimed = alice.claim_with(&request, true).await.unwrap();
    alice.unwrap(&claimed).await;
    eventually("the lost one is gone", async || world.accounts().await.len() == 1).await;
}

#[tokio::test]
async fn it_speaks_tls_1_3_and_nothing_older() {
    let world = World::start().await;
    world.stop_daemon("TERM").await;
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert_file, key_file) = (world.dir.join("tls.crt"), world.dir.join("tls.key"));
    fs::write(&cert_file, cert.pem()).unwrap();
    fs::write(&key_file, signing_key.serialize_pem()).unwrap();
    fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
    let port = free_port();
    let config = fs::read_to_string(world.config_file()).unwrap();
    let (_, rest) = config.split_once("[store]").unwrap();
    let server = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\ntls_cert_file = \"{}\"\ntls_key_file = \"{}\"\n[store]",
        cert_file.display(),
        key_file.display()
    );
    let config_file = world.dir.join("tls.toml");
    fs::write(&config_file, server + rest).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
    command.args(["serve", "--config"]).arg(config_file);
    let _daemon = Process::start(&command, "KILL", None, &world.dir.join("tls.log"));
    eventually("it listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;

    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let roots = Arc::new(roots);
    let spoken = handshake(port, &roots, &[&rustls::version::TLS13]).await.unwrap();
    assert_eq!(spoken, Some(ProtocolVersion::TLSv1_3));
    handshake(port, &roots, &[&rustls::version::TLS12]).await.expect_err("TLS 1.2 is refused");

    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(cert.pem())).domain_name("localhost");
    let endpoint =
        Endpoint::from_shared(format!("https://127.0.0.1:{port}")).unwrap().tls_config(tls).unwrap();
    let mut targets = TargetServiceClient::new(endpoint.connect().await.unwrap());
    let error = targets.list_targets(ListTargetsRequest::default()).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated, "it is hallpassd that answers");
}

async fn handshake(
    port: u16,
    roots: &Arc<RootCertStore>,
    versions: &[&'static SupportedProtocolVersion],
) -> std::io::Result<Option<ProtocolVersion>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let mut config = config.with_root_certificates(Arc::clone(roots)).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    let name = "localhost".try_into().unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
    let connection: &ClientConnection = stream.get_ref().1;
    Ok(connection.protocol_version())
}
