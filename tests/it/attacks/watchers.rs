//! Ten thousand who want to watch.

use std::time::Duration;

use futures_util::future::join_all;
use hallpass::wire::{ListTargetsRequest, WatchRequestsRequest};
use tokio_stream::StreamExt as _;
use tonic::Code;

use super::attacked::{Attacked, list_targets, requests, with_token};
use crate::support::{refusals::reason, servers::eventually};

const PEOPLE: usize = 40;
const TRIES_EACH: usize = 250;

/// What one person has at most, and all together.
const EACH_MAX: usize = 16;
const ALL_MAX: usize = 256;

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_watchers_get_as_many_streams_as_there_are_and_keep_nobody_out() {
    let attacked = Attacked::start().await;
    let people: Vec<_> = (0..PEOPLE)
        .map(|number| (attacked.channel(), attacked.token(&format!("p{number}"), "developers")))
        .collect();
    let all = people.iter().map(async |(channel, token)| {
        let mut streams = Vec::new();
        for _ in 0..TRIES_EACH {
            let call = with_token(WatchRequestsRequest::default(), token);
            match requests(channel).watch_requests(call).await {
                Ok(stream) => streams.push(stream.into_inner()),
                Err(error) => {
                    assert_eq!(reason(&error), (Code::ResourceExhausted, "TOO_MANY".to_owned()));
                }
            }
        }
        streams
    });
    // Who got more than his own would wait for a stream of his connection, for ever.
    let all = tokio::time::timeout(Duration::from_mins(2), join_all(all)).await;
    let mut streams = all.expect("everybody is answered at once");
    let each: Vec<_> = streams.iter().map(Vec::len).collect();
    assert!(each.iter().all(|count| *count <= EACH_MAX), "{each:?}");
    assert_eq!(each.iter().sum::<usize>(), ALL_MAX, "of {}", PEOPLE * TRIES_EACH);

    attacked.still_serves().await;
    let call = attacked.alice(ListTargetsRequest::default());
    assert_eq!(list_targets(attacked.channel(), call).await.unwrap(), 2, "calls that aren't watches go on");

    // The streams that there are tell what happens.
    let lucky = each.iter().position(|count| *count > 0).unwrap();
    let mut own = attacked.sim.submit("orders-ro").await;
    let olivia = with_token(WatchRequestsRequest::default(), &attacked.token("olivia", "operations-leads"));
    requests(&attacked.channel()).watch_requests(olivia).await.expect_err("there is no place");
    streams[lucky].pop();
    let olivia = || {
        let message = WatchRequestsRequest { after_sequence: Some(0), ..WatchRequestsRequest::default() };
        with_token(message, &attacked.token("olivia", "operations-leads"))
    };
    let (channel, mut seen) = (attacked.channel(), None);
    eventually("the place of who has gone is free", async || {
        seen = requests(&channel).watch_requests(olivia()).await.ok();
        seen.is_some()
    })
    .await;
    let event = seen.unwrap().into_inner().next().await.unwrap().unwrap();
    assert_eq!(event.event.unwrap().kind, "RequestSubmitted");
    own = attacked.sim.approve(&own).await.unwrap();
    drop((own, streams));
}
