//! The daemon itself, from its configuration: that what the others attack is what is configured.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use chrono::{DateTime, TimeDelta, Utc};
use hallpass::clock::{Clock, SystemClock};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use serde_json::Value;
use tokio::net::TcpStream;

use super::attacked::{authority, issued, list};
use crate::support::{
    servers::{Process, eventually, free_port},
    world::World,
};

fn now() -> DateTime<Utc> {
    SystemClock.now()
}

/// A file that only its owner reads.
fn write(world: &World, name: &str, contents: &str) -> String {
    let path = world.dir.join(name);
    fs::write(&path, contents).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

/// The world's configuration with TLS, clients' certificates and a small rate.
fn configure(world: &World, port: u16, ca: &str, crl: &str) -> String {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) =
        (write(world, "tls.crt", &cert.pem()), write(world, "tls.key", &signing_key.serialize_pem()));
    let config = fs::read_to_string(world.config_file()).unwrap();
    let (_, rest) = config.split_once("[store]").unwrap();
    let developers = format!("developers-{}", world.name);
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\ntls_cert_file = {cert:?}\ntls_key_file = {key:?}\n\
         limits = {{ calls_per_minute_max = 10 }}\n\
         [identity.certificates]\nca_file = {ca:?}\ncrl_file = {crl:?}\nperson = \"email:*@corp.example\"\n\
         [identity.certificates.groups]\n{developers:?} = [\"alice\", \"bob\"]\n[store]{rest}"
    );
    write(world, "tls.toml", &text)
}

#[tokio::test]
async fn it_takes_certificates_counts_calls_and_notices_what_is_revoked() {
    let world = World::start().await;
    world.stop_daemon("TERM").await;
    let corp = authority("Corp");
    let ca = write(&world, "ca.pem", &corp.pem());
    let crl = write(&world, "crl.pem", &list(&corp, &[], now(), TimeDelta::days(1)));
    for (name, serial) in [("alice", 1), ("bob", 2)] {
        let own = issued(&corp, serial, name, now(), TimeDelta::hours(1));
        write(&world, &format!("{name}.pem"), &own.certificate);
        write(&world, &format!("{name}.key"), &own.key);
    }
    let port = free_port();
    let config = configure(&world, port, &ca, &crl);
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
    command.args(["serve", "--config", &config]);
    let _daemon = Process::start(&command, "KILL", None, &world.dir.join("tls.log"));
    eventually("it listens", async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await;

    let targets = async |name: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        command.env_clear().env("HOME", "/nonexistent").env("HALLPASS_CA_FILE", world.dir.join("tls.crt"));
        command
            .env("HALLPASS_SERVER", format!("https://localhost:{port}"))
            .args(["--output", "json", "targets"]);
        command.env("HALLPASS_CERT_FILE", world.dir.join(&format!("{name}.pem")));
        command.env("HALLPASS_KEY_FILE", world.dir.join(&format!("{name}.key")));
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    };
    let listed = targets("alice").await;
    assert!(String::from_utf8_lossy(&listed.stdout).contains("orders-ro"), "{listed:?}");
    let mut refused = None;
    // The rate gives one back in six seconds, so a slow machine takes more than ten.
    eventually("alice has called too often", async || {
        let answer = targets("alice").await;
        let is_refused = !answer.status.success();
        refused = is_refused.then(|| reason(&answer));
        is_refused
    })
    .await;
    assert_eq!(refused.flatten().as_deref(), Some("TOO_MANY"));
    assert!(targets("bob").await.status.success(), "others have their own");

    fs::write(world.dir.join("next.pem"), list(&corp, &[2], now(), TimeDelta::days(1))).unwrap();
    fs::rename(world.dir.join("next.pem"), &crl).unwrap();
    let log = || fs::read_to_string(world.dir.join("tls.log")).unwrap();
    eventually("the list is taken up", async || log().contains("certificate-trust-loaded")).await;
    assert!(!targets("bob").await.status.success());
    assert!(log().contains("certificate-refused"), "{}", log());
}

fn reason(answer: &Output) -> Option<String> {
    let error: Value = serde_json::from_slice(&answer.stderr).ok()?;
    error["error"]["reason"].as_str().map(str::to_owned)
}
