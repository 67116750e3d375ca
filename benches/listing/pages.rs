//! Pages of 50, and all in numbers, as an auditor's program asks for them.

use hallpass::{
    grpc::fuzzing::List,
    wire::{
        Exception, HeldFilter, ListExceptionsRequest, ListOrder, RequestFilter, RequestState,
        RevocationCause, Signed, SummarizeExceptionsRequest,
    },
};
use prost::Message as _;
use prost_types::{Duration, Timestamp};

use crate::{
    common::{millis, now, percentile, timed},
    support::{people::Person, world::World},
};

const PAGE: i32 = 50;
/// How often each page is asked for; the first few don't count.
const ROUNDS: usize = 200;
const ROUNDS_BEFORE: usize = 10;
/// How many starts of random pages are taken from the list.
const STARTS: usize = 100;

/// A little of everything that can be asked.
fn filters() -> Vec<(&'static str, RequestFilter)> {
    let none = RequestFilter::default;
    let grant = |grant| RequestFilter { grant: Some(grant), ..none() };
    let held = HeldFilter::default;
    let person = |number: u32| format!("dev-{number}");
    let year = |years: i64| {
        let at = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed();
        Some(Timestamp { seconds: at - years * 365 * 86_400, nanos: 0 })
    };
    vec![
        ("no filter", none()),
        ("target", RequestFilter { target: "targets/target-3".into(), ..none() }),
        ("requester, by name", RequestFilter { requester: person(7), ..none() }),
        ("approver, by name", RequestFilter { approver: "lead-7".into(), ..none() }),
        ("holder, by subject", grant(HeldFilter { holder: "corp:00u7".into(), ..held() })),
        ("group", RequestFilter { group: "team-4".into(), ..none() }),
        ("state of the request", RequestFilter { states: vec![RequestState::Denied.into()], ..none() }),
        ("cause", grant(HeldFilter { causes: vec![RevocationCause::Released.into()], ..held() })),
        ("ticket", RequestFilter { ticket: "OPS-471".into(), ..none() }),
        ("text in one of ten reasons", RequestFilter { text: "THE QUEUE".into(), ..none() }),
        ("text in one reason", RequestFilter { text: "order 471 is".into(), ..none() }),
        ("unsigned", RequestFilter { signed: Signed::No.into(), ..none() }),
        (
            "ended five minutes late",
            grant(HeldFilter { late_by: Some(Duration { seconds: 300, nanos: 0 }), ..held() }),
        ),
        ("submitted two years ago", RequestFilter { submitted_until: year(2), ..none() }),
        ("held two years ago", grant(HeldFilter { held_until: year(2), ..held() })),
        (
            "requester, and a text of none of his",
            RequestFilter { requester: person(4), text: "the queue".into(), ..none() },
        ),
        (
            "requester, target, text and cause",
            RequestFilter {
                requester: person(4),
                target: "targets/target-4".into(),
                text: "warehouse".into(),
                ..grant(HeldFilter { causes: vec![RevocationCause::Released.into()], ..held() })
            },
        ),
    ]
}

/// One page; the exceptions on it.
async fn page(auditor: &mut Person, filter: &RequestFilter, page_token: String) -> Vec<Exception> {
    let message = ListExceptionsRequest {
        page_size: PAGE,
        page_token,
        filter: Some(filter.clone()),
        order: ListOrder::NewestFirst.into(),
    };
    auditor.exceptions.list_exceptions(message).await.unwrap().into_inner().exceptions
}

/// Tokens of whole pages all over the list, each after a page that begins at another time: pages of fewer exceptions would be
/// compared with longer ones.
async fn starts(auditor: &mut Person, filter: &RequestFilter) -> Vec<String> {
    let mut starts = Vec::new();
    let oldest =
        std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs().cast_signed() - 3 * 365 * 86_400;
    for number in 0..STARTS {
        let seconds =
            oldest + i64::try_from((number * 7919 % STARTS + 20) * 3 * 365 * 86_400 / (STARTS + 20)).unwrap();
        let seconds = filter.submitted_until.map_or(seconds, |until| until.seconds.min(seconds));
        let until =
            RequestFilter { submitted_until: Some(Timestamp { seconds, nanos: 0 }), ..filter.clone() };
        let Some(last) = page(auditor, &until, String::new()).await.pop() else { continue };
        let id = last.name.trim_start_matches("exceptions/").to_owned();
        let Some(token) = List::Exceptions.token(&filter.encode_to_vec(), &id) else { continue };
        if page(auditor, filter, token.clone()).await.len() == usize::try_from(PAGE).unwrap() {
            starts.push(token);
        }
    }
    starts
}

pub async fn measure(few: &World, many: &World) {
    let mut auditors = [few.person("audrey").await, many.person("audrey").await];
    println!(
        "{:<40}{:>8}{:>10}{:>10}{:>8}{:>10}",
        "pages of 50, ms", "found", "thousand", "million", "ratio", "p99"
    );
    for (name, filter) in filters() {
        let firsts = [vec![String::new()], vec![String::new()]];
        line(&format!("first page: {name}"), &mut auditors, &filter, &firsts).await;
        let [few, many] = &mut auditors;
        let randoms = [starts(few, &filter).await, starts(many, &filter).await];
        if randoms.iter().all(|starts| !starts.is_empty()) {
            line("random whole page", &mut auditors, &filter, &randoms).await;
        }
    }
    println!();
}

/// The same pages of both lists by turns.
async fn line(what: &str, auditors: &mut [Person; 2], filter: &RequestFilter, tokens: &[Vec<String>; 2]) {
    let (mut times, mut found) = ([Vec::new(), Vec::new()], 0);
    for round in 0..ROUNDS_BEFORE + ROUNDS {
        for (number, auditor) in auditors.iter_mut().enumerate() {
            let mut time = Vec::new();
            let token = tokens[number][round % tokens[number].len()].clone();
            found = timed(&mut time, page(auditor, filter, token)).await.len();
            if round >= ROUNDS_BEFORE {
                times[number].extend(time);
            }
        }
    }
    for times in &mut times {
        times.sort_by(f64::total_cmp);
    }
    let [few, many] = [percentile(&times[0], 50), percentile(&times[1], 50)];
    let p99 = percentile(&times[1], 99);
    println!("{what:<40}{found:>8}{few:>10.2}{many:>10.2}{:>8.2}{p99:>10.2}", many / few);
}

pub async fn summary(many: &World) {
    let mut auditor = many.person("audrey").await;
    for (name, filter) in filters().into_iter().take(2) {
        let begun = now();
        let message = SummarizeExceptionsRequest { filter: Some(filter) };
        let totals = auditor.exceptions.summarize_exceptions(message).await.unwrap().into_inner();
        let count = totals.all.unwrap().count;
        println!("summary, {name}: {count} exceptions in {:.0} ms", millis(begun.elapsed()));
    }
    println!();
}
