//! What matches a filter, in SQLite, is what the plainest reading of the filter says: of generated exceptions, with
//! generated filters, for different people, from either end, in pages of any size; and so are their numbers.

use std::{collections::BTreeSet, time::Duration};

use chrono::TimeDelta;
use hallpass::{
    access::{
        approval::Decision,
        approval_text::ApprovalText,
        id::RequestId,
        kept::{Reason, Text},
        policy::Scope,
        request::{Ask, Request},
        revocation::{Cause, Confirmation},
        signing::Signed,
        target::Target,
        terms::Terms,
        text::{Prose, Ticket},
        totals::Totals,
    },
    clock::Clock,
    store::{HeldGrant, Part, RequestFilter, Slice, Store},
};
use proptest::{
    prelude::*,
    sample::select,
    strategy::ValueTree,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};

use super::{
    Backend,
    values::{World, beginning, person, target},
};
use crate::support::memory::Rows;

const TARGETS: [&str; 3] = ["orders", "payments", "payroll"];
const PEOPLE: [&str; 4] = ["ann", "bob", "cyd", "Zoë"];
const GROUPS: [&str; 3] = ["dev", "night", "a \"quoted\" group"];
const TICKETS: [&str; 3] = ["OPS-1", "OPS-11", "ops-1"];
const TEXTS: [&str; 6] = [
    "The queue is STUCK: order 4711",
    "Äpfel fehlen; 日本語 too",
    "a \"quoted\" phrase* OR NOT near",
    "the then there",
    "ok",
    "100% of rows_x",
];
const PARTS: [&str; 9] = ["stuck", "ÄPFEL", "本語 ", "\"quoted\"", "se* OR", "the", "n the", "_x", "rows_x"];

/// How far something gets: the last of these is what an exception ends with.
#[derive(Clone, Debug)]
struct Story {
    target: usize,
    requester: usize,
    groups: Vec<bool>,
    reason: usize,
    statement: usize,
    ticket: Option<usize>,
    approver: usize,
    signed: [bool; 2],
    steps: usize,
    cause: usize,
    wait_minutes: i64,
    alarms: bool,
}

fn story() -> impl Strategy<Value = Story> {
    let who = (0..3_usize, 0..4_usize, proptest::collection::vec(any::<bool>(), 3), 0..4_usize);
    let what = (0..6_usize, 0..6_usize, proptest::option::of(0..3_usize), any::<[bool; 2]>());
    (who, what, 0..10_usize, 0..4_usize, 0..90_i64, any::<bool>()).prop_map(
        |(
            (target, requester, groups, approver),
            (reason, statement, ticket, signed),
            steps,
            cause,
            wait,
            alarms,
        )| Story {
            target,
            requester,
            groups,
            reason,
            statement,
            ticket,
            approver,
            signed,
            steps,
            cause,
            wait_minutes: wait,
            alarms,
        },
    )
}

const CAUSES: [Cause; 4] =
    [Cause::WindowClosed, Cause::Released, Cause::RevokedByOperator, Cause::IssueFailed];

fn targets() -> [Target; 3] {
    [target(TARGETS[0], 1), target(TARGETS[1], 2), target(TARGETS[2], 1)]
}

fn decision(world: &World<'_>, request: &Request, story: &Story, number: usize) -> Decision {
    let approver = if number == 0 {
        PEOPLE[(story.requester + 1 + story.approver % 3) % 4].to_owned()
    } else {
        format!("second-{number}")
    };
    let statement = Prose::new(TEXTS[(story.statement + number) % TEXTS.len()]).unwrap();
    let unsigned =
        Decision { statement: Text::Kept(statement.clone()), ..world.decision(request, &approver) };
    let text = ApprovalText::of(
        request.id,
        &request.ask,
        Terms::default(),
        &unsigned.approver.subject,
        statement,
        unsigned.decided_at,
    );
    let signature = Signed {
        text: Text::Kept(text),
        signature: "sig".to_owned(),
        key: format!("SHA256:{}", "x".repeat(43)),
        present: true,
    };
    Decision { signed: story.signed[number].then(|| Box::new(signature)), ..unsigned }
}

/// Plays an exception as far as its story goes.
async fn play(world: &World<'_>, story: &Story) {
    world.clock.advance(TimeDelta::minutes(story.wait_minutes));
    let target = &targets()[story.target];
    let groups = GROUPS.iter().zip(&story.groups).filter(|(_, is_in)| **is_in);
    let ask = Ask {
        groups: groups.map(|(group, _)| (*group).to_owned()).collect::<BTreeSet<_>>(),
        reason: Reason::Kept(Prose::new(TEXTS[story.reason]).unwrap()),
        ticket: story.ticket.and_then(|ticket| Ticket::new(TICKETS[ticket]).unwrap()),
        ..world.ask(target, PEOPLE[story.requester])
    };
    let request = world.submit_ask(target, ask).await;
    let steps = story.steps;
    match steps {
        0 => return,
        1 => {
            let denial = request.clone().deny(decision(world, &request, story, 0), Some(target));
            // What is signed isn't a denial.
            if let (Ok(denial), false) = (denial, story.signed[0]) {
                world.store_request(denial).await;
            }
            return;
        }
        2 => {
            world
                .store_request(request.withdraw(person(PEOPLE[story.requester]), world.tick()).unwrap())
                .await;
            return;
        }
        _ => {}
    }
    let mut approved = request;
    for number in 0..target.approvals_required.get() as usize {
        let decided = decision(world, &approved, story, number);
        approved =
            world.store_request(approved.clone().approve(decided, Some(target)).unwrap().unwrap()).await;
    }
    if steps == 3 {
        return;
    }
    let (_, mut grant) = world.claim(approved, target).await;
    if steps > 4 {
        grant = world.minted(grant).await;
        grant = world.leased(grant).await;
    }
    if steps > 5 {
        grant = world.activated(grant).await;
    }
    if steps > 6 {
        world.clock.advance(TimeDelta::minutes(story.wait_minutes));
        grant = world.begun(grant, CAUSES[story.cause]).await;
        if story.alarms {
            world.clock.advance(TimeDelta::minutes(10));
            grant = world.store_grant(grant.alarm(TimeDelta::minutes(5), world.tick()).unwrap()).await;
        }
    }
    if steps > 7 {
        world.confirmed(grant, Confirmation::LeaseGone).await;
    }
}

const STATES: [&str; 6] = ["PENDING", "APPROVED", "DENIED", "WITHDRAWN", "LAPSED", "CLAIMED"];
const GRANT_STATES: [&str; 5] = ["ISSUING", "ACTIVE", "REVOKING", "REVOKED", "FAILED"];
const CAUSE_NAMES: [&str; 4] = ["WINDOW_CLOSED", "RELEASED", "REVOKED_BY_OPERATOR", "ISSUE_FAILED"];

fn filter() -> impl Strategy<Value = RequestFilter> {
    fn often<T: Strategy>(what: T) -> impl Strategy<Value = Option<T::Value>>
    where
        T::Value: Clone + 'static,
    {
        proptest::option::weighted(0.15, what)
    }
    let name = || {
        (select(PEOPLE.as_slice()), any::<bool>())
            .prop_map(|(name, subject)| if subject { person(name).subject } else { name.to_owned() })
    };
    let at = || (0..6000_i64).prop_map(|minutes| beginning() + TimeDelta::minutes(minutes));
    let by = || (0..80_u64).prop_map(Duration::from_mins);
    let some = |names: &'static [&'static str]| {
        proptest::option::weighted(0.15, proptest::sample::subsequence(names, 1..3))
    };
    let request = (
        some(&STATES),
        often(select(TARGETS.as_slice())),
        often(name()),
        often(at()),
        often(at()),
        often(name()),
    );
    let more = (
        often(select(GROUPS.as_slice())),
        often(select(TICKETS.as_slice())),
        often(select(PARTS.as_slice())),
        often(any::<bool>()),
        proptest::bool::weighted(0.1),
        any::<bool>(),
    );
    let grant = (
        some(&GRANT_STATES),
        some(&CAUSE_NAMES),
        often(name()),
        often(at()),
        often(at()),
        often(by()),
        often(by()),
    );
    (request, more, grant).prop_map(|(request, more, grant)| {
        let (states, target, requester, submitted_from, submitted_until, approver) = request;
        let (group, ticket, text, signed, alarmed, oldest_first) = more;
        let (grant_states, causes, holder, held_from, held_until, late_by, early_by) = grant;
        RequestFilter {
            states: states.unwrap_or_default(),
            target: target.map(|target| target.parse().unwrap()),
            requester,
            submitted_from,
            submitted_until,
            approver,
            group: group.map(str::to_owned),
            ticket: ticket.map(str::to_owned),
            // An index of trigrams can't be asked for less.
            text: text.filter(|text| text.chars().count() >= 3).map(str::to_owned),
            signed,
            alarmed,
            grant: HeldGrant {
                states: grant_states.unwrap_or_default(),
                causes: causes.unwrap_or_default(),
                holder,
                held_from,
                held_until,
                late_by,
                early_by,
            },
            oldest_first,
        }
    })
}

fn scope() -> impl Strategy<Value = Scope> {
    let some = (select(PEOPLE.as_slice()), proptest::sample::subsequence(TARGETS.as_slice(), 0..3));
    prop_oneof![
        2 => Just(Scope::All),
        1 => some.prop_map(|(owner, targets)| Scope::Some {
            owner: person(owner).subject,
            targets: targets.iter().map(|target| target.parse().unwrap()).collect(),
        }),
    ]
}

fn shows(scope: &Scope, request: &Request) -> bool {
    match scope {
        Scope::All => true,
        Scope::Some { owner, targets } => {
            request.ask.requester.subject == *owner || targets.contains(&request.ask.target)
        }
    }
}

/// All that the store holds, as the plain model has it.
async fn rows(store: &dyn Store) -> Rows {
    let all = Slice { after: None, limit: 100_000 };
    let requests = store.requests(&Scope::All, &RequestFilter::default(), all).await.unwrap().items;
    let ids: Vec<RequestId> = requests.iter().map(|request| request.id).collect();
    let grants = store.grants_of(&ids).await.unwrap();
    Rows {
        grants: grants.into_values().flatten().map(|grant| (grant.id, grant)).collect(),
        requests: requests.into_iter().map(|request| (request.id, request)).collect(),
        events: store.events_after(&Scope::All, None, 0, 1_000_000).await.unwrap(),
        ..Rows::default()
    }
}

/// Every page of the list, put together.
async fn listed(store: &dyn Store, scope: &Scope, filter: &RequestFilter, limit: u32) -> Vec<Request> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let Part { items, resume } = store.requests(scope, filter, Slice { after, limit }).await.unwrap();
        assert!(items.len() <= limit as usize && resume.is_none_or(|_| items.len() < limit as usize));
        after = resume
            .or_else(|| items.last().map(|request| request.id).filter(|_| items.len() == limit as usize));
        all.extend(items);
        if after.is_none() {
            return all;
        }
    }
}

pub fn what_matches_is_what_the_filter_says<Of: Backend>() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[8; 32]);
    let mut runner =
        TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::with_cases(400) }, rng);
    let backend = runtime.block_on(Of::start());
    let store = &**backend.store();
    let world = World::new(store);
    for _ in 0..250 {
        let one = story().new_tree(&mut runner).unwrap().current();
        runtime.block_on(play(&world, &one));
    }
    let (rows, now) = (runtime.block_on(rows(store)), world.clock.now());
    assert_eq!(rows.requests.len(), 250);
    let mut found_some = 0;
    runner
        .run(&(scope(), filter(), 1..40_u32), |(scope, filter, limit)| {
            let mut expected: Vec<_> = rows
                .requests
                .values()
                .filter(|request| shows(&scope, request) && rows.matches(&filter, request))
                .cloned()
                .collect();
            let mut totals = Totals::default();
            for request in &expected {
                totals.add(&rows.counted(request, now));
            }
            if !filter.oldest_first {
                expected.reverse();
            }
            let listed = runtime.block_on(listed(store, &scope, &filter, limit));
            prop_assert_eq!(
                listed.iter().map(|request| request.id).collect::<Vec<_>>(),
                expected.iter().map(|request| request.id).collect::<Vec<_>>()
            );
            prop_assert_eq!(&listed, &expected);
            prop_assert_eq!(runtime.block_on(store.totals(&scope, &filter, now)).unwrap(), totals);
            Ok(())
        })
        .unwrap();
    // A filter that matches nothing would let anything pass.
    for filter in (0..500).map(|_| filter().new_tree(&mut runner).unwrap().current()) {
        found_some += usize::from(rows.requests.values().any(|request| rows.matches(&filter, request)));
    }
    assert!(found_some > 100, "{found_some}");
}
