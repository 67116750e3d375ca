//! The page to log in at: named in the terminal, opened in a browser if there is one, and waited for.
//!
//! The browser is started without a shell, and not waited for. The page's address is no secret: whoever reads it (argument
//! lists can be read) still lacks what exchanges the code.

use std::{
    env,
    os::unix::process::CommandExt,
    process::{Command, Stdio},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use url::Url;

use super::{
    super::{
        App,
        error::{Exit, Failure},
        time,
    },
    args::LoginArgs,
    callback::{Answer, Listener},
};

/// 128 random bits, as text: a state, a nonce, or half of a verifier.
#[must_use]
pub fn unguessable(app: &App) -> String {
    URL_SAFE_NO_PAD.encode(app.clock.random().to_le_bytes())
}

/// Has somebody log in at the page, and waits for the browser to come back.
///
/// # Errors
///
/// If the login is refused, or takes too long.
pub async fn visit(
    app: &App,
    args: &LoginArgs,
    listener: &Listener,
    page: &Url,
    state: &str,
) -> Result<Answer, Failure> {
    let wait = time::length(args.wait());
    let text = format!(
        "To log in, open this page in a browser on this machine:\n\n  {page}\n\nWaiting for it, for {wait} at most; \
         Ctrl-C gives up."
    );
    app.out.ask_to_act(&text, &json!({ "login": { "page": page.as_str() } }));
    if !args.no_browser {
        open(app, page);
    }
    tokio::select! {
        answer = listener.answer(state, &app.clock) => answer,
        () = app.clock.sleep(args.wait()) => Err(too_late()),
    }
}

/// Nobody has logged in in time.
#[must_use]
pub fn too_late() -> Failure {
    Failure::new(Exit::TimedOut, "nobody finished the login in time")
        .hint("run `hallpass login` again; `--wait-timeout` says how long it waits")
}

/// Whether a browser on this machine is likely to be the person's: not if he is on another one, by SSH.
#[must_use]
pub fn is_browser_here(variable: &dyn Fn(&str) -> Option<String>) -> bool {
    let is_remote = variable("SSH_CONNECTION").is_some_and(|value| !value.is_empty());
    !is_remote && !openers(variable).is_empty()
}

/// A variable of this process.
#[must_use]
pub fn of_process(name: &str) -> Option<String> {
    env::var(name).ok()
}

fn open(app: &App, page: &Url) {
    let openers = openers(&of_process);
    if !openers.is_empty() && !openers.iter().any(|words| start(words, page)) {
        app.out.note("no browser can be started here; please open the page yourself");
    }
}

/// The commands that may open a page, the best one first: those in `BROWSER` (with `:` between), then the desktop's own.
fn openers(variable: &dyn Fn(&str) -> Option<String>) -> Vec<Vec<String>> {
    let browser = variable("BROWSER").unwrap_or_default();
    let named = browser.split(':').map(|words| words.split_whitespace().map(str::to_owned).collect());
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|name| variable(name).is_some_and(|value| !value.is_empty()));
    let desktop = if cfg!(target_os = "macos") { Some("open") } else { has_screen.then_some("xdg-open") };
    let desktop = desktop.map(|program| vec![program.to_owned()]);
    named.chain(desktop).filter(|words: &Vec<String>| !words.is_empty()).collect()
}

/// The page stands where the command has `%s`, or at its end.
fn start(words: &[String], page: &Url) -> bool {
    let page = page.as_str();
    let at_the_end = if words.iter().any(|word| word.contains("%s")) { None } else { Some(page.to_owned()) };
    let mut words = words.iter().map(|word| word.replace("%s", page)).chain(at_the_end);
    let Some(program) = words.next() else { return false };
    let mut command = Command::new(program);
    command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // Of a group of its own, so that Ctrl-C here doesn't close the browser.
    command.process_group(0).spawn().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openers_with(variables: &[(&str, &str)]) -> Vec<Vec<String>> {
        with(variables, openers)
    }

    fn with<T>(variables: &[(&str, &str)], ask: impl Fn(&dyn Fn(&str) -> Option<String>) -> T) -> T {
        ask(&|name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    #[cfg(not(target_os = "macos"))]
    fn a_browser_is_the_named_one_or_the_desktops() {
        assert_eq!(openers_with(&[]), Vec::<Vec<String>>::new());
        assert_eq!(openers_with(&[("DISPLAY", ""), ("BROWSER", "")]), Vec::<Vec<String>>::new());
        assert_eq!(openers_with(&[("WAYLAND_DISPLAY", "wayland-0")]), [["xdg-open"]]);
        let both = openers_with(&[("BROWSER", "my-browser --new %s:other"), ("DISPLAY", ":0")]);
        assert_eq!(both, [vec!["my-browser", "--new", "%s"], vec!["other"], vec!["xdg-open"]]);
    }

    #[test]
    fn a_browser_at_the_other_end_of_ssh_isnt_here() {
        assert!(with(&[("BROWSER", "x")], is_browser_here));
        assert!(!with(&[("BROWSER", "x"), ("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22")], is_browser_here));
        assert!(cfg!(target_os = "macos") || !with(&[], is_browser_here));
    }

    #[test]
    fn a_page_is_one_word_and_no_shell_sees_it() {
        let dir = tempfile::tempdir().unwrap();
        let said = dir.path().join("said");
        let page = Url::parse("https://login.example/?a=$(id)&b=`id`;'x'").unwrap();
        // A link to the whole address: `ln` is the simplest program that writes down an argument as it is.
        let words = ["ln", "-s", "%s", said.to_str().unwrap()].map(str::to_owned);
        assert!(start(&words, &page));
        while std::fs::read_link(&said).is_err() {
            std::thread::yield_now();
        }
        assert_eq!(std::fs::read_link(&said).unwrap().to_str().unwrap(), page.as_str());
        assert!(!start(&["/no/such/browser".to_owned()], &page));
    }
}
