//! From the SIGKILL of the daemon that gave them to the confirmed ends of grants whose windows close just then.

use std::time::Duration;

use hallpass::wire::{Grant, GrantState};

use crate::{
    common::{millis, now, pause},
    daemons::{Cluster, TAKEOVER_AFTER},
};

const GRANTS: usize = 20;
/// How long the windows are: longer than making all of them takes.
const WINDOW: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub async fn measure() {
    println!("\n{GRANTS} windows that close when their daemon is killed; {TAKEOVER_AFTER}");
    let cluster = Cluster::start(2).await;
    let (mut alice, mut olivia) = (cluster.person("alice", 1).await, cluster.person("olivia", 1).await);
    let mut grants: Vec<Grant> = Vec::new();
    for _ in 0..GRANTS {
        let request = alice.submit(WINDOW, "order 4711 is stuck").await.unwrap();
        let approved = olivia.approve(&request, "as discussed").await.unwrap();
        grants.push(alice.claim(&approved).await.unwrap().grant.unwrap());
    }
    // The first window is about to close.
    let first = grants[0].closes_at.unwrap();
    let closes_at = std::time::SystemTime::try_from(first).unwrap();
    let system = || {
        #[expect(clippy::disallowed_methods, reason = "a benchmark measures time")]
        let now = std::time::SystemTime::now();
        now
    };
    while system() + Duration::from_millis(200) < closes_at {
        pause(LOOK_EVERY).await;
    }
    cluster.stop(1, "KILL").await;
    let killed = now();
    let mut audrey = cluster.person("audrey", 0).await;
    let mut slowest = Duration::ZERO;
    for grant in &grants {
        while audrey.grant(&grant.name).await.unwrap().state() != GrantState::Revoked {
            pause(LOOK_EVERY).await;
        }
        slowest = slowest.max(killed.elapsed());
    }
    println!("{:<58}{:>12.0} ms", "from SIGKILL to the last confirmed end", millis(slowest));
}
