//! Certificates that shouldn't open the door, and what comes beside one.

use std::{
    fs,
    process::{Command, Output},
};

use chrono::TimeDelta;
use hallpass::wire::{
    ApproveRequestRequest, ListTargetsRequest, Request, SubmitRequestRequest, WatchRequestsRequest,
};
use tokio::io::AsyncReadExt as _;
use tokio_stream::StreamExt as _;
use tonic::{Code, Request as Call, Status, transport::Channel};

use super::attacked::{Attacked, Own, Wishes, authority, issued, list_targets, renew, requests, with_token};
use crate::support::{refusals::reason, servers::eventually};

fn invalid() -> (Code, String) {
    (Code::Unauthenticated, "IDENTITY_INVALID".to_owned())
}

async fn lists(channel: &Channel) -> Result<usize, Status> {
    list_targets(channel.clone(), Call::new(ListTargetsRequest::default())).await
}

/// The server doesn't let this certificate in: the handshake, which ends with the server's word, fails.
async fn kept_out(attacked: &Attacked, own: &Own) {
    // Of TLS 1.3 the client's part is done before the server has looked: the refusal comes with the first read.
    if let Ok(mut stream) = attacked.handshake(Some(own)).await {
        let read = stream.read(&mut [0; 64]).await;
        assert!(read.is_err(), "an alert: {read:?}");
    }
    let status = lists(&attacked.channel_of(own)).await.unwrap_err();
    assert!(status.code() != Code::Ok && status.details().is_empty(), "nobody answered: {status:?}");
}

#[tokio::test]
async fn a_certificate_says_who_calls() {
    let attacked = Attacked::with_tls().await;
    let alice = attacked.channel_of(&attacked.issue(1, "alice"));
    assert_eq!(lists(&alice).await.unwrap(), 2);
    let nick = attacked.channel_of(&attacked.issue(2, "nick"));
    let error = lists(&nick).await.unwrap_err();
    assert_eq!(reason(&error).1, "ROLE_MISSING", "whom the configuration gives no group may nothing");
    let error = lists(&attacked.channel()).await.unwrap_err();
    assert_eq!(reason(&error).1, "TOKEN_INVALID", "without either, a token is asked for");
    attacked.still_serves().await;
}

#[tokio::test]
async fn certificates_of_others_expired_or_revoked_ones_stay_outside() {
    let attacked = Attacked::with_tls().await;
    let now = attacked.now();
    let stranger = issued(&authority("Corp"), 1, "alice", now, TimeDelta::hours(1));
    kept_out(&attacked, &stranger).await;
    let expired = issued(&attacked.authority, 2, "alice", now, TimeDelta::seconds(-1));
    kept_out(&attacked, &expired).await;
    let early = issued(&attacked.authority, 3, "alice", now + TimeDelta::hours(2), TimeDelta::hours(4));
    kept_out(&attacked, &early).await;
    let revoked = attacked.issue(4, "alice");
    let channel = attacked.channel_of(&revoked);
    assert_eq!(lists(&channel).await.unwrap(), 2);
    attacked.revoke(&[4], TimeDelta::hours(1));
    let noticed = eventually("the revocation is noticed", async || lists(&channel).await.is_err());
    attacked.sim.as_time_goes_by(TimeDelta::seconds(1), noticed).await;
    kept_out(&attacked, &revoked).await;
    attacked.still_serves().await;
}

/// An open connection doesn't outlive what let it in.
#[tokio::test]
async fn an_open_connection_is_looked_at_again_at_each_call() {
    let attacked = Attacked::with_tls().await;
    let (alice, bob) = (attacked.issue(1, "alice"), attacked.issue(2, "bob"));
    let (alice, bob) = (attacked.channel_of(&alice), attacked.channel_of(&bob));
    lists(&alice).await.unwrap();
    lists(&bob).await.unwrap();
    attacked.revoke(&[1], TimeDelta::hours(2));
    let mut refusal = None;
    let refused = eventually("alice is refused", async || {
        refusal = lists(&alice).await.err();
        refusal.is_some()
    });
    attacked.sim.as_time_goes_by(TimeDelta::seconds(1), refused).await;
    let refusal = refusal.unwrap();
    assert_eq!((reason(&refusal), refusal.message()), (invalid(), "the client's certificate is revoked"));
    lists(&bob).await.expect("others' certificates hold");

    attacked.sim.clock.advance(TimeDelta::hours(3));
    let error = lists(&bob).await.unwrap_err();
    let unknown = (Code::Unavailable, "KEYS_UNAVAILABLE".to_owned());
    assert_eq!(reason(&error), unknown, "a list that is out of date says nothing");
    attacked.revoke(&[], TimeDelta::days(7));
    let mended = eventually("the list is taken up", async || lists(&bob).await.is_ok());
    attacked.sim.as_time_goes_by(TimeDelta::seconds(1), mended).await;
    attacked.sim.clock.advance(TimeDelta::hours(24));
    let error = lists(&bob).await.unwrap_err();
    assert_eq!((reason(&error), error.message()), (invalid(), "the client's certificate is expired"));
}

/// A list that went bad fails closed, for certificates; tokens and the socket go on.
#[tokio::test]
async fn a_broken_list_lets_no_certificate_in() {
    let attacked = Attacked::with_tls().await;
    let own = attacked.issue(1, "alice");
    let alice = attacked.channel_of(&own);
    lists(&alice).await.unwrap();
    fs::write(attacked.dir.join("crl.pem"), "half a li").unwrap();
    let refused = eventually("the broken list counts", async || lists(&alice).await.is_err());
    attacked.sim.as_time_goes_by(TimeDelta::seconds(1), refused).await;
    assert_eq!(reason(&lists(&alice).await.unwrap_err()).1, "KEYS_UNAVAILABLE");
    kept_out(&attacked, &own).await;
    attacked.still_serves().await;
    assert_eq!(lists(&attacked.channel_of_socket()).await.unwrap(), 2);
}

#[tokio::test]
async fn a_watch_ends_soon_after_its_certificate_is_revoked() {
    let attacked = Attacked::with_tls().await;
    let alice = attacked.channel_of(&attacked.issue(1, "alice"));
    let watch = requests(&alice).watch_requests(WatchRequestsRequest::default()).await.unwrap();
    let mut watch = watch.into_inner();
    attacked.revoke(&[1], TimeDelta::days(7));
    let end = attacked.sim.as_time_goes_by(TimeDelta::seconds(5), watch.next()).await;
    let end = end.unwrap().unwrap_err();
    assert_eq!((reason(&end), end.message()), (invalid(), "the client's certificate is revoked"));
}

#[tokio::test]
async fn two_identities_on_one_call_are_none() {
    let attacked = Attacked::with_tls().await;
    let alice = attacked.channel_of(&attacked.issue(1, "alice"));
    for token in
        [attacked.token("alice", "developers"), attacked.token("olivia", "operations-leads"), "x".to_owned()]
    {
        let error =
            list_targets(alice.clone(), with_token(ListTargetsRequest::default(), &token)).await.unwrap_err();
        assert_eq!(reason(&error), invalid());
        assert!(error.message().contains("more than one identity"), "{error}");
    }
    let mut basic = Call::new(ListTargetsRequest::default());
    basic.metadata_mut().insert("authorization", "Basic b2xpdmlhOng=".parse().unwrap());
    assert_eq!(reason(&list_targets(alice.clone(), basic).await.unwrap_err()), invalid());
    assert_eq!(lists(&alice).await.unwrap(), 2, "the connection is as good as before");
}

/// What a proxy would say of somebody is hearsay here.
#[tokio::test]
async fn metadata_that_speak_of_identities_count_for_nothing() {
    const SPOOFED: [(&str, &str); 8] = [
        ("x-forwarded-client-cert", "Hash=00;URI=spiffe://corp.example/person/olivia;Subject=\"CN=olivia\""),
        ("x-forwarded-for", "198.51.100.7"),
        ("forwarded", "for=198.51.100.7;by=127.0.0.1"),
        ("x-real-ip", "198.51.100.7"),
        ("x-remote-user", "olivia"),
        ("x-forwarded-user", "olivia"),
        ("x-forwarded-groups", "operations-leads"),
        ("ssl-client-verify", "SUCCESS"),
    ];
    let attacked = Attacked::with_tls().await;
    let spoofed = || {
        let mut call = Call::new(ListTargetsRequest::default());
        for (name, value) in SPOOFED {
            call.metadata_mut().insert(name, value.parse().unwrap());
        }
        call
    };
    let error = list_targets(attacked.channel(), spoofed()).await.unwrap_err();
    assert_eq!(reason(&error).1, "TOKEN_INVALID", "they are no identity");
    let nick = attacked.channel_of(&attacked.issue(1, "nick"));
    let error = list_targets(nick, spoofed()).await.unwrap_err();
    assert_eq!(reason(&error).1, "ROLE_MISSING", "nor do they add to one");
    let mut forged = spoofed();
    forged.metadata_mut().insert("authorization", "Bearer a.b.c".parse().unwrap());
    list_targets(attacked.channel(), forged).await.unwrap_err();
    let recorded = refusals_recorded(&attacked).await;
    assert!(recorded.iter().any(|event| event.contains("127.0.0.1")), "{recorded:?}");
    assert!(!recorded.iter().any(|event| event.contains("198.51.100.7")), "{recorded:?}");
}

/// The details of all that is recorded of refused identities.
async fn refusals_recorded(attacked: &Attacked) -> Vec<String> {
    use hallpass::store::{Store as _, sqlite::holder};
    let last = attacked.sim.store.last_sequence().await.unwrap();
    assert!(last > 0);
    let fact = holder::last_fact(&attacked.sim.database(), "IdentityRefused").await.unwrap();
    fact.into_iter().map(|(_, detail)| detail.to_string()).collect()
}

/// The server's own certificate is renewed without a restart.
#[tokio::test]
async fn a_renewed_certificate_is_shown_to_the_next_who_comes() {
    let attacked = Attacked::with_tls().await;
    attacked.still_serves().await;
    renew(&attacked.dir);
    // The client trusts what stands in the file by now, and nothing else.
    let renewed = eventually("the new certificate is shown", async || attacked.handshake(None).await.is_ok());
    attacked.sim.as_time_goes_by(TimeDelta::seconds(1), renewed).await;
    attacked.still_serves().await;
}

async fn submitted(channel: &Channel) -> Request {
    let ask = SubmitRequestRequest {
        target: "targets/orders-ro".into(),
        duration: Some(std::time::Duration::from_mins(30).try_into().unwrap()),
        reason: "order 4711 is stuck".into(),
        ..SubmitRequestRequest::default()
    };
    requests(channel).submit_request(ask).await.unwrap().into_inner()
}

fn approval(request: &Request) -> ApproveRequestRequest {
    ApproveRequestRequest {
        name: request.name.clone(),
        digest: request.digest.clone(),
        statement: "I trust myself".into(),
        ..ApproveRequestRequest::default()
    }
}

/// Four eyes are two people's, whatever ways they come in by: said to be one, or called the same.
#[tokio::test]
async fn who_comes_in_by_several_ways_does_not_approve_what_he_asked() {
    let identities = ["cert:alice", "test:id-of-on-call", "socket:alice"].map(str::to_owned).to_vec();
    let wishes = Wishes { tls: true, person: Some(("alice", identities)), ..Wishes::default() };
    let attacked = Attacked::with(wishes).await;
    let alice = attacked.channel_of(&attacked.issue(1, "alice"));
    let request = submitted(&attacked.channel_of_socket()).await;
    assert_eq!(request.requester.as_ref().unwrap().subject, "person:alice");
    let refused = requests(&alice).approve_request(approval(&request)).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::PermissionDenied, "SELF_APPROVAL".to_owned()));
    let on_call = with_token(approval(&request), &attacked.token("on-call", "operations-leads"));
    let refused = requests(&attacked.channel()).approve_request(on_call).await.unwrap_err();
    assert_eq!(reason(&refused).1, "SELF_APPROVAL");
    // Not said to be alice, but called so: can't be told apart.
    let namesake = with_token(
        approval(&request),
        &attacked.sign(&{
            let mut claims = attacked.claims("somebody", "operations-leads");
            claims["name"] = "ALICE".into();
            claims
        }),
    );
    let refused = requests(&attacked.channel()).approve_request(namesake).await.unwrap_err();
    assert_eq!(reason(&refused).1, "SELF_APPROVAL");
    let olivia = attacked.channel_of(&attacked.issue(2, "olivia"));
    requests(&olivia).approve_request(approval(&request)).await.expect("another person may");
}

/// The client's binary with these certificates, and no login anywhere.
fn hallpass(attacked: &Attacked, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.env_clear().env("HOME", "/nonexistent");
    command.env("HALLPASS_SERVER", format!("https://localhost:{}", attacked.address.port()));
    command.env("HALLPASS_CA_FILE", attacked.dir.join("cert.pem"));
    command.args(["--output", "json"]).args(arguments).output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_comes_in_by_a_certificate_without_a_login() {
    let attacked = Attacked::with_tls().await;
    let own = attacked.issue(1, "alice");
    let [certificate, key] =
        ["alice.pem", "alice.key"].map(|name| attacked.dir.join(name).display().to_string());
    fs::write(&certificate, &own.certificate).unwrap();
    fs::write(&key, &own.key).unwrap();
    let both = ["--cert-file", &certificate, "--key-file", &key, "targets"];
    let (good, half, none) = tokio::task::block_in_place(|| {
        let run = |arguments: &[&str]| hallpass(&attacked, arguments);
        (run(&both), run(&["--cert-file", &certificate, "targets"]), run(&["targets"]))
    });
    assert!(good.status.success(), "{good:?}");
    assert!(String::from_utf8_lossy(&good.stdout).contains("orders-ro"), "{good:?}");
    assert_eq!(half.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&half.stderr).contains("go together"), "{half:?}");
    assert!(String::from_utf8_lossy(&none.stderr).contains("not logged in"), "{none:?}");
    attacked.sim.clock.advance(TimeDelta::hours(25));
    let refused = tokio::task::block_in_place(|| hallpass(&attacked, &both));
    assert_eq!(
        refused.status.code(),
        Some(1),
        "an expired one doesn't get through the handshake: {refused:?}"
    );
}
