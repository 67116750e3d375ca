//! The device login.

use serde_json::json;

use super::{super::super::error::Exit, Person, refusal, tokens};

const DEVICE: [&str; 2] = ["--method", "device"];

#[tokio::test]
async fn somebody_types_the_code_and_is_logged_in() {
    let person = Person::new().await;
    let good = tokens(&person.claims(&json!({})));
    person.issuer.with(|script| {
        script.tokens = vec![
            refusal("authorization_pending"),
            refusal("slow_down"),
            refusal("authorization_pending"),
            good,
        ];
    });
    let told = person.log_in(&DEVICE).await.unwrap();
    assert_eq!((told["name"].as_str(), told["sub"].as_str()), (Some("alice"), Some("4711")));
    assert_eq!(
        *person.leaping.pauses.lock().unwrap(),
        [5, 5, 10, 10],
        "slow_down is for all further questions"
    );
    let seen = person.issuer.with(|script| script.seen.clone());
    let first: Vec<_> = seen[0].iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(first, [("client_id", "hallpass"), ("path", "/device"), ("scope", "openid profile")]);
    assert_eq!(seen[1]["grant_type"], "urn:ietf:params:oauth:grant-type:device_code");
    assert_eq!(
        (seen[1]["device_code"].as_str(), seen[1]["client_id"].as_str()),
        ("the-device-code", "hallpass")
    );
    let kept = person.kept().unwrap();
    assert!(kept.starts_with("e30.") && !kept.contains("secret"), "the ID token and nothing else: {kept}");
    let shown = person.notes.json();
    assert_eq!(shown["login"]["code"], "WDJB-MJHT");
    assert_eq!(shown["login"]["expiresInSeconds"], 600);
    assert!(!person.notes.text().contains("the-device-code"));
}

#[tokio::test]
async fn who_refuses_or_lets_the_code_expire_is_not_logged_in() {
    for (code, exit, message) in [
        ("access_denied", Exit::Local, "refused at the identity provider"),
        ("expired_token", Exit::TimedOut, "in time"),
        ("invalid_grant", Exit::Local, "invalid_grant"),
        ("unauthorized_client", Exit::Local, "unauthorized_client"),
    ] {
        let person = Person::new().await;
        person.issuer.with(|script| script.tokens = vec![refusal("authorization_pending"), refusal(code)]);
        let failure = person.log_in(&DEVICE).await.unwrap_err();
        assert_eq!(failure.exit, exit, "{code}");
        assert!(failure.message.contains(message), "{failure:?}");
        assert_eq!(person.kept(), None, "{code}");
        assert_eq!(person.issuer.with(|script| script.seen.len()), 3, "{code} is final");
    }
}

#[tokio::test]
async fn it_waits_no_longer_than_the_code_holds_or_one_wants_to() {
    for (words, expires_in, pauses) in [
        (&["--wait-timeout", "1h"][..], 12_u64, &[5_u64, 5, 2][..]),
        (&["--wait-timeout", "7s"], u64::MAX, &[5, 2]),
        (&[], 0, &[]),
    ] {
        let person = Person::new().await;
        person.issuer.with(|script| script.device["expires_in"] = json!(expires_in));
        let failure = person.log_in(&[&DEVICE[..], words].concat()).await.unwrap_err();
        assert_eq!(failure.exit, Exit::TimedOut);
        assert_eq!(*person.leaping.pauses.lock().unwrap(), pauses);
    }
}

#[tokio::test]
async fn an_issuer_that_is_down_for_a_while_is_asked_less_and_less() {
    let person = Person::new().await;
    let good = tokens(&person.claims(&json!({})));
    let down = || (503, "<html>".to_owned());
    let busy = (429, String::new());
    let broken = (500, json!({ "error": "server_error" }).to_string());
    person.issuer.with(|script| script.tokens = vec![down(), broken, busy, down(), down(), good]);
    person.log_in(&DEVICE).await.unwrap();
    assert_eq!(*person.leaping.pauses.lock().unwrap(), [5, 10, 20, 40, 60, 60]);
}

#[tokio::test]
async fn no_issuer_says_how_often_it_is_asked_beyond_reason() {
    for (interval, pause) in [(0, 1), (1, 1), (7, 7), (1_000_000, 60)] {
        let person = Person::new().await;
        person.issuer.with(|script| script.device["interval"] = json!(interval));
        person.log_in(&[&DEVICE[..], &["--wait-timeout", "2m"]].concat()).await.unwrap_err();
        assert_eq!(person.leaping.pauses.lock().unwrap()[0], pause, "{interval}");
    }
}

#[tokio::test]
async fn what_the_issuer_wants_shown_does_no_harm() {
    let person = Person::new().await;
    let page = person.issuer.with(|script| {
        script.device["user_code"] = json!("WDJB\u{1b}[2J\r\nhint: \u{202e}x");
        script.device["verification_uri_complete"] = json!("http://login.example/?code=x");
        script.device["verification_uri"].as_str().unwrap().to_owned()
    });
    person.log_in_as(&[&DEVICE[..], &["--wait-timeout", "1s"]].concat()).await.err().unwrap();
    let shown = person.notes.text();
    assert!(shown.contains(&format!("\n\n  {page}\n\n")), "{shown}");
    assert!(shown.contains("\n\n  WDJB\\u{1b}[2J\\u{d}\\nhint: \\u{202e}x\n\n"), "{shown}");
    assert!(!shown.contains("login.example"), "a page less safe than the issuer isn't offered: {shown}");
}

#[tokio::test]
async fn an_offer_that_nobody_could_follow_is_refused() {
    for (name, value) in [
        ("user_code", json!("X".repeat(65))),
        ("user_code", json!(" ")),
        ("verification_uri", json!("http://login.example/")),
        ("verification_uri", json!("javascript:alert(1)")),
        ("verification_uri", json!(format!("http://127.0.0.1/{}", "x".repeat(5_000)))),
        ("verification_uri", json!(7)),
        ("device_code", json!(null)),
        ("expires_in", json!(-1)),
    ] {
        let person = Person::new().await;
        person.issuer.with(|script| script.device[name] = value.clone());
        let failure = person.log_in(&DEVICE).await.unwrap_err();
        assert!(failure.message.contains("answer can't be used"), "{name}: {failure:?}");
        assert_eq!(person.notes.text(), "", "{name}");
        assert_eq!(person.issuer.with(|script| script.seen.len()), 1, "{name}");
    }
}

#[tokio::test]
async fn an_answer_that_is_no_token_of_this_issuer_is_not_kept() {
    let person = Person::new().await;
    let answers = [
        (tokens(&person.claims(&json!({ "iss": "https://evil.example" }))), "of another issuer"),
        (tokens(&person.claims(&json!({ "aud": "other" }))), "not for `hallpass` alone"),
        ((200, json!({ "access_token": "x" }).to_string()), "no ID token"),
        ((200, json!({ "id_token": "a.b.c.d.e" }).to_string()), "not a JWT"),
        ((200, "<html>".into()), "isn't JSON"),
        ((200, format!("{{\"id_token\":\"{}\"}}", "x".repeat(300_000))), "too long"),
        ((302, String::new()), "redirects"),
        ((404, String::new()), "404"),
        (
            (400, json!({ "error": "no\u{1b}[2J\nhint: x", "error_description": "\u{9b}31m" }).to_string()),
            "no\\u{1b}[2J hint: x",
        ),
    ];
    for (answer, expected) in answers {
        person.issuer.with(|script| script.tokens = vec![answer]);
        let failure = person.log_in(&DEVICE).await.unwrap_err();
        assert!(failure.message.contains(expected), "{expected}: {failure:?}");
        assert_eq!(failure.exit, Exit::Local);
        assert_eq!(person.kept(), None, "{expected}");
        assert!(failure.details.iter().all(|line| !line.contains('\u{9b}')), "{failure:?}");
    }
}

#[tokio::test]
async fn what_hallpassd_would_refuse_is_said_at_once() {
    let person = Person::new().await;
    let many: Vec<_> = (0..1_000).map(|number| format!("group-{number}")).collect();
    let big = tokens(&person.claims(&json!({ "groups": many, "exp": 1_000_000_000 })));
    person.issuer.with(|script| script.tokens = vec![big]);
    person.log_in_as(&DEVICE).await.unwrap();
    let said = person.notes.text();
    assert!(said.contains("hallpassd takes 8192 at most") && said.contains("check the clock"), "{said}");
    assert!(!said.contains("names no groups"), "{said}");
}

#[tokio::test]
async fn without_a_terminal_it_is_the_way_unless_the_issuer_hasnt_got_it() {
    let person = Person::new().await;
    let good = tokens(&person.claims(&json!({})));
    person.issuer.with(|script| script.tokens = vec![good]);
    person.log_in(&[]).await.unwrap();
    person.issuer.with(|script| {
        script.document.as_object_mut().unwrap().remove("device_authorization_endpoint");
    });
    let failure = person.log_in(&[]).await.unwrap_err();
    assert_eq!(failure.exit, Exit::TimedOut, "it waited for the browser");
    let failure = person.log_in(&DEVICE).await.unwrap_err();
    assert!(failure.hint.unwrap().contains("--method browser"));
}
