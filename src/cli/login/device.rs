//! The device login (RFC 8628): the person logs in with any browser, on whatever machine, and types a code there, while
//! this side asks again and again whether it is done.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::{
    super::{App, error::Failure, escape, time},
    args::LoginArgs,
    id_token,
    issuer::{Issuer, IssuerError},
    page,
};

/// The pause between two questions if the issuer doesn't say (section 3.2), and what `slow_down` adds (section 3.5).
const PAUSE: Duration = Duration::from_secs(5);
/// The least pause, whatever the issuer says: nobody types a code in less.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause, whatever the issuer says: somebody waits.
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// The longest code that is shown. They are meant to be typed.
const CODE_MAX_CHARS: usize = 64;
const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// What the issuer offers (section 3.2).
#[derive(Deserialize)]
struct Offer {
    device_code: SecretString,
    user_code: String,
    verification_uri: Url,
    verification_uri_complete: Option<Url>,
    expires_in: u64,
    interval: Option<u64>,
}

/// Logs in, and answers with the ID token.
///
/// # Errors
///
/// If the person or the issuer refuses, or it takes too long.
pub async fn log_in(app: &App, args: &LoginArgs, issuer: &Issuer) -> Result<SecretString, Failure> {
    let offer: Offer = issuer.device_login(args.issuer.scope()).await?;
    let begun_at = app.clock.elapsed();
    let wait = args.wait().min(Duration::from_secs(offer.expires_in));
    show(app, issuer, &offer, wait)?;
    let token = poll(app, issuer, &offer, begun_at.saturating_add(wait)).await?;
    // The device login has no nonce: what ties token and login together is the device code, which nobody else was given.
    id_token::check(&token, issuer, None)?;
    Ok(token)
}

/// Shows where to go and what to type. The address must be as safe as the issuer's, because somebody types a password
/// there.
fn show(app: &App, issuer: &Issuer, offer: &Offer, wait: Duration) -> Result<(), Failure> {
    let code = escape::line(offer.user_code.trim());
    if code.is_empty() || code.chars().count() > CODE_MAX_CHARS {
        return Err(IssuerError::Malformed("its code is none that could be typed").failure());
    }
    if !issuer.trusts(&offer.verification_uri) {
        return Err(IssuerError::Malformed("the page to log in at isn't safe").failure());
    }
    let page = offer.verification_uri.as_str();
    let filled_in = offer.verification_uri_complete.as_ref().filter(|url| issuer.trusts(url));
    let instead = filled_in
        .map(|url| format!("\nor open this one and check that it shows the same code:\n\n  {url}\n"));
    let text = format!(
        "To log in, open this page in any browser:\n\n  {page}\n\nand type this code there:\n\n  {code}\n{instead}\n\
         Waiting for it, for {wait} at most; Ctrl-C gives up.",
        instead = instead.unwrap_or_default(),
        wait = time::length(wait),
    );
    let mut object = json!({ "page": page, "code": code, "expiresInSeconds": wait.as_secs() });
    if let (Some(object), Some(filled_in)) = (object.as_object_mut(), filled_in) {
        object.insert("pageWithCode".into(), json!(filled_in.as_str()));
    }
    app.out.ask_to_act(&text, &json!({ "login": object }));
    Ok(())
}

/// Asks until there is an answer, or the time is over.
async fn poll(app: &App, issuer: &Issuer, offer: &Offer, ends_at: Duration) -> Result<SecretString, Failure> {
    let form = [("grant_type", GRANT), ("device_code", offer.device_code.expose_secret())];
    let pause = offer.interval.map_or(PAUSE, Duration::from_secs);
    let mut pause = pause.clamp(PAUSE_MIN, PAUSE_MAX);
    loop {
        let left = ends_at.saturating_sub(app.clock.elapsed());
        if left.is_zero() {
            return Err(page::too_late());
        }
        app.clock.sleep(pause.min(left)).await;
        let error = match issuer.id_token(&form).await {
            Ok(token) => return Ok(token),
            Err(error) => error,
        };
        pause = next_pause(&error, pause).ok_or_else(|| refused(&error))?;
    }
}

/// How long to wait before the next question, if there is any point in one. Section 3.5: an issuer that can't be reached
/// is left in peace for longer and longer.
fn next_pause(error: &IssuerError, pause: Duration) -> Option<Duration> {
    let next = match error {
        IssuerError::Unavailable(_) => pause * 2,
        IssuerError::Refused { code, .. } if code == "authorization_pending" => pause,
        IssuerError::Refused { code, .. } if code == "slow_down" => pause + PAUSE,
        IssuerError::Refused { .. } | IssuerError::Malformed(_) => return None,
    };
    Some(next.min(PAUSE_MAX))
}

fn refused(error: &IssuerError) -> Failure {
    match error {
        IssuerError::Refused { code, .. } if code == "expired_token" => page::too_late(),
        IssuerError::Refused { code, .. } if code == "access_denied" => {
            let failure = Failure {
                message: "the login was refused at the identity provider".into(),
                ..error.failure()
            };
            failure.hint("run `hallpass login` again, unless it was you who refused")
        }
        _ => error.failure(),
    }
}
