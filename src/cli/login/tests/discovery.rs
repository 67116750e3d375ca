//! The issuer's document, and how a client says who it is.

use std::fs;

use serde_json::json;

use super::{super::super::error::Exit, Person, tokens};

const DEVICE: [&str; 2] = ["--method", "device"];

#[tokio::test]
async fn a_document_is_this_issuers_to_the_letter_and_names_safe_places() {
    for (name, value, expected) in [
        ("issuer", json!("https://evil.example"), "of another issuer: `https://evil.example`"),
        ("issuer", json!("\u{1b}[2J"), "of another issuer: `\\u{1b}[2J`"),
        ("issuer", json!(null), "isn't an issuer's document"),
        ("token_endpoint", json!("http://login.example/token"), "isn't safe: `http://login.example/token`"),
        ("token_endpoint", json!("https://a:b@login.example/token"), "isn't safe"),
        ("token_endpoint", json!("/token"), "isn't an issuer's document"),
        ("token_endpoint", json!(null), "isn't an issuer's document"),
        ("authorization_endpoint", json!("file:///etc/passwd"), "isn't safe"),
        ("authorization_endpoint", json!("https://login.example/#x"), "isn't safe"),
        ("device_authorization_endpoint", json!("ftp://login.example/"), "isn't safe"),
        ("padding", json!("x".repeat(300_000)), "too long"),
    ] {
        let person = Person::new().await;
        person.issuer.with(|script| script.document[name] = value.clone());
        let failure = person.log_in(&DEVICE).await.unwrap_err();
        assert!(failure.message.contains(expected), "{name}: {failure:?}");
        assert_eq!((failure.exit, person.kept()), (Exit::Local, None));
        assert!(person.issuer.with(|script| script.seen.is_empty()), "{name}: nothing was asked");
    }
}

#[tokio::test]
async fn an_issuer_that_differs_by_a_slash_is_another() {
    let person = Person::new().await;
    let other = format!("{}/", person.issuer.url);
    let failure = person.log_in(&["--issuer", &other]).await.unwrap_err();
    assert!(failure.message.contains(&format!("`{}`", person.issuer.url)), "{failure:?}");
    assert!(failure.hint.unwrap().contains("--issuer"));
}

#[tokio::test]
async fn an_issuer_elsewhere_has_no_business_on_this_machine() {
    use super::super::issuer::is_as_safe;
    for (url, is_https, expected) in [
        ("https://login.example/token", true, true),
        ("https://login.example/token", false, true),
        ("http://127.0.0.1:8080/token", false, true),
        ("http://127.0.0.1:8080/token", true, false),
        ("http://localhost/token", true, false),
    ] {
        assert_eq!(is_as_safe(&url.parse().unwrap(), is_https), expected, "{url} {is_https}");
    }
}

#[tokio::test]
async fn a_client_with_a_secret_says_it_as_the_issuer_likes() {
    let person = Person::new().await;
    let file = person.home.path().join("secret");
    fs::write(&file, "it's: secret\n").unwrap();
    let words = ["--method", "device", "--client-secret-file", file.to_str().unwrap()];
    let good = tokens(&person.claims(&json!({})));
    for methods in [json!(null), json!(["client_secret_basic", "none"]), json!(["client_secret_post"])] {
        person.issuer.with(|script| {
            script.document["token_endpoint_auth_methods_supported"] = methods.clone();
            script.tokens = vec![good.clone()];
            script.seen.clear();
        });
        person.log_in(&words).await.unwrap();
        for seen in person.issuer.with(|script| script.seen.clone()) {
            if methods == json!(["client_secret_post"]) {
                let said = (seen.get("basic"), seen["client_id"].as_str(), seen["client_secret"].as_str());
                assert_eq!(said, (None, "hallpass", "it's: secret"));
            } else {
                // hallpass:it%27s%3A+secret, as RFC 6749, section 2.3.1 has it.
                assert_eq!(seen["basic"], "Basic aGFsbHBhc3M6aXQlMjdzJTNBK3NlY3JldA==");
                assert!(!seen.contains_key("client_secret") && !seen.contains_key("client_id"), "{seen:?}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_missing_is_an_error_of_usage_and_nothing_is_sent() {
    let person = Person::new().await;
    for words in [["--issuer", ""], ["--client-id", " "]] {
        let failure = person.log_in(&[&DEVICE[..], &words].concat()).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{words:?}");
    }
    for issuer in
        ["http://login.example", "https://a:hunter2@login.example", "https://login.example/?x", "login"]
    {
        let failure = person.log_in(&["--issuer", issuer]).await.unwrap_err();
        assert!(failure.hint.as_ref().unwrap().contains("HALLPASS_ISSUER"), "{failure:?}");
        assert!(!failure.text().contains("hunter2"));
    }
    let failure = person.log_in(&["--issuer", "http://127.0.0.1:1"]).await.unwrap_err();
    assert!(failure.message.contains("cannot reach the identity provider"), "{failure:?}");
}
