//! Generated people at work while daemons are killed, stopped and started, and the database is restarted or cut off. Afterwards
//! everything is over, as it says it is.

use std::time::Duration;

use futures_util::future::join_all;
use hallpass::wire::{Exception, Grant, GrantState, ListExceptionsRequest, Request};
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc::{Sender, channel};
use tonic::{Code, Status};

use super::daemons::{Cluster, TAKEOVER_AFTER};
use crate::support::{
    people::Person,
    servers::{Pipe, Postgres, eventually},
    world::{Wishes, World},
};

/// How many exceptions each of the people makes.
const EACH: usize = 6;
/// How many people are at work at once.
const PEOPLE: usize = 4;

/// How long a caller waits for one daemon before he tries another.
const PATIENCE: Duration = Duration::from_secs(3);

/// What goes wrong, each after so many exceptions were begun.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// A daemon dies, and is started again when others have taken over.
    Kill(usize),
    /// A daemon stands still for longer than others wait for it.
    Stop(usize),
    /// The database is restarted.
    Restart,
    /// All connections to the database are cut.
    Cut,
    /// Nothing gets to the database or back any more, and nobody says so, until all daemons have noticed.
    Silence,
}

/// Chance that is the same each time (Knuth's MMIX generator).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound
    }
}

/// Whether the same call may be made again somewhere else.
fn is_passing(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Aborted
            | Code::Unknown
            | Code::Cancelled
            | Code::Internal
            | Code::DeadlineExceeded
    )
}

/// Calls one daemon after the other until one answers.
async fn anywhere<T>(
    people: &[Person],
    first: usize,
    call: impl AsyncFn(Person) -> Result<T, Status>,
) -> Result<T, Status> {
    let (mut answer, mut turn) = (None, first);
    eventually("some daemon answers", async || {
        turn += 1;
        let person = people[turn % people.len()].clone();
        // One that stands still answers nothing.
        let Ok(done) = tokio::time::timeout(PATIENCE, call(person)).await else { return false };
        let is_over = !matches!(&done, Err(status) if is_passing(status));
        answer = Some(done);
        is_over
    })
    .await;
    answer.unwrap()
}

/// Makes exceptions through whichever daemon, as people do: asks, decides, claims, perhaps claims again, releases.
async fn at_work(number: usize, alice: &[Person], olivia: &[Person], begun: Sender<()>) {
    let mut dice = Dice(number as u64);
    for round in 0..EACH {
        begun.send(()).await.unwrap();
        let first = dice.below(alice.len());
        let reason = format!("person {number}, round {round}");
        let submitted =
            anywhere(alice, first, async |mut one| one.submit(Duration::from_hours(1), &reason).await).await;
        let request = submitted.unwrap();
        let decided =
            anywhere(olivia, dice.below(3), async |mut one| one.approve(&request, "go ahead").await).await;
        // Refused if it was decided by a call whose answer was lost.
        assert!(decided.is_ok() || decided.is_err_and(|status| !is_passing(&status)));
        let claims_again = dice.below(3);
        for _ in 0..=claims_again {
            let claim = async |mut one: Person| one.claim_with(&request, true).await;
            if let Err(refused) = anywhere(alice, dice.below(3), claim).await {
                // What was held and ended isn't given again; all else has to work.
                assert!(!is_passing(&refused), "{refused:?}");
            }
        }
        end(alice, dice.below(3), &request).await;
    }
}

/// Releases whatever of a request is held.
async fn end(people: &[Person], first: usize, request: &Request) {
    let exception = anywhere(people, first, async |mut one| one.exception(request).await).await.unwrap();
    for grant in &exception.grants {
        let released = anywhere(people, first, async |mut one| one.release(grant).await).await;
        assert!(released.is_ok(), "{released:?}");
    }
}

async fn trouble(cluster: &Cluster, trouble: Trouble) {
    match trouble {
        Trouble::Kill(daemon) => {
            cluster.stop(daemon, "KILL").await;
            let other = (daemon + 1) % 3;
            let before = cluster.log(other).matches("\"takeover\"").count();
            eventually("others take over", async || {
                cluster.log(other).matches("\"takeover\"").count() > before
            })
            .await;
            cluster.start_again(daemon).await;
        }
        Trouble::Stop(daemon) => {
            let pid = Pid::from_raw(i32::try_from(cluster.pid(daemon)).unwrap()).unwrap();
            let other = (daemon + 1) % 3;
            let before = cluster.log(other).matches("\"takeover\"").count();
            kill_process(pid, Signal::STOP).unwrap();
            eventually("others take over", async || {
                cluster.log(other).matches("\"takeover\"").count() > before
            })
            .await;
            kill_process(pid, Signal::CONT).unwrap();
        }
        Trouble::Restart => {
            let world = &cluster.world;
            world.postgres.stop();
            world.postgres.start();
        }
        Trouble::Cut => cluster.world.pipe().cut(),
        Trouble::Silence => {
            let lines = |daemon: usize| cluster.log(daemon).matches("\"not-heard\"").count();
            let before: Vec<usize> = (0..3).map(lines).collect();
            cluster.world.pipe().silence();
            let noticed = async || (0..3).all(|daemon| lines(daemon) > before[daemon]);
            eventually("all of them notice", noticed).await;
            cluster.world.pipe().lift();
        }
    }
}

/// Lets these things happen while people are at work, and then sees that all is as it should be.
pub async fn weather(troubles: &[Trouble]) {
    let target = "window_max = \"1h\"\ndecide_within = \"1h\"\nclaim_within = \"1h\"\n".to_owned();
    let wishes = Wishes {
        shared: Some(TAKEOVER_AFTER),
        database: Some(Postgres::start_private),
        pipe: Some(Pipe::to),
        target,
        ..Wishes::default()
    };
    let cluster = Cluster::with(3, wishes).await;
    let everywhere = async |name: &str| {
        let mut all = Vec::new();
        for daemon in 0..3 {
            all.push(cluster.person(name, daemon).await);
        }
        all
    };
    let (alice, olivia, audrey) =
        (everywhere("alice").await, everywhere("olivia").await, everywhere("audrey").await);
    let (begun, mut news) = channel(1);
    let people = (0..PEOPLE).map(|number| at_work(number, &alice, &olivia, begun.clone()));
    let people: Vec<_> = people.collect();
    drop(begun);
    let mut left = troubles.iter();
    let happens = async {
        let (mut count, between) = (0, (PEOPLE * EACH) / (troubles.len() + 1));
        while news.recv().await.is_some() {
            count += 1;
            if count % between == 0
                && let Some(one) = left.next()
            {
                trouble(&cluster, *one).await;
            }
        }
    };
    tokio::join!(join_all(people), happens);
    assert_eq!(left.next().map(|left| format!("{left:?}")), None, "everything went wrong that was to");
    settles(&cluster.world, &alice, &audrey).await;
    cluster.is_sound().await;
}

/// Everything that was begun is over, on record and in Vault and on the target.
async fn settles(world: &World, alice: &[Person], audrey: &[Person]) {
    let all = async |mut one: Person| {
        let ask = ListExceptionsRequest { page_size: 100, ..ListExceptionsRequest::default() };
        Ok(one.exceptions.list_exceptions(ask).await?.into_inner().exceptions)
    };
    eventually("every grant is over", async || {
        let exceptions: Vec<Exception> = anywhere(audrey, 0, all).await.unwrap();
        let grants = exceptions.iter().flat_map(|one| &one.grants);
        let open: Vec<_> = grants.filter(|grant| !is_over(grant) && !waits_for_a_read(grant)).collect();
        for grant in &open {
            // Of a claim that went on after its caller had given up on it.
            anywhere(alice, 0, async |mut one| one.release(grant).await).await.unwrap();
        }
        open.is_empty()
    })
    .await;
    assert_eq!(world.leases().await, Vec::<String>::new());
    assert_eq!(world.accounts().await, Vec::<String>::new());
    for listed in anywhere(audrey, 0, all).await.unwrap() {
        // With everything that is recorded of it.
        let request = listed.request.unwrap();
        let exception = anywhere(audrey, 0, async |mut one| one.exception(&request).await).await;
        one_at_a_time(&exception.unwrap());
    }
}

fn is_over(grant: &Grant) -> bool {
    [GrantState::Revoked, GrantState::Failed].contains(&grant.state())
}

/// Nothing is there any more, and that is confirmed two and a half minutes after whoever read the credential was lost: until then
/// Vault may be at work on it.
fn waits_for_a_read(grant: &Grant) -> bool {
    grant.state() == GrantState::Revoking && grant.revocation_error.starts_with("nothing found so far")
}

/// A grant of a request is opened only when the one before began to end, and each one ends once.
fn one_at_a_time(exception: &Exception) {
    let mut held = None;
    for event in &exception.timeline {
        match event.kind.as_str() {
            "GrantOpened" => assert_eq!(held.replace(event.grant.clone()), None, "{:#?}", exception.timeline),
            "RevocationBegun" => {
                assert_eq!(held.take(), Some(event.grant.clone()), "{:#?}", exception.timeline);
            }
            _ => {}
        }
    }
    assert_eq!(held, None, "{:#?}", exception.timeline);
    for grant in &exception.grants {
        let ends = |kind: &str| {
            exception.timeline.iter().filter(|event| event.kind == kind && event.grant == grant.name).count()
        };
        let confirmed = ends("GrantRevoked") + ends("GrantFailed");
        assert_eq!(confirmed, usize::from(!waits_for_a_read(grant)), "{:#?}", exception.timeline);
    }
}
