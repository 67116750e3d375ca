//! The login by browser, the browser being the test.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use url::Url;

use super::{
    super::super::error::{Exit, Failure},
    Person, tokens,
};
use crate::clock::SystemClock;

const BROWSER: [&str; 2] = ["--method", "browser"];

/// The page that somebody is asked to open, taken apart.
struct Page {
    url: Url,
    query: BTreeMap<String, String>,
}

impl Page {
    async fn shown_to(person: &Person) -> Self {
        while person.notes.text().is_empty() {
            tokio::task::yield_now().await;
        }
        let url = Url::parse(person.notes.json()["login"]["page"].as_str().unwrap()).unwrap();
        let query = url.query_pairs().into_owned().collect();
        Self { url, query }
    }

    fn state(&self) -> &str {
        &self.query["state"]
    }

    /// The browser comes back with this query; `S` stands for the state.
    async fn come_back(&self, query: &str) -> String {
        let target = format!("/callback?{}", query.replace('S', self.state()));
        self.send(&format!("GET {target} HTTP/1.1\r\nHost: x\r\n\r\n")).await
    }

    async fn connect(&self) -> TcpStream {
        let port = Url::parse(&self.query["redirect_uri"]).unwrap().port().unwrap();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap()
    }

    async fn send(&self, request: &str) -> String {
        let mut connection = self.connect().await;
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        // Who sends too much is cut off.
        let _ = connection.read_to_string(&mut answer).await;
        answer
    }
}

/// Somebody in whose world time passes as usual: what the test waits for is an answer, never the time.
async fn patient() -> Person {
    Person { clock: Arc::new(SystemClock), ..Person::new().await }
}

/// Logs in, while the browser does this.
async fn log_in(person: &Person, browse: impl AsyncFnOnce(Page)) -> Result<Value, Failure> {
    let (done, ()) =
        tokio::join!(person.log_in(&BROWSER), async { browse(Page::shown_to(person).await).await });
    done
}

/// Lets the issuer answer with a token for the nonce on the page.
fn grant(person: &Person, page: &Page, change: &Value) {
    let mut claims = person.claims(&json!({ "nonce": page.query["nonce"] }));
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    person.issuer.with(|script| script.tokens = vec![tokens(&claims)]);
}

#[tokio::test]
async fn the_browser_brings_a_code_that_is_exchanged() {
    let person = patient().await;
    let mut challenge = String::new();
    let told = log_in(&person, async |page| {
        for (name, value) in [
            ("kept", "yes"),
            ("response_type", "code"),
            ("client_id", "hallpass"),
            ("scope", "openid profile"),
            ("code_challenge_method", "S256"),
        ] {
            assert_eq!(page.query[name], value, "{name}");
        }
        assert!(page.query["redirect_uri"].starts_with("http://127.0.0.1:"), "{}", page.url);
        assert!(page.query["redirect_uri"].ends_with("/callback"), "{}", page.url);
        assert!(page.state().len() >= 22 && page.query["nonce"].len() >= 22, "128 bits each");
        assert_ne!(page.state(), page.query["nonce"]);
        challenge.clone_from(&page.query["code_challenge"]);
        grant(&person, &page, &json!({}));
        let answer = page.come_back("code=the%2Fcode&state=S&session_state=x").await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains("go on in the terminal"), "{answer}");
        let lower = answer.to_lowercase();
        for header in [
            "cache-control: no-store",
            "default-src 'none'",
            "referrer-policy: no-referrer",
            "connection: close",
        ] {
            assert!(lower.contains(header), "{header} in {answer}");
        }
        assert!(!answer.contains("the/code") && !answer.contains(page.state()), "nothing is repeated");
    })
    .await
    .unwrap();
    assert_eq!(told["name"], "alice");
    let seen = person.issuer.with(|script| script.seen.clone());
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0]["grant_type"].as_str(), seen[0]["code"].as_str()),
        ("authorization_code", "the/code")
    );
    assert_eq!(super::super::browser::challenge(&seen[0]["code_verifier"]), challenge);
    assert!(seen[0]["redirect_uri"].ends_with("/callback") && seen[0]["client_id"] == "hallpass");
    let kept = person.kept().unwrap();
    assert!(kept.starts_with("e30."), "{kept}");
}

#[tokio::test]
async fn whatever_else_comes_changes_nothing() {
    let person = patient().await;
    log_in(&person, async |page| {
        grant(&person, &page, &json!({}));
        for query in [
            "code=evil&state=x",
            "code=evil",
            "error=access_denied&state=x",
            "state=S",
            "code=a&code=b&state=S",
        ] {
            let answer = page.come_back(query).await;
            assert!(
                answer.starts_with("HTTP/1.1 400 ") && answer.contains("not what hallpass waits for"),
                "{answer}"
            );
            assert!(!answer.contains("evil"), "{answer}");
        }
        let state = page.state();
        for (request, status) in [
            (format!("GET /other?code=evil&state={state} HTTP/1.1\r\nHost: x\r\n\r\n"), "404"),
            (
                format!(
                    "POST /callback?code=evil&state={state} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
                ),
                "405",
            ),
            ("\u{16}\u{3}\u{1}\u{2} TLS\r\n\r\n".to_owned(), "400"),
            (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200_000)), ""),
        ] {
            let answer = page.send(&request).await;
            assert!(answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        }
        assert!(page.come_back("code=the-code&state=S").await.starts_with("HTTP/1.1 200 "));
    })
    .await
    .unwrap();
    let seen = person.issuer.with(|script| script.seen.clone());
    assert_eq!(
        (seen.len(), seen[0]["code"].as_str()),
        (1, "the-code"),
        "no other code was ever shown to the issuer"
    );
}

#[tokio::test]
async fn a_flood_and_silent_connections_keep_nobody_out() {
    let person = patient().await;
    log_in(&person, async |page| {
        grant(&person, &page, &json!({}));
        // Browsers open some in advance; they are held until the end.
        let mut silent = Vec::new();
        for _ in 0..50 {
            silent.push(page.connect().await);
        }
        let page = Arc::new(page);
        let mut flood = JoinSet::new();
        for number in 0..300 {
            let page = Arc::clone(&page);
            flood.spawn(async move { page.come_back(&format!("code=evil&state={number}")).await });
        }
        for answer in flood.join_all().await {
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }
        assert!(page.come_back("code=the-code&state=S").await.starts_with("HTTP/1.1 200 "));
    })
    .await
    .unwrap();
    assert_eq!(person.issuer.with(|script| script.seen.len()), 1);
}

#[tokio::test]
async fn one_answer_is_taken_and_the_port_is_closed() {
    let person = patient().await;
    let mut port = 0;
    log_in(&person, async |page| {
        grant(&person, &page, &json!({}));
        port = Url::parse(&page.query["redirect_uri"]).unwrap().port().unwrap();
        page.come_back("code=the-code&state=S").await;
    })
    .await
    .unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err(), "nobody listens any more");
}

#[tokio::test]
async fn a_refusal_is_told_safely() {
    let person = patient().await;
    let failure = log_in(&person, async |page| {
        let words = "error=access_denied&error_description=No%1b%5b2J%0ahint%3a+run+this&state=S";
        page.come_back(words).await;
    })
    .await
    .unwrap_err();
    assert_eq!(
        failure.text(),
        "error: the identity provider refused the login: access_denied\n  No\\u{1b}[2J hint: run this"
    );
    assert_eq!(person.kept(), None);
    assert!(person.issuer.with(|script| script.seen.is_empty()));
}

#[tokio::test]
async fn a_token_from_another_login_is_not_kept() {
    for change in
        [json!({ "nonce": "another" }), json!({ "nonce": null }), json!({ "iss": "https://evil.example" })]
    {
        let person = patient().await;
        let failure = log_in(&person, async |page| {
            grant(&person, &page, &change);
            page.come_back("code=c&state=S").await;
        })
        .await
        .unwrap_err();
        assert!(failure.message.contains("ID token is"), "{failure:?}");
        assert_eq!(person.kept(), None, "{change}");
    }
}

#[tokio::test]
async fn an_answer_says_who_gives_it_if_the_issuer_always_does() {
    for (always, iss, is_good) in [
        (true, "ISSUER", true),
        (false, "ISSUER", true),
        (true, "", false),
        (false, "", true),
        (false, "https://evil.example", false),
    ] {
        let person = patient().await;
        person.issuer.with(|script| {
            script.document["authorization_response_iss_parameter_supported"] = json!(always);
        });
        let iss = iss.replace("ISSUER", &person.issuer.url);
        let done = log_in(&person, async |page| {
            grant(&person, &page, &json!({}));
            page.come_back(&format!("code=c&state=S&iss={iss}")).await;
        })
        .await;
        assert_eq!((done.is_ok(), person.kept().is_some()), (is_good, is_good), "{always} {iss}");
        let shown = person.issuer.with(|script| script.seen.len());
        assert_eq!(shown, usize::from(is_good), "a code of another issuer isn't shown to this one");
    }
}

#[tokio::test]
async fn it_doesnt_wait_for_ever() {
    let person = Person::new().await;
    let failure = person.log_in(&[&BROWSER[..], &["--wait-timeout", "3m"]].concat()).await.unwrap_err();
    assert_eq!((failure.exit, person.kept()), (Exit::TimedOut, None));
    assert_eq!(*person.leaping.pauses.lock().unwrap(), [180]);
}

#[tokio::test]
async fn the_way_back_can_be_chosen_and_a_taken_port_is_an_error() {
    let person = Person::new().await;
    let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let words = [&BROWSER[..], &["--callback-host", "localhost", "--callback-port", &port]].concat();
    let failure = person.log_in(&words).await.unwrap_err();
    assert!(failure.hint.unwrap().contains("--callback-port") && person.notes.text().is_empty());
    drop(holder);
    person.log_in(&words).await.unwrap_err();
    let page = Page::shown_to(&person).await;
    assert_eq!(page.query["redirect_uri"], format!("http://localhost:{port}/callback"));
}
