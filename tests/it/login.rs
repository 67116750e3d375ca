//! `hallpass login`, each of its ways, at real servers: OpenBao with its auth methods and as an ordinary issuer, a real
//! directory, and, since OpenBao has no device login, an issuer of the tests' own. The test is the browser.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    process::{Child, Output},
};

use reqwest::{Client, Method};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use url::Url;

use crate::support::{
    issuer::{CLIENT_ID, DeviceIssuer},
    servers::{
        Bao, Proxy, eventually, free_port,
        proxy::{Fault, Rule, When},
        slapd,
        slapd::Slapd,
    },
    shell::Shell,
    world::{Wishes, World},
};

/// Groups have one meaning whoever names them, so two issuers have to be told apart.
const GROUPS: &str = "groups = [\"developers-@\", \"operations-leads-@\"]";

fn shell(world: &World) -> Shell<'_> {
    Shell { world, token_file: world.dir.join("login.token") }
}

/// Runs `hallpass login`, which reads this secret.
fn log_in(shell: &Shell<'_>, words: &[&str], secret: &str) -> Output {
    let role = format!("hallpass-{}", shell.world.name);
    let mut child = shell.start(&[&["login", "--role", &role, "--secret-stdin"], words].concat());
    child.stdin.take().unwrap().write_all(format!("{secret}\n").as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Lets a name at an auth method be alice.
async fn is_alice(world: &World, mount: &str, name: &str) {
    let mounts = world.bao.read("sys/auth").await;
    let accessor = mounts["data"][format!("{mount}/")]["accessor"].clone();
    let alice =
        world.bao.read(&format!("identity/entity/name/alice-{}", world.name)).await["data"]["id"].clone();
    let alias = json!({ "name": name, "canonical_id": alice, "mount_accessor": accessor });
    world.bao.write("identity/entity-alias", alias).await;
}

/// The tokens that Vault has of logins whose path or metadata name this.
async fn tokens_of(world: &World, what: &str) -> Vec<Value> {
    let accessors = world.bao.list("auth/token/accessors").await["data"]["keys"].clone();
    let mut found = Vec::new();
    for accessor in accessors.as_array().unwrap() {
        // One that has just expired is a 403.
        let body = Some(json!({ "accessor": accessor }));
        let path = "auth/token/lookup-accessor";
        let (_, token) = world.bao.call(&world.bao.root_token, Method::POST, path, body).await;
        if token["data"].to_string().contains(what) {
            found.push(token["data"].clone());
        }
    }
    found
}

#[tokio::test]
async fn a_password_is_enough_and_vaults_token_is_gone() {
    let world = World::start().await;
    let (alice, mount) = (shell(&world), format!("userpass-{}", world.name));
    let words = ["--username", "alice", "--mount", &mount];
    let wrong = log_in(&alice, &words, "guess");
    assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
    assert!(said(&wrong).contains("check the name and the password"), "{wrong:?}");
    assert!(!alice.token_file.exists());
    let path = format!("auth/{mount}/login/alice");
    let (_, kept) = world.bao.call("", Method::POST, &path, Some(json!({ "password": "open sesame" }))).await;
    assert!(kept["auth"]["client_token"].is_string());
    assert_eq!(tokens_of(&world, &path).await.len(), 1, "this is how one would be seen");
    let right = log_in(&alice, &words, "open sesame");
    assert!(right.status.success(), "{right:?}");
    assert!(alice.ok(&["targets"]).contains("orders-ro"));
    assert_eq!(tokens_of(&world, &path).await.len(), 1, "the login's own is revoked");
}

#[tokio::test]
async fn a_second_factor_is_named_and_another_way_shown() {
    let world = World::start().await;
    let mount = format!("userpass-{}", world.name);
    let accessor = world.bao.read("sys/auth").await["data"][format!("{mount}/")]["accessor"].clone();
    let method = world.bao.write("identity/mfa/method/totp", json!({ "issuer": "hallpass" })).await;
    let enforced = json!({
        "mfa_method_ids": [method["data"]["method_id"]], "auth_method_accessors": [accessor],
    });
    world.bao.write(&format!("identity/mfa/login-enforcement/{}", world.name), enforced).await;
    let output = log_in(&shell(&world), &["--username", "alice", "--mount", &mount], "open sesame");
    assert_eq!(output.status.code(), Some(1));
    let said = said(&output);
    assert!(said.contains("second factor") && said.contains("--method oidc"), "{said}");
}

#[tokio::test]
async fn the_directory_knows_the_password() {
    let world = World::with(Wishes { vault: Some(Bao::start_with_ldap), ..Wishes::default() }).await;
    let directory = Slapd::start_private(&["alice", "mallory"]);
    let mount = format!("ldap-{}", world.name);
    world.bao.write(&format!("sys/auth/{mount}"), json!({ "type": "ldap" })).await;
    let config = json!({ "url": directory.url, "userdn": directory.people, "userattr": "cn", "username_as_alias": true });
    world.bao.write(&format!("auth/{mount}/config"), config).await;
    let policies = json!({ "policies": format!("login-{}", world.name) });
    world.bao.write(&format!("auth/{mount}/users/alice"), policies).await;
    is_alice(&world, &mount, "alice").await;

    let alice = shell(&world);
    let words = ["--method", "ldap", "--username", "alice", "--mount", &mount];
    for wrong in ["guess", "*"] {
        let output = log_in(&alice, &words, wrong);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(said(&output).contains("ldap is mounted at"), "{output:?}");
    }
    let output = log_in(&alice, &words, slapd::PASSWORD);
    assert!(output.status.success(), "{output:?}");
    assert!(alice.ok(&["targets"]).contains("orders-ro"));
    assert_eq!(tokens_of(&world, &format!("auth/{mount}/login/alice")).await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_machine_shows_its_secret_id() {
    let world = World::start().await;
    let role = format!("robot-{}", world.name);
    let path = format!("auth/approle/role/{role}");
    world.bao.write(&path, json!({ "token_policies": [format!("login-{}", world.name)] })).await;
    let role_id =
        world.bao.read(&format!("{path}/role-id")).await["data"]["role_id"].as_str().unwrap().to_owned();
    let secret_id = world.bao.write(&format!("{path}/secret-id"), json!({})).await;
    is_alice(&world, "approle", &role_id).await;

    let robot = shell(&world);
    let words = ["--method", "approle", "--role-id", &role_id];
    let output = log_in(&robot, &words, "00000000-0000-0000-0000-000000000000");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(said(&output).contains("secret id"), "{output:?}");
    let output = log_in(&robot, &words, secret_id["data"]["secret_id"].as_str().unwrap());
    assert!(output.status.success(), "{output:?}");
    assert!(robot.ok(&["targets"]).contains("orders-ro"));
    assert_eq!(tokens_of(&world, &format!("\"role_name\":\"{role}\"")).await, [] as [Value; 0]);
}

/// OpenBao's identity provider, as an ordinary issuer.
struct Provider {
    issuer: String,
    client_id: String,
    client_secret: Option<String>,
    name: String,
}

impl Provider {
    async fn set_up(world: &World, kind: &str, redirect_uri: &str) -> Self {
        let (bao, name) = (&world.bao, format!("{kind}-{}", world.name));
        let key = json!({ "allowed_client_ids": ["*"], "algorithm": "EdDSA" });
        bao.write(&format!("identity/oidc/key/{name}"), key).await;
        let client = format!("identity/oidc/client/{name}");
        let settings = json!({
            "redirect_uris": [redirect_uri], "client_type": kind, "key": name, "assignments": ["allow_all"],
            "id_token_ttl": "30m", "access_token_ttl": "30m",
        });
        bao.write(&client, settings).await;
        for (scope, template) in [
            ("profile", "{\"name\": {{identity.entity.name}}}"),
            ("groups", "{\"groups\": {{identity.entity.groups.names}}}"),
        ] {
            bao.write(&format!("identity/oidc/scope/{scope}"), json!({ "template": template })).await;
        }
        let provider = json!({ "allowed_client_ids": ["*"], "scopes_supported": ["profile", "groups"] });
        bao.write(&format!("identity/oidc/provider/{name}"), provider).await;
        let client = bao.read(&client).await["data"].clone();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        Self {
            issuer: format!("{}/v1/identity/oidc/provider/{name}", bao.address),
            client_id: text(&client["client_id"]).unwrap(),
            client_secret: text(&client["client_secret"]),
            name,
        }
    }

    /// Does what the page does for somebody who has logged in there: gets a code, and goes where the page says.
    async fn browse(&self, world: &World, person: &str, page: &Url) -> reqwest::Response {
        let path = format!("auth/userpass-{}/login/{person}", world.name);
        let (_, login) =
            world.bao.call("", Method::POST, &path, Some(json!({ "password": "open sesame" }))).await;
        let token = login["auth"]["client_token"].as_str().unwrap();
        let rights = format!(
            "path \"identity/oidc/provider/{}/authorize\" {{ capabilities = [\"read\"] }}",
            self.name
        );
        let rights = format!("{rights}\npath \"identity/oidc/token/*\" {{ capabilities = [\"read\"] }}");
        world.write_policy(&format!("login-{}", world.name), &rights).await;
        let query = page.query().unwrap();
        let path = format!("identity/oidc/provider/{}/authorize?{query}", self.name);
        let (status, answer) = world.bao.call(token, Method::GET, &path, None).await;
        assert_eq!(status, 200, "{answer}");
        let asked: BTreeMap<_, _> = page.query_pairs().into_owned().collect();
        let mut back = Url::parse(&asked["redirect_uri"]).unwrap();
        // By its address, since what `localhost` is depends on the machine.
        back.set_host(Some("127.0.0.1")).unwrap();
        for name in ["code", "state"] {
            back.query_pairs_mut().append_pair(name, answer[name].as_str().unwrap());
        }
        get(back).await
    }
}

async fn get(url: Url) -> reqwest::Response {
    Client::builder().no_proxy().build().unwrap().get(url).send().await.unwrap()
}

/// A login that waits for somebody elsewhere.
struct Waiting {
    child: Child,
    told: Value,
}

impl Waiting {
    fn start(shell: &Shell<'_>, words: &[&str]) -> Self {
        Self::start_with(shell, words, &[])
    }

    fn start_with(shell: &Shell<'_>, words: &[&str], variables: &[(&str, &str)]) -> Self {
        let words = [&["--output", "json", "login", "--wait-timeout", "1m"], words].concat();
        let mut child = shell.start_with(&words, variables);
        let mut line = String::new();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        stderr.read_line(&mut line).unwrap();
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        assert!(told["login"].is_object(), "{told}");
        child.stderr = Some(stderr.into_inner());
        Self { child, told: told["login"].clone() }
    }

    fn page(&self) -> Url {
        Url::parse(self.told["page"].as_str().unwrap()).unwrap()
    }

    fn end(mut self) -> (Option<i32>, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.child.wait().unwrap().code(), out, err)
    }
}

#[tokio::test]
async fn the_browser_logs_in_at_an_ordinary_issuer_that_the_daemon_trusts() {
    let world = World::with(Wishes { issuer: GROUPS, ..Wishes::default() }).await;
    let provider = Provider::set_up(&world, "public", "http://127.0.0.1/callback").await;
    trust(&world, &provider.issuer, &provider.client_id).await;

    let alice = shell(&world);
    let words = [
        "--issuer",
        &provider.issuer,
        "--client-id",
        &provider.client_id,
        "--scope",
        "openid profile groups",
    ];
    let waiting = Waiting::start(&alice, &words);
    let page = waiting.page();
    let mut forged =
        Url::parse(&page.query_pairs().find(|(name, _)| name == "redirect_uri").unwrap().1).unwrap();
    forged.set_query(Some("code=stolen&state=guessed"));
    assert_eq!(get(forged).await.status(), 400);
    let answer = provider.browse(&world, "alice", &page).await;
    assert_eq!(answer.status(), 200);
    let (code, out, err) = waiting.end();
    assert_eq!(code, Some(0), "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["name"], format!("alice-{}", world.name));

    assert!(alice.ok(&["targets"]).contains("orders-ro"), "the daemon takes the token");
    let ask = ["request", "orders-ro", "--for", "5m", "--reason", "orders hang", "--no-wait"];
    let request = alice.json(&ask);
    assert!(request["requester"]["subject"].as_str().unwrap().starts_with("provider:"), "{request}");
}

/// Lets the daemon trust one more issuer.
async fn trust(world: &World, issuer: &str, client_id: &str) {
    let more = format!(
        "\n[identity.oidc.provider]\nissuer = \"{issuer}\"\naudience = \"{client_id}\"\n{}\n",
        GROUPS.replace('@', &world.name)
    );
    let config = fs::read_to_string(world.config_file()).unwrap();
    world.stop_daemon("TERM").await;
    fs::write(world.config_file(), config + &more).unwrap();
    world.start_daemon().await;
}

#[tokio::test]
async fn a_client_with_a_secret_logs_in_with_it() {
    let world = World::start().await;
    let provider = Provider::set_up(&world, "confidential", "http://127.0.0.1/callback").await;
    let file = world.dir.join("client-secret");
    fs::write(&file, provider.client_secret.as_ref().unwrap()).unwrap();
    let alice = shell(&world);
    let words = ["--issuer", &provider.issuer, "--client-id", &provider.client_id];
    for (more, expected) in [(&["--client-secret-file", file.to_str().unwrap()][..], 0), (&[], 1)] {
        let waiting = Waiting::start(&alice, &[&words[..], more].concat());
        provider.browse(&world, "alice", &waiting.page()).await;
        let (code, _, err) = waiting.end();
        assert_eq!(code, Some(expected), "{err}");
        assert!(expected == 0 || err.contains("--client-secret-file"), "{err}");
    }
}

#[tokio::test]
async fn the_browser_logs_in_through_vault() {
    let world = World::start().await;
    let port = free_port();
    let back = format!("http://localhost:{port}/oidc/callback");
    let provider = Provider::set_up(&world, "confidential", &back).await;
    let mount = format!("oidc-{}", world.name);
    world.bao.write(&format!("sys/auth/{mount}"), json!({ "type": "oidc" })).await;
    let config = json!({
        "oidc_discovery_url": provider.issuer, "oidc_client_id": provider.client_id,
        "oidc_client_secret": provider.client_secret, "default_role": "people",
        "jwt_supported_algs": ["EdDSA"],
    });
    world.bao.write(&format!("auth/{mount}/config"), config).await;
    let role = json!({
        "role_type": "oidc", "user_claim": "sub", "allowed_redirect_uris": [back],
        "token_policies": [format!("login-{}", world.name)],
    });
    world.bao.write(&format!("auth/{mount}/role/people"), role).await;
    let alice = world.bao.read(&format!("identity/entity/name/alice-{}", world.name)).await;
    is_alice(&world, &mount, alice["data"]["id"].as_str().unwrap()).await;

    let (shell, role, port) = (shell(&world), format!("hallpass-{}", world.name), port.to_string());
    let words = ["--method", "oidc", "--mount", &mount, "--role", &role];
    let waiting = Waiting::start(&shell, &[&words[..], &["--callback-port", &port]].concat());
    let answer = provider.browse(&world, "alice", &waiting.page()).await;
    assert_eq!(answer.status(), 200);
    let (code, _, err) = waiting.end();
    assert_eq!(code, Some(0), "{err}");
    assert!(shell.ok(&["targets"]).contains("orders-ro"));
    let left = tokens_of(&world, &format!("auth/{mount}/oidc/callback")).await;
    assert_eq!(left, [] as [Value; 0], "the login's token is revoked");

    // Ports of their own: what was used a moment ago may be somebody else's by now.
    let ports = [free_port(), free_port()].map(|port| port.to_string());
    let elsewhere = ["--callback-host", "127.0.0.1", "--callback-port", &ports[0]];
    let (code, said) = shell.fails(&[&["login"], &words[..], &elsewhere].concat());
    assert_eq!(code, 1);
    assert!(said.contains("allowed_redirect_uris"), "{said}");
    let nobodys = ["--login-role", "nobodys", "--callback-port", &ports[1]];
    let (code, said) = shell.fails(&[&["login"], &words[..], &nobodys].concat());
    assert_eq!(code, 1);
    assert!(said.contains("--login-role"), "{said}");
}

/// The issuer lives in this process, so it needs a thread while the test waits for the client.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_code_typed_elsewhere_logs_in_and_the_daemon_takes_the_token() {
    let issuer = DeviceIssuer::start().await;
    let world = World::with(Wishes { issuer: GROUPS, ..Wishes::default() }).await;
    trust(&world, &issuer.url, CLIENT_ID).await;
    let dave = shell(&world);
    let words = ["--method", "device", "--issuer", &issuer.url, "--client-id", CLIENT_ID];
    let waiting = Waiting::start(&dave, &words);
    assert_eq!(waiting.told["code"], "WDJB-MJHT");
    eventually("it was asked once in vain", async || issuer.questions() > 0).await;
    let groups = [format!("developers-{}", world.name)];
    issuer.log_in(json!({ "sub": "dave", "name": "Dave", "groups": groups }));
    let (code, out, err) = waiting.end();
    assert_eq!(code, Some(0), "{err}");
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["name"], "Dave");
    let ask = ["request", "orders-ro", "--for", "5m", "--reason", "orders hang", "--no-wait"];
    assert_eq!(dave.json(&ask)["requester"]["subject"], "provider:dave");
}

#[tokio::test]
async fn ctrl_c_leaves_nothing() {
    let world = World::start().await;
    let provider = Provider::set_up(&world, "public", "http://127.0.0.1/callback").await;
    let alice = shell(&world);
    let waiting = Waiting::start(&alice, &["--issuer", &provider.issuer, "--client-id", &provider.client_id]);
    kill_process(Pid::from_child(&waiting.child), Signal::INT).unwrap();
    let (code, out, err) = waiting.end();
    assert_eq!((code, out.as_str()), (Some(130), ""), "{err}");
    assert!(err.contains("interrupted"), "{err}");
    assert!(!alice.token_file.exists());
}

#[tokio::test]
async fn the_page_is_opened_in_the_browser_that_is_named_unless_nobody_wants_that() {
    let world = World::start().await;
    let provider = Provider::set_up(&world, "public", "http://127.0.0.1/callback").await;
    let (alice, opened) = (shell(&world), world.dir.join("opened"));
    // A link to the whole address: `ln` writes down an argument as it is, and the first one only.
    let browser = format!("/no/such/browser:/bin/ln -s %s {}", opened.display());
    let variables = [("BROWSER", browser.as_str()), ("HALLPASS_CLIENT_ID", &provider.client_id)];
    let variables = [&variables[..], &[("HALLPASS_ISSUER", &provider.issuer)]].concat();
    for more in [&["--no-browser"][..], &[]] {
        let mut waiting = Waiting::start_with(&alice, more, &variables);
        if more.is_empty() {
            eventually("the browser is started", async || fs::read_link(&opened).is_ok()).await;
            assert_eq!(fs::read_link(&opened).unwrap().to_str(), Some(waiting.page().as_str()));
        }
        waiting.child.kill().unwrap();
        waiting.child.wait().unwrap();
    }
}

/// A token of Vault's has all the rights of its owner, so none is left behind, whenever somebody presses Ctrl-C.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_between_two_calls_to_vault_leaves_no_token_there() {
    let world = World::start().await;
    let proxy = Proxy::start(&world.bao.address);
    proxy.fault(Rule::on("identity/oidc/token", Fault::Hang(When::Before)));
    let (alice, mount) = (shell(&world), format!("userpass-{}", world.name));
    let words = ["login", "--username", "alice", "--mount", &mount, "--secret-stdin", "--timeout", "2s"];
    let mut child = alice.start(&[&words[..], &["--vault-addr", &proxy.address]].concat());
    child.stdin.take().unwrap().write_all(b"open sesame\n").unwrap();
    eventually("the identity token is asked for", async || proxy.has_faulted()).await;
    let login = format!("auth/{mount}/login/alice");
    assert_eq!(tokens_of(&world, &login).await.len(), 1);
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{output:?}");
    assert_eq!(tokens_of(&world, &login).await, [] as [Value; 0]);
    assert!(!alice.token_file.exists());
}
