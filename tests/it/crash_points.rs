//! Defect 4: the daemon is killed at every step of issuing and ending, and started again. Then OpenBao and PostgreSQL
//! themselves say what is left: nothing that the store doesn't know, nothing beyond its end, and no grant is stuck.

use std::time::Duration;

use hallpass::{
    failpoint::Point,
    wire::{ClaimGrantResponse, Grant, GrantState, Request},
};

use crate::support::{people::Person, servers::eventually, world::World};

const WINDOW: Duration = Duration::from_mins(1);
/// Long enough to claim it.
const SHORT_WINDOW: Duration = Duration::from_secs(4);
const SIGKILL: i32 = 9;

/// Where in the story a point lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Claim,
    Reissue,
    Ending,
}

fn part(point: Point) -> Part {
    match point {
        Point::ClaimAllowed
        | Point::IntentRecorded
        | Point::TokenMinted
        | Point::TokenRecorded
        | Point::CredentialRead
        | Point::LeaseFound
        | Point::LeaseRecorded
        | Point::TokenShortened
        | Point::Shortened
        | Point::Activated => Part::Claim,
        Point::EarlierEnded => Part::Reissue,
        Point::EndingDue
        | Point::EndingRecorded
        | Point::WrappingRevoked
        | Point::TokenRevoked
        | Point::LeaseRevoked
        | Point::LeaseGone
        | Point::EndRecorded => Part::Ending,
        Point::ReloadRecorded => unreachable!("it isn't on the way of a credential"),
    }
}

/// How a grant is ended, in turn.
#[derive(Clone, Copy, Debug)]
enum End {
    Release,
    WindowCloses,
}

struct Story {
    world: World,
    alice: Person,
    olivia: Person,
}

impl Story {
    async fn begin() -> Self {
        let world = World::start().await;
        let (alice, olivia) = (world.person("alice").await, world.person("olivia").await);
        world.stop_daemon("TERM").await;
        Self { world, alice, olivia }
    }

    async fn approved(&mut self, window: Duration) -> Request {
        let request = self.alice.submit(window, "order 4711 is stuck").await.unwrap();
        self.olivia.approve(&request, "fine").await.unwrap()
    }

    /// Goes on until the daemon dies at the point.
    async fn die(&mut self, point: Point, end: End) -> Request {
        self.world.start_daemon_with(&[("HALLPASS_DIE_AT", &format!("{point:?}"))]).await;
        let short = part(point) == Part::Ending && matches!(end, End::WindowCloses);
        let request = self.approved(if short { SHORT_WINDOW } else { WINDOW }).await;
        let claimed = self.alice.claim(&request).await;
        match part(point) {
            Part::Claim => assert!(claimed.is_err(), "{point:?}: nobody was there to answer"),
            Part::Reissue => assert!(self.alice.claim_with(&request, true).await.is_err(), "{point:?}"),
            Part::Ending if short => drop(claimed.unwrap()),
            Part::Ending => drop(self.alice.release(&claimed.unwrap().grant.unwrap()).await),
        }
        assert_eq!(self.world.daemon_dies().await, Some(SIGKILL), "{point:?}");
        request
    }

    async fn grants(&mut self, request: &Request) -> Vec<Grant> {
        self.alice.exception(request).await.unwrap().grants
    }

    /// What a crash at the point has left is told apart and finished, and the holder can go on where he may.
    async fn recover(&mut self, point: Point, request: &Request) {
        self.world.start_daemon().await;
        if part(point) == Part::Ending {
            let grant = self.grants(request).await.remove(0);
            // Ending twice is ending; if the end was never recorded as begun, it begins now.
            self.alice.release(&grant).await.unwrap();
        } else {
            let claimed = self.claim_again(point, request).await;
            let credential = self.alice.unwrap(&claimed).await;
            let (user, password, database) =
                (&credential.username, &credential.password, self.world.database());
            let login = self.world.postgres.connect(user, password, &database).await;
            assert!(login.is_ok(), "{point:?}: the credential works");
            // An earlier one that nobody ever got is being revoked meanwhile.
            eventually(&format!("{point:?}: no other exists"), async || {
                self.world.accounts().await == [credential.username.as_str()]
            })
            .await;
            self.alice.release(&claimed.grant.unwrap()).await.unwrap();
        }
        eventually(&format!("{point:?}: no account and no lease is left"), async || {
            self.world.accounts().await.is_empty() && self.world.leases().await.is_empty()
        })
        .await;
        eventually(&format!("{point:?}: no grant is stuck"), async || {
            let grants = self.grants(request).await;
            grants.iter().all(|grant| is_over(point, grant))
        })
        .await;
    }

    async fn claim_again(&mut self, point: Point, request: &Request) -> ClaimGrantResponse {
        let mut claimed = None;
        // What was being made may still count as held for a moment; what is held is replaced.
        eventually(&format!("{point:?}: the holder claims again"), async || {
            let reissue = point == Point::Activated;
            claimed = self.alice.claim_with(request, reissue).await.ok();
            claimed.is_some()
        })
        .await;
        claimed.unwrap()
    }
}

/// Whether a grant has come to its end. One whose token may have read something that nobody recorded is waited for longer
/// than a test can: nothing is left of it, but it says so only when Vault can't be at work on it any more.
fn is_over(point: Point, grant: &Grant) -> bool {
    let unknown = matches!(point, Point::TokenRecorded | Point::CredentialRead | Point::LeaseFound);
    match grant.state() {
        GrantState::Revoked | GrantState::Failed => true,
        GrantState::Revoking => unknown && grant.revocation_error.contains("Vault may be at work on a read"),
        _ => false,
    }
}

/// Every point of the list from the given one on, in steps: so that several companies share the work.
async fn every_fourth_point(first: usize) {
    let mut story = Story::begin().await;
    for point in Point::ALL.into_iter().skip(first).step_by(4) {
        for end in [End::Release, End::WindowCloses, End::Release] {
            let request = story.die(point, end).await;
            story.recover(point, &request).await;
            story.world.stop_daemon("TERM").await;
        }
    }
}

#[tokio::test]
async fn defect_4_a_crash_at_any_step_leaves_nothing_1() {
    every_fourth_point(0).await;
}

#[tokio::test]
async fn defect_4_a_crash_at_any_step_leaves_nothing_2() {
    every_fourth_point(1).await;
}

#[tokio::test]
async fn defect_4_a_crash_at_any_step_leaves_nothing_3() {
    every_fourth_point(2).await;
}

#[tokio::test]
async fn defect_4_a_crash_at_any_step_leaves_nothing_4() {
    every_fourth_point(3).await;
}

/// What is built for production has no points.
#[test]
fn only_tests_have_the_points() {
    let manifest: toml::Table = include_str!("../../Cargo.toml").parse().unwrap();
    let names_the_points = |value: &toml::Value| value.to_string().contains("failpoints");
    assert!(manifest["features"].get("default").is_none_or(|default| !names_the_points(default)));
    for section in ["dependencies", "build-dependencies"] {
        assert!(!names_the_points(&manifest[section]), "{section}");
    }
    assert!(names_the_points(&manifest["dev-dependencies"]));
}
