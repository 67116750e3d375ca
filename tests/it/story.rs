//! The life of one exception, from the ask to the auditor's listing, against a real OpenBao and a real PostgreSQL.

use std::time::Duration;

use hallpass::wire::{AuditEvent, Exception, GrantState, RequestState, RevocationCause, Verdict};
use serde_json::Value;

use crate::support::{fsck, json_of, world::World};

#[tokio::test]
async fn a_developer_asks_the_lead_approves_the_window_closes_and_the_auditor_sees_it_all() {
    let world = World::start().await;
    let (mut alice, mut olivia) = (world.person("alice").await, world.person("olivia").await);
    let mut audrey = world.person("audrey").await;

    // A developer asks, in writing.
    let asked = alice.submit(Duration::from_secs(10), "order 4711 is stuck").await.unwrap();
    assert_eq!(asked.state(), RequestState::Pending);
    assert!(world.accounts().await.is_empty());

    // The operations lead approves what she read, in writing.
    let approved = olivia.approve(&asked, "as discussed in the stand-up").await.unwrap();
    assert_eq!(approved.state(), RequestState::Approved);
    assert!(world.accounts().await.is_empty(), "nothing exists before the claim");

    // The developer claims: the window opens, and Vault hands out a credential that the daemon never saw.
    let claimed = alice.claim(&approved).await.unwrap();
    let grant = claimed.grant.clone().unwrap();
    assert_eq!(grant.state(), GrantState::Active);
    assert_eq!(claimed.creation_path, world.credential_path());
    let credential = alice.unwrap(&claimed).await;
    let grant_id = grant.name.strip_prefix("grants/").unwrap();
    assert!(credential.username.starts_with(&format!("token-{grant_id}-")), "the account names its grant");

    // He uses it.
    let orders =
        world.postgres.connect(&credential.username, &credential.password, &world.database()).await.unwrap();
    let row = orders.query_one("SELECT item FROM orders", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "a bell");

    // The window closes, and the daemon ends it: the account is gone, the open session with it.
    let revoked = alice.sees(&grant, GrantState::Revoked).await;
    assert_eq!(revoked.cause(), RevocationCause::WindowClosed);
    assert!(world.accounts().await.is_empty());
    assert!(orders.query_one("SELECT 1", &[]).await.is_err(), "the session was ended");
    let again = world.postgres.connect(&credential.username, &credential.password, &world.database()).await;
    let refusal = again.expect_err("the login is refused");
    assert!(format!("{refusal:?}").contains("password authentication failed"), "{refusal:?}");

    // The auditor sees it all.
    let exception = audrey.exception(&asked).await.unwrap();
    check_exception(&exception);
    check_timeline(&exception, &asked.digest);

    // What is in the database says the same everywhere, while the daemon runs.
    let report = fsck(&world.database_file(), None, Vec::new()).await;
    assert!(report.holds() && report.counts.grants == 1, "{}", report.text());
}

fn check_exception(exception: &Exception) {
    let request = exception.request.as_ref().unwrap();
    assert_eq!(request.state(), RequestState::Claimed);
    assert_eq!(request.reason, "order 4711 is stuck");
    let [decision] = &request.decisions[..] else { panic!("{:?}", request.decisions) };
    assert_eq!(decision.verdict(), Verdict::Approved);
    assert_eq!(decision.statement, "as discussed in the stand-up");
    assert_eq!(decision.digest, request.digest);
    let [grant] = &exception.grants[..] else { panic!("{:?}", exception.grants) };
    let (opens_at, closes_at) = (grant.opens_at.unwrap(), grant.closes_at.unwrap());
    assert_eq!((closes_at.seconds - opens_at.seconds, closes_at.nanos - opens_at.nanos), (10, 0));
    assert!(grant.ended_at.unwrap().seconds >= closes_at.seconds);
}

/// An event's kind, who did it, and some of its details.
type Expected<'a> = (&'a str, Option<&'a str>, &'a [(&'a str, &'a str)]);

/// The audit trail, event by event.
fn check_timeline(exception: &Exception, digest: &str) {
    let (alice, olivia) = (Some("alice"), Some("olivia"));
    let expected: [Expected<'_>; 9] = [
        ("RequestSubmitted", alice, &[("reason", "order 4711 is stuck"), ("digest", digest)]),
        ("RequestApproved", olivia, &[("statement", "as discussed in the stand-up"), ("digest", digest)]),
        ("RequestClaimed", alice, &[]),
        ("GrantOpened", alice, &[]),
        ("GrantTokenMinted", None, &[]),
        ("GrantLeaseRecorded", None, &[]),
        ("GrantActivated", None, &[]),
        ("RevocationBegun", None, &[("cause", "WINDOW_CLOSED")]),
        (
            "GrantRevoked",
            None,
            &[("cause", "WINDOW_CLOSED"), ("confirmation", "lease lookup: invalid lease")],
        ),
    ];
    let kinds: Vec<&str> = exception.timeline.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, expected.map(|(kind, ..)| kind));
    let mut before = 0;
    for (event, (kind, actor, details)) in exception.timeline.iter().zip(expected) {
        let name = event.actor.as_ref().map(|person| person.name.split('-').next().unwrap());
        assert_eq!(name, actor, "who did {kind}");
        let detail = detail(event);
        for (key, value) in details {
            assert_eq!(detail[key], *value, "{kind}.{key}");
        }
        assert!(event.sequence > before);
        before = event.sequence;
    }
    let digest_of = |place: usize| detail(&exception.timeline[place])["lease_digest"].clone();
    assert_eq!(digest_of(5), digest_of(8), "the lease that is gone is the one that was recorded");
}

fn detail(event: &AuditEvent) -> Value {
    json_of(event)["detail"].clone()
}
