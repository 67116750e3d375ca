//! Whatever the rules allow, in whatever order, is read back as it was stored. The sequences are generated from a fixed
//! seed, so that a failure here is the same everywhere.

use std::collections::BTreeMap;

use chrono::TimeDelta;
use hallpass::{
    access::{
        actor::Actor,
        grant::{Grant, State},
        handle::{Accessor, LeaseId},
        id::{GrantId, RequestId},
        policy::Scope,
        request::Request,
        revocation::{Cause, Confirmation, Step},
        target::Target,
        text::Prose,
    },
    store::{GrantFilter, RequestFilter, Slice, Store, Write},
};
use proptest::{
    collection::vec,
    prelude::*,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{
    Backend,
    values::{World, digest, person, target},
};

/// One try to do something to one thing, whether or not the rules allow it then.
#[derive(Clone, Copy, Debug)]
enum Move {
    Submit { target: usize, requester: usize },
    Approve { approver: usize },
    Deny { approver: usize },
    Withdraw,
    Lapse,
    Claim,
    Mint,
    Lease,
    Activate,
    Begin { cause: usize },
    Retry { step: usize, error: u8 },
    Confirm { confirmation: usize },
    Wait { minutes: i64 },
}

const CAUSES: [Cause; 4] = [Cause::WindowClosed, Cause::Released, Cause::Frozen, Cause::Reissued];
const STEPS: [Step; 4] = [Step::Wrapping, Step::Token, Step::Lease, Step::Confirmation];
const CONFIRMATIONS: [Confirmation; 3] =
    [Confirmation::LeaseGone, Confirmation::NoLeaseLeft, Confirmation::NothingIssued];
const PEOPLE: [&str; 4] = ["ann", "bob", "cyd", "dan"];

/// A move, and which of the things there are it is tried on.
fn moves() -> impl Strategy<Value = Vec<(Move, prop::sample::Index)>> {
    let one = prop_oneof![
        3 => (0..2_usize, 0..4_usize).prop_map(|(target, requester)| Move::Submit { target, requester }),
        6 => (0..4_usize).prop_map(|approver| Move::Approve { approver }),
        1 => (0..4_usize).prop_map(|approver| Move::Deny { approver }),
        1 => Just(Move::Withdraw),
        1 => Just(Move::Lapse),
        6 => Just(Move::Claim),
        4 => Just(Move::Mint),
        4 => Just(Move::Lease),
        4 => Just(Move::Activate),
        3 => (0..4_usize).prop_map(|cause| Move::Begin { cause }),
        2 => (0..4_usize, 0..3_u8).prop_map(|(step, error)| Move::Retry { step, error }),
        4 => (0..3_usize).prop_map(|confirmation| Move::Confirm { confirmation }),
        1 => (1..90_i64).prop_map(|minutes| Move::Wait { minutes }),
    ];
    vec((one, any::<prop::sample::Index>()), 1..80)
}

/// What the store should hold.
#[derive(Default)]
struct Model {
    requests: BTreeMap<RequestId, Request>,
    grants: BTreeMap<GrantId, Grant>,
    events: i64,
}

/// On the database that `Of` starts anew for each story.
pub fn whatever_the_rules_allow_reads_back<Of: Backend>() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = Config { cases: 48, failure_persistence: None, ..Config::default() };
    let seed = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    TestRunner::new_with_rng(config, seed)
        .run(&moves(), |moves| {
            runtime.block_on(async {
                let backend = Of::start().await;
                let world = World::new(&**backend.store());
                let mut model = Model::default();
                for (one, index) in moves {
                    model.play(&world, one, index).await;
                }
                model.is_all_there_is(&**backend.store()).await;
            });
            Ok(())
        })
        .unwrap();
}

impl Model {
    async fn play(&mut self, world: &World<'_>, one: Move, index: prop::sample::Index) {
        let targets = [target("orders", 1), target("payments", 2)];
        match one {
            Move::Wait { minutes } => world.clock.advance(TimeDelta::minutes(minutes)),
            Move::Submit { target, requester } => {
                self.keep(world.submit(&targets[target], PEOPLE[requester]).await);
            }
            _ if !self.requests.is_empty() => {
                let request = self.requests.values().nth(index.index(self.requests.len())).unwrap().clone();
                let target = targets.iter().find(|target| target.name == request.ask.target).unwrap();
                self.play_request(world, one, request, target).await;
                if !self.grants.is_empty() {
                    let grant = self.grants.values().nth(index.index(self.grants.len())).unwrap().clone();
                    self.play_grant(world, one, grant).await;
                }
            }
            _ => {}
        }
    }

    async fn play_request(&mut self, world: &World<'_>, one: Move, request: Request, target: &Target) {
        let now = world.tick();
        let change = match one {
            Move::Approve { approver } => {
                let decision = world.decision(&request, PEOPLE[approver]);
                request.approve(decision, Some(target)).ok().flatten()
            }
            Move::Deny { approver } => {
                let decision = world.decision(&request, PEOPLE[approver]);
                request.deny(decision, Some(target)).ok()
            }
            Move::Withdraw => request.withdraw(person("ann"), now).ok(),
            Move::Lapse => request.lapse(now),
            Move::Claim if request.clone().claim(now, Some(target)).is_ok() => {
                let (request, grant) = world.claim(request, target).await;
                self.keep(request);
                self.hold(grant);
                None
            }
            _ => None,
        };
        if let Some(change) = change {
            self.keep(world.store_request(change).await);
        }
    }

    async fn play_grant(&mut self, world: &World<'_>, one: Move, grant: Grant) {
        let (now, id) = (world.tick(), grant.id);
        let change = match one {
            Move::Mint => grant.minted(Accessor::new(format!("token-{id}")), digest("t"), now).ok(),
            Move::Lease => {
                let (lease, wrapping) = (LeaseId::new(format!("lease-{id}")), Accessor::new("wrapping"));
                grant.leased(lease, wrapping, (digest("l"), digest("w")), now).ok()
            }
            Move::Activate => grant.activate(now).ok(),
            Move::Begin { cause } => {
                let reason = Prose::new("why").unwrap();
                grant.begin(CAUSES[cause], Actor::Daemon, (cause > 1).then_some(&reason), now)
            }
            Move::Retry { step, error } => grant.retry(STEPS[step], &format!("error {error}"), now),
            Move::Confirm { confirmation } => {
                grant.confirm(CONFIRMATIONS[confirmation], Some(digest("l")), now).ok()
            }
            _ => None,
        };
        if let Some(change) = change {
            self.hold(world.store_grant(change).await);
        }
    }

    fn keep(&mut self, request: Request) {
        self.requests.insert(request.id, request);
        self.events += 1;
    }

    fn hold(&mut self, grant: Grant) {
        self.grants.insert(grant.id, grant);
        self.events += 1;
    }

    async fn is_all_there_is(&self, store: &dyn Store) {
        let limit = 1000;
        let slice = Slice { after: None, limit };
        let listed = store.requests(&Scope::All, &RequestFilter::default(), slice).await.unwrap().items;
        assert!(listed.iter().eq(self.requests.values().rev()));
        let slice = Slice { after: None, limit };
        let listed = store.grants(&Scope::All, &GrantFilter::default(), slice).await.unwrap();
        assert!(listed.iter().eq(self.grants.values().rev()));
        let events = store.events_after(&Scope::All, None, 0, limit).await.unwrap();
        assert!(events.iter().map(|event| event.sequence).eq(1..=self.events));
        let deadlines = self.requests.values().filter_map(|request| request.state.lapses_at());
        let held = |grant: &&Grant| matches!(grant.state.name(), "ISSUING" | "ACTIVE");
        let closing = self.grants.values().filter(held).map(|grant| grant.window.closes_at());
        assert_eq!(
            store.next_deadline(chrono::DateTime::UNIX_EPOCH).await.unwrap(),
            deadlines.chain(closing).min()
        );
        assert!(store.open_grants(None, limit).await.unwrap().iter().eq(self.grants.values().filter(held)));
        let mut closing: Vec<_> = self.grants.values().filter(held).collect();
        closing.sort_by_key(|grant| (grant.window.closes_at(), grant.id));
        assert!(
            store.closing(chrono::DateTime::<chrono::Utc>::MAX_UTC, limit).await.unwrap().iter().eq(closing)
        );
        let ending = |grant: &Grant| match &grant.state {
            State::Revoking(ending) => Some((ending.begun_at, grant.id)),
            _ => None,
        };
        let mut endings: Vec<_> = self.grants.values().filter(|grant| ending(grant).is_some()).collect();
        endings.sort_by_key(|grant| ending(grant));
        assert!(store.endings(None, limit).await.unwrap().iter().eq(endings));
        // A change that was made from what isn't there any more is refused, whatever it is.
        for request in self.requests.values().filter(|request| request.revision > 1) {
            let stale = Request { revision: request.revision - 1, ..request.clone() };
            let at = stale.ask.submitted_at + TimeDelta::days(1);
            if let Some(stale) = stale.lapse(at) {
                assert!(store.commit(&[Write::Request(&stale)]).await.is_err());
            }
        }
    }
}
