//! Several daemons on one PostgreSQL: real ones, with a real OpenBao, that are killed, stopped and cut off.

mod daemons;
mod storm;

use std::time::Duration;

use hallpass::wire::{GrantState, RequestState};

use self::{
    daemons::Cluster,
    storm::{Trouble, weather},
};
use crate::support::servers::eventually;

const HOUR: Duration = Duration::from_hours(1);

/// Any of them serves any call, and each sees at once what another did.
#[tokio::test(flavor = "multi_thread")]
async fn a_story_is_told_through_three_daemons() {
    let cluster = Cluster::start(3).await;
    let [alice, olivia, audrey] = ["alice", "olivia", "audrey"];
    let request = cluster.person(alice, 0).await.submit(HOUR, "the queue hangs").await.unwrap();
    let approved = cluster.person(olivia, 1).await.approve(&request, "go ahead").await.unwrap();
    assert_eq!(approved.state(), RequestState::Approved);
    let mut alice_there = cluster.person(alice, 2).await;
    let claimed = alice_there.claim(&approved).await.unwrap();
    let credential = alice_there.unwrap(&claimed).await;
    cluster
        .world
        .postgres
        .connect(&credential.username, &credential.password, &cluster.world.database())
        .await
        .unwrap();
    let grant = claimed.grant.unwrap();
    let ended = cluster.person(alice, 0).await.release(&grant).await.unwrap();
    assert!(matches!(ended.state(), GrantState::Revoking | GrantState::Revoked));
    let mut alice = cluster.person(alice, 1).await;
    eventually("it is revoked", async || {
        alice.grant(&grant.name).await.unwrap().state() == GrantState::Revoked
    })
    .await;
    let exception = cluster.person(audrey, 2).await.exception(&request).await.unwrap();
    let kinds: Vec<String> = exception.timeline.iter().map(|event| event.kind.clone()).collect();
    assert_eq!(kinds.iter().filter(|kind| *kind == "GrantRevoked").count(), 1, "{kinds:?}");
    cluster.is_sound().await;
}

/// Killed in the middle of whatever it was at, and started again.
#[tokio::test(flavor = "multi_thread")]
async fn people_go_on_while_daemons_are_killed() {
    weather(&[Trouble::Kill(1), Trouble::Kill(0)]).await;
}

/// Stopped for longer than others wait, and let go on with what another has taken over.
#[tokio::test(flavor = "multi_thread")]
async fn people_go_on_while_daemons_stand_still() {
    weather(&[Trouble::Stop(2), Trouble::Stop(0)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_go_on_while_the_database_is_restarted_and_cut_off() {
    weather(&[Trouble::Restart, Trouble::Cut, Trouble::Restart]).await;
}
