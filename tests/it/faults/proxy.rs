//! The proxy does what its rules say, so that the other tests see the faults that they name.

use reqwest::{Client, StatusCode};

use crate::support::servers::{
    Proxy, openbao,
    proxy::{Fault, Rule, When},
};

const HEALTH: &str = "GET /v1/sys/health";

async fn ask(proxy: &Proxy) -> Result<(StatusCode, String), reqwest::Error> {
    let client = Client::builder().no_proxy().build().unwrap();
    let answer = client.get(format!("{}/v1/sys/health", proxy.address)).send().await?;
    Ok((answer.status(), answer.text().await?))
}

/// An answer of OpenBao's.
async fn is_well(proxy: &Proxy) -> bool {
    ask(proxy).await.is_ok_and(|(status, text)| status == 200 && text.contains("\"sealed\":false"))
}

#[tokio::test]
async fn what_no_rule_names_goes_through_and_is_seen() {
    let proxy = Proxy::start(&openbao().address);
    proxy.fault(Rule::on("POST", Fault::Reset(When::Before)));
    assert!(is_well(&proxy).await);
    let [call] = &proxy.calls(HEALTH)[..] else { panic!("{proxy:?}") };
    assert_eq!((call.what.as_str(), call.fault, call.at_once), (HEALTH, None, 1));
    assert!(!proxy.has_faulted());
}

#[tokio::test]
async fn each_fault_is_what_it_says() {
    let proxy = Proxy::start(&openbao().address);
    for (fault, fails) in [
        (Fault::Reset(When::Before), true),
        (Fault::Reset(When::After), true),
        (Fault::Cut, true),
        (Fault::Slow, false),
    ] {
        proxy.fault(Rule::on(HEALTH, fault));
        assert_eq!(ask(&proxy).await.is_err(), fails, "{fault:?}");
        assert!(proxy.has_faulted(), "{fault:?}");
        proxy.lift().await;
        proxy.forget();
        assert!(is_well(&proxy).await, "after {fault:?}");
    }
    proxy.fault(Rule::on(HEALTH, Fault::Says(When::After, 503, "later")));
    assert_eq!(ask(&proxy).await.unwrap(), (StatusCode::SERVICE_UNAVAILABLE, "later".to_owned()));
}

#[tokio::test]
async fn silence_lasts_until_the_caller_gives_up() {
    let proxy = Proxy::start(&openbao().address);
    for fault in [Fault::Hang(When::Before), Fault::Hang(When::After), Fault::Stall] {
        proxy.fault(Rule::on(HEALTH, fault).times(1));
        tokio::select! {
            biased;
            answered = ask(&proxy) => panic!("{fault:?}: {answered:?}"),
            // It comes after the silence, by another connection.
            well = async {
                while !proxy.has_faulted() {
                    tokio::task::yield_now().await;
                }
                is_well(&proxy).await
            } => assert!(well),
        }
        proxy.lift().await;
        proxy.forget();
    }
}

#[tokio::test]
async fn nobody_connects_after_the_last_answer_or_a_refusal_until_it_is_lifted() {
    let proxy = Proxy::start(&openbao().address);
    proxy.fault(Rule::on(HEALTH, Fault::Last));
    for _ in 0..2 {
        assert!(is_well(&proxy).await);
        assert!(ask(&proxy).await.unwrap_err().is_connect());
        proxy.lift().await;
        assert!(is_well(&proxy).await);
        proxy.refuse().await;
        assert!(ask(&proxy).await.unwrap_err().is_connect());
        proxy.lift().await;
        proxy.fault(Rule::on(HEALTH, Fault::Last));
    }
}

#[tokio::test]
async fn a_rule_waits_for_its_time_and_is_over_after_so_many() {
    let proxy = Proxy::start(&openbao().address);
    proxy.fault(Rule::on(HEALTH, Fault::Reset(When::Before)).once(HEALTH).times(1));
    let mut answered = Vec::new();
    for _ in 0..3 {
        answered.push(is_well(&proxy).await);
    }
    assert_eq!(answered, [true, false, true]);
}
