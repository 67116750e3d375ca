//! Reloading as operators do it: the real daemon, its file edited under it, SIGHUP and `hallpassd reload`.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::Path,
    process::{Command, Output},
    sync::Arc,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass::{
    clock::{Clock as _, SystemClock},
    wire::{ClaimGrantResponse, GrantState, ListTargetsRequest, Request, RevocationCause, Target},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use rcgen::{CertifiedKey, KeyPair, PublicKeyData as _, generate_simple_self_signed};
use rustix::process::{Pid, Signal, kill_process};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Code;

use crate::support::{
    people::Person,
    refusals::reason,
    servers::{Process, eventually, free_port},
    world::World,
};

fn file(world: &World) -> String {
    fs::read_to_string(world.config_file()).unwrap()
}

/// Puts another file in its place, as configuration management does.
fn write(world: &World, text: &str) {
    let next = world.dir.join("next.toml");
    fs::write(&next, text).unwrap();
    fs::rename(next, world.config_file()).unwrap();
}

/// The file with a second target.
fn with_target(world: &World, name: &str) -> String {
    let text = file(world);
    let (_, first) = text.split_once("[targets.orders-ro]\n").unwrap();
    format!("{text}\n[targets.{name}]\n{first}")
}

fn without_targets(world: &World) -> String {
    file(world).split_once("[targets.orders-ro]").unwrap().0.to_owned()
}

fn digest(world: &World) -> String {
    let sum = Command::new("sha256sum").arg(world.config_file()).output().unwrap();
    let hex = String::from_utf8(sum.stdout).unwrap();
    format!("sha256:{}", hex.split(' ').next().unwrap())
}

fn hang_up(world: &World) {
    let pid = Pid::from_raw(world.daemon_pid().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::HUP).unwrap();
}

fn reload_file(config: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
    command.args(["reload", "--config"]).arg(config).args(arguments).output().unwrap()
}

/// The exit status, and what was said.
async fn reload(world: &World, arguments: &'static [&'static str]) -> (i32, String) {
    let config = world.config_file();
    let output = tokio::task::spawn_blocking(move || reload_file(&config, arguments)).await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

async fn targets(person: &mut Person) -> Vec<Target> {
    person.targets.list_targets(ListTargetsRequest::default()).await.unwrap().into_inner().targets
}

async fn changes(world: &World) -> Vec<Value> {
    world.audit("ConfigurationChanged").await.into_iter().map(|event| event["detail"].clone()).collect()
}

/// A grant that is held, with the credential in use.
async fn held(world: &World) -> (Person, Request, ClaimGrantResponse) {
    let mut alice = world.person("alice").await;
    let request = alice.submit(Duration::from_mins(30), "order 4711 is stuck").await.unwrap();
    world.person("olivia").await.approve(&request, "fine").await.unwrap();
    let claimed = alice.claim(&request).await.unwrap();
    alice.unwrap(&claimed).await;
    assert_eq!(world.accounts().await.len(), 1);
    (alice, request, claimed)
}

#[tokio::test]
async fn sighup_puts_a_good_file_in_force_and_the_audit_log_says_which() {
    let world = World::start().await;
    let first = digest(&world);
    let started = json!({ "occasion": "START", "digest": first, "added": [], "removed": [], "changed": [], "ended": 0 });
    assert_eq!(changes(&world).await, [started]);
    let mut alice = world.person("alice").await;
    let text = with_target(&world, "payroll-ro").replace("\"auditors-", "\"revisors-");
    write(&world, &text);
    hang_up(&world);
    eventually("it is in force", async || targets(&mut alice).await.len() == 2).await;
    let mut audrey = world.person("audrey").await;
    let refused = audrey.targets.list_targets(ListTargetsRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "she isn't one of those any more");
    let expected = json!({
        "occasion": "SIGNAL", "digest": digest(&world), "former_digest": first,
        "added": ["targets.payroll-ro"], "removed": [], "changed": ["roles.auditors"], "ended": 0,
    });
    assert_eq!(changes(&world).await[1..], [expected]);
    assert!(world.log().contains("configuration-reloaded"), "{}", world.log());
}

#[tokio::test]
async fn sighup_with_a_bad_file_changes_nothing_and_the_log_has_every_problem_with_its_line() {
    let world = World::start().await;
    let good = file(&world);
    let bad = with_target(&world, "payroll-ro").replacen("window_max = \"1h\"", "window_max = \"1 year\"", 1);
    write(&world, &bad.replace("[roles]", "[roles]\nadmins = []"));
    hang_up(&world);
    eventually("it is refused", async || world.log().contains("reload-refused")).await;
    let line = |text: &str| 1 + bad.lines().take_while(|line| !line.contains(text)).count();
    let (log, name) = (world.log(), world.config_file().display().to_string());
    for problem in [
        format!("{name}:{}: roles.admins: is not a key that is known here", line("[roles]") + 1),
        format!("{name}:{}: targets.orders-ro.window_max: must be from", line("1 year") + 1),
    ] {
        let said =
            log.lines().filter(|line| line.contains("configuration-problem") && line.contains(&problem));
        assert_eq!(said.count(), 1, "{problem} in {log}");
    }
    let mut alice = world.person("alice").await;
    assert_eq!(targets(&mut alice).await.len(), 1, "it goes on with the old one");
    assert_eq!(changes(&world).await.len(), 1);
    write(&world, &good);
    hang_up(&world);
    eventually("it is good again", async || world.log().contains("configuration-reloaded")).await;
    assert_eq!(changes(&world).await.len(), 1, "it is the same file, so nothing has changed");
}

#[tokio::test]
async fn the_command_says_what_came_of_it() {
    let world = World::start().await;
    let socket = fs::metadata(world.dir.join("hallpass.db.control")).unwrap();
    assert_eq!(socket.permissions().mode() & 0o777, 0o600);
    let good = file(&world);
    write(&world, &with_target(&world, "payroll-ro"));
    let (status, said) = reload(&world, &["--check"]).await;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("nothing was changed\nadded: targets.payroll-ro\n"), "{said}");
    assert_eq!(targets(&mut world.person("alice").await).await.len(), 1);
    let (status, said) = reload(&world, &[]).await;
    assert_eq!((status, said), (0, format!("{} is in force\nadded: targets.payroll-ro\n", digest(&world))));
    assert_eq!(targets(&mut world.person("alice").await).await.len(), 2);
    assert_eq!(changes(&world).await[1]["occasion"], "COMMAND");

    write(&world, &good.replace("window_max = \"1h\"", "window_max = 1"));
    let (status, said) = reload(&world, &[]).await;
    assert_eq!(status, 64, "{said}");
    assert!(said.contains(".window_max: must be a length of time"), "{said}");
    assert!(said.ends_with("1 problem; nothing was changed\n"), "{said}");
    write(&world, "[stor]");
    assert_eq!(reload(&world, &[]).await.0, 64);

    // Half of what this asks for could take effect; none does.
    let both = good.replace("timeout = \"10s\"", "timeout = \"11s\"").replace("\"auditors-", "\"revisors-");
    write(&world, &(both + "[log]\nlevel = \"debug\"\n"));
    let (status, said) = reload(&world, &[]).await;
    assert_eq!(status, 1, "{said}");
    assert!(said.contains("a reload can't change log.level, vault.timeout; restart hallpassd"), "{said}");
    world.person("audrey").await.targets.list_targets(ListTargetsRequest::default()).await.unwrap();
    assert_eq!(changes(&world).await.len(), 2);

    // Who asks for anything else gets no answer, and is in nobody's way.
    let socket = world.dir.join("hallpass.db.control");
    for strange in
        ["", "nonsense\n", "{\"config\": \"/x\", \"end_removed\": true, \"check\": false, \"more\": 1}\n"]
    {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(strange.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read_to_end(&mut Vec::new()).unwrap_or_default(), 0, "{strange}");
    }
    let other = world.dir.join("other.toml");
    fs::write(&other, &good).unwrap();
    let output = tokio::task::spawn_blocking(move || reload_file(&other, &[])).await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("was started with"));
    write(&world, &good);
    world.stop_daemon("TERM").await;
    let (status, said) = reload(&world, &[]).await;
    assert!(status == 1 && said.contains("check that it runs"), "{said}");
}

#[tokio::test]
async fn a_target_with_a_grant_is_taken_out_only_with_its_end() {
    let world = World::start().await;
    let (mut alice, _, claimed) = held(&world).await;
    let grant = claimed.grant.unwrap();
    write(&world, &without_targets(&world));
    for arguments in [&[][..], &["--check"]] {
        let (status, said) = reload(&world, arguments).await;
        assert_eq!(status, 1, "{said}");
        let listed = format!("  {} ACTIVE, orders-ro, alice", grant.name);
        assert!(said.contains(&listed) && said.contains("--end-removed; nothing was changed"), "{said}");
    }
    hang_up(&world);
    eventually("SIGHUP is refused, too", async || {
        world.log().lines().any(|line| line.contains("reload-refused") && line.contains(&grant.name))
    })
    .await;
    assert_eq!(alice.grant(&grant.name).await.unwrap().state(), GrantState::Active);
    assert_eq!(world.accounts().await.len(), 1);
    let (status, said) = reload(&world, &["--check", "--end-removed"]).await;
    assert!(status == 0 && said.contains("would be ending: "), "{said}");
    assert_eq!(changes(&world).await.len(), 1);

    let (status, said) = reload(&world, &["--end-removed"]).await;
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("removed: targets.orders-ro\nending: grants/"), "{said}");
    let ended = alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(ended.cause(), RevocationCause::TargetRemoved);
    assert_eq!(world.accounts().await, [""; 0], "the credential is gone");
    let change = changes(&world).await[1].clone();
    assert_eq!((&change["removed"], &change["ended"]), (&json!(["targets.orders-ro"]), &json!(1)));
    let refused = alice.submit(Duration::from_mins(1), "once more, please").await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

/// The daemon dies when the change and the ends are on record and nothing else is done.
#[tokio::test]
async fn a_crash_in_a_reload_is_finished_by_the_next_start() {
    let world = World::start().await;
    let (mut alice, _, claimed) = held(&world).await;
    let grant = claimed.grant.unwrap();
    world.stop_daemon("TERM").await;
    world.start_daemon_with(&[("HALLPASS_DIE_AT", "ReloadRecorded")]).await;
    write(&world, &without_targets(&world));
    let (status, said) = reload(&world, &["--end-removed"]).await;
    assert_eq!(status, 1, "{said}");
    assert_eq!(world.daemon_dies().await, Some(9));
    world.start_daemon().await;
    let ended = alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(ended.cause(), RevocationCause::TargetRemoved);
    assert_eq!(world.accounts().await, [""; 0]);
    let occasions: Vec<_> = changes(&world).await.iter().map(|change| change["occasion"].clone()).collect();
    assert_eq!(occasions, ["START", "COMMAND"], "the start brought nothing new");
}

#[tokio::test]
async fn a_start_with_another_file_is_told_of_and_ends_nothing_early() {
    let world = World::start().await;
    let (mut alice, _, claimed) = held(&world).await;
    let grant = claimed.grant.unwrap();
    let first = digest(&world);
    write(&world, &without_targets(&world));
    world.stop_daemon("TERM").await;
    world.start_daemon().await;
    eventually("it is told of", async || world.log().contains("target-missing")).await;
    assert_eq!(alice.grant(&grant.name).await.unwrap().state(), GrantState::Active);
    let change = changes(&world).await[1].clone();
    let expected = [&json!("START"), &json!(digest(&world)), &json!(first)];
    assert_eq!(["occasion", "digest", "former_digest"].map(|field| &change[field]), expected);
    // The file is the same as at the start, and what it left can be ended now.
    let (status, said) = reload(&world, &["--end-removed"]).await;
    assert!(status == 0 && said.contains("the file is the same as before\nending: "), "{said}");
    alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(changes(&world).await.len(), 2);
}

/// An issuer of our own, whose keys are in a file.
struct Corp {
    key: EncodingKey,
    keys: Value,
}

impl Corp {
    const ISSUER: &'static str = "https://corp.example";

    fn new() -> Self {
        let pair = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let x = URL_SAFE_NO_PAD.encode(pair.der_bytes());
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "1", "alg": "EdDSA", "use": "sig", "x": x }] });
        let key = EncodingKey::from_ed_pem(pair.serialize_pem().as_bytes()).unwrap();
        Self { key, keys }
    }

    fn token(&self, world: &World, group: &str) -> String {
        let now = SystemClock.now().timestamp();
        let claims = json!({
            "iss": Self::ISSUER, "aud": "hallpass", "sub": "7", "name": "ally", "iat": now, "exp": now + 600,
            "groups": [format!("{group}-{}", world.name)],
        });
        let header = Header { kid: Some("1".to_owned()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &self.key).unwrap()
    }

    fn section(&self, world: &World) -> String {
        let keys_file = world.dir.join("corp.json");
        fs::write(&keys_file, self.keys.to_string()).unwrap();
        format!(
            "[identity.oidc.corp]\nissuer = \"{}\"\naudience = \"hallpass\"\nkeys_file = \"{}\"\n\
             groups = [\"operations-leads-{}\"]\n",
            Self::ISSUER,
            keys_file.display(),
            world.name
        )
    }
}

#[tokio::test]
async fn an_issuer_is_added_and_identities_become_one_person_without_a_restart() {
    let world = World::start().await;
    let mut alice = world.person("alice").await;
    let request = alice.submit(Duration::from_mins(30), "order 4711 is stuck").await.unwrap();
    let corp = Corp::new();
    let mut ally = Person::with_token(&world, &corp.token(&world, "operations-leads"));
    assert_eq!(ally.approve(&request, "fine").await.unwrap_err().code(), Code::Unauthenticated);

    let all = ["developers", "operations-leads", "auditors", "operators"]
        .map(|name| format!("{name}-{}", world.name));
    let audience = format!("audience = \"hallpass-{}\"", world.name);
    let with_corp =
        file(&world).replace(&audience, &format!("{audience}\ngroups = {all:?}")) + &corp.section(&world);
    let subject = request.requester.as_ref().unwrap().subject.clone();
    let person = format!("[identity.persons.alice]\nidentities = [\"{subject}\", \"corp:7\"]\n");
    write(&world, &(with_corp.clone() + &person));
    let (status, said) = reload(&world, &[]).await;
    assert_eq!(status, 0, "{said}");
    let added = "added: identity.oidc.corp, identity.oidc.vault.groups, identity.persons.alice\n";
    assert!(said.contains(added), "{said}");
    let refused = ally.approve(&request, "fine").await.unwrap_err();
    assert_eq!(reason(&refused).1, "SELF_APPROVAL", "she is Alice");

    // And two again, but then she is another, whose word counts.
    write(&world, &with_corp);
    assert_eq!(reload(&world, &[]).await.0, 0);
    ally.approve(&request, "fine").await.unwrap();
    alice.claim(&request).await.unwrap();
    write(&world, &file(&world).replace("[identity.oidc.corp]", "[identity.oidc.other]"));
    assert_eq!(reload(&world, &[]).await.0, 0);
    let mut keys = corp.keys.clone();
    keys["keys"] = json!([]);
    fs::write(world.dir.join("corp.json"), keys.to_string()).unwrap();
    assert_eq!(reload(&world, &[]).await.0, 0, "the keys' file is read again");
    let gone = ally.targets.list_targets(ListTargetsRequest::default()).await.unwrap_err();
    assert_eq!(gone.code(), Code::Unauthenticated);
}

/// Two files that differ in everything that an answer shows; whoever asks sees one or the other.
#[tokio::test(flavor = "multi_thread")]
async fn calls_during_many_reloads_see_one_file_or_the_other() {
    let world = World::start().await;
    let one = with_target(&world, "a-one").replace("The orders database, read only", "one");
    let two = with_target(&world, "b-two").replace("The orders database, read only", "two");
    let whole = |targets: &[Target], word: &str| {
        targets.len() == 2
            && targets.iter().all(|target| target.description == word)
            && targets.iter().any(|target| target.name.ends_with(word))
    };
    write(&world, &one);
    assert_eq!(reload(&world, &[]).await.0, 0);
    let alice = world.person("alice").await;
    let asking: Vec<_> = (0..4)
        .map(|_| {
            let mut alice = alice.clone();
            tokio::spawn(async move {
                let mut seen = Vec::new();
                loop {
                    let targets = targets(&mut alice).await;
                    let is_last = targets.len() == 1;
                    seen.push(targets);
                    if is_last {
                        return seen;
                    }
                }
            })
        })
        .collect();
    for round in 0..20 {
        write(&world, if round % 2 == 0 { &two } else { &one });
        hang_up(&world);
        eventually("it is in force", async || changes(&world).await.len() == round + 3).await;
    }
    let last = file(&world).split_once("\n[targets.a-one]").unwrap().0.to_owned();
    write(&world, &last);
    assert_eq!(reload(&world, &[]).await.0, 0);
    for seen in asking {
        let seen = seen.await.unwrap();
        let (_, during) = seen.split_last().unwrap();
        assert!(during.iter().all(|targets| whole(targets, "one") || whole(targets, "two")));
    }
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart() {
    let world = World::start().await;
    world.stop_daemon("TERM").await;
    let (cert_file, key_file) = (world.dir.join("tls.crt"), world.dir.join("tls.key"));
    let issue = || {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(&cert_file, cert.pem()).unwrap();
        fs::write(&key_file, signing_key.serialize_pem()).unwrap();
        fs::set_permissions(&key_file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(cert.der().clone()).unwrap();
        Arc::new(roots)
    };
    let first = issue();
    let port = free_port();
    let text = file(&world);
    let (_, rest) = text.split_once("[store]").unwrap();
    let files =
        format!("tls_cert_file = \"{}\"\ntls_key_file = \"{}\"", cert_file.display(), key_file.display());
    write(&world, &format!("[server]\nlisten = \"127.0.0.1:{port}\"\n{files}\n[store]{rest}"));
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpassd"));
    command.args(["serve", "--config"]).arg(world.config_file());
    let _daemon = Process::start(&command, "KILL", None, &world.dir.join("tls.log"));
    eventually("it listens", async || shakes_hands(port, &first).await).await;
    let second = issue();
    assert_eq!(reload(&world, &[]).await.0, 0);
    assert!(shakes_hands(port, &second).await && !shakes_hands(port, &first).await);
    fs::write(&cert_file, "no certificate").unwrap();
    let (status, said) = reload(&world, &[]).await;
    assert!(status == 1 && said.contains("cannot set up TLS"), "{said}");
    assert!(shakes_hands(port, &second).await, "it goes on with the old one");
}

async fn shakes_hands(port: u16, roots: &Arc<RootCertStore>) -> bool {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(Arc::clone(roots)).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await else { return false };
    let name = "localhost".try_into().unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.is_ok()
}
