//! Whoever connects to the Unix socket: the kernel says which user's process did, and the configuration says who that is.
//!
//! Which groups a user is in is asked of the system's user database, at each call, by the user's id. The groups that the
//! process itself has are not believed: a program that is set-gid lends its group to whoever runs it, and a session that
//! began yesterday keeps the groups of yesterday.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::CString,
    io,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::{Verified, error::IdentityError};
use crate::{
    access::actor::{Caller, Person},
    clock::Clock,
};

/// What the subjects of people who come in by the socket begin with, without the `:`.
pub const SOCKET_SOURCE: &str = "socket";

/// Whom the kernel shows for every user that doesn't exist where it is asked: processes of other user namespaces.
pub const NOBODY: u32 = 65_534;

/// How many look-ups run at once. The database may be a directory far away, and each holds a thread.
const LOOK_UPS_MAX: usize = 8;
/// How long a look-up may take; a caller waits for it.
const LOOK_UP_TIMEOUT: Duration = Duration::from_secs(5);

/// Who may come in by the socket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SocketSettings {
    /// The person's name by the user's id or name. Users that aren't here don't come in.
    pub people: BTreeMap<String, String>,
    /// For each group the system's groups, by their ids or names, whose members are in it.
    pub groups: BTreeMap<String, BTreeSet<String>>,
}

/// Says who a user is.
#[derive(Debug)]
pub(super) struct Socket {
    settings: SocketSettings,
    look_ups: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

/// What the system's user database says of a user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Account {
    user: Option<String>,
    /// The ids and the names of the groups.
    groups: BTreeSet<String>,
}

impl Socket {
    pub(super) fn new(settings: SocketSettings, clock: Arc<dyn Clock>) -> Self {
        Self { settings, look_ups: Arc::new(Semaphore::new(LOOK_UPS_MAX)), clock }
    }

    /// Who the user is, as of now.
    pub(super) async fn verify(&self, uid: u32) -> Result<Verified, IdentityError> {
        if uid == NOBODY {
            return Err(IdentityError::User);
        }
        let account = tokio::select! {
            account = self.account(uid) => account?,
            () = self.clock.sleep(LOOK_UP_TIMEOUT) => return Err(IdentityError::UsersUnavailable),
        };
        let caller = self.settings.caller(uid, &account).ok_or(IdentityError::User)?;
        // The user is looked up again at each call, and now and then while a stream lasts; there is no time to end it at.
        Ok(Verified { caller, expires_at: DateTime::<Utc>::MAX_UTC })
    }

    async fn account(&self, uid: u32) -> Result<Account, IdentityError> {
        let place = Arc::clone(&self.look_ups).acquire_owned().await;
        // The thread keeps its place for as long as it is stuck, whoever still waits for it.
        let looked_up = spawn_blocking(move || {
            let _place = place;
            look_up(uid)
        });
        match looked_up.await {
            Ok(Ok(account)) => Ok(account),
            Ok(Err(error)) => {
                tracing::error!(
                    event.action = "user-looked-up",
                    event.outcome = "failure",
                    client.address = format!("uid {uid}"),
                    error = &error as &dyn std::error::Error,
                    "the system's user database doesn't answer"
                );
                Err(IdentityError::UsersUnavailable)
            }
            Err(_) => Err(IdentityError::UsersUnavailable),
        }
    }
}

impl SocketSettings {
    fn caller(&self, uid: u32, account: &Account) -> Option<Caller> {
        // The id goes before the name, since several names may stand for one id.
        let by_name = || account.user.as_ref().and_then(|user| self.people.get(user));
        let name = self.people.get(&uid.to_string()).or_else(by_name)?.clone();
        let groups = self.groups.iter().filter(|(_, members)| !members.is_disjoint(&account.groups));
        let groups = groups.map(|(group, _)| group.clone()).collect();
        Some(Caller { person: Person { subject: format!("{SOCKET_SOURCE}:{name}"), name }, groups })
    }
}

/// Asks the user database, which blocks.
fn look_up(uid: u32) -> io::Result<Account> {
    let Some(user) = User::from_uid(Uid::from_raw(uid))? else { return Ok(Account::default()) };
    let name = CString::new(user.name.as_str())?;
    let mut groups = BTreeSet::new();
    for gid in getgrouplist(&name, user.gid)? {
        groups.insert(gid.to_string());
        groups.extend(name_of(gid)?);
    }
    Ok(Account { user: Some(user.name).filter(|name| is_name(name)), groups })
}

/// An entry of digits in the configuration is an id, whatever a user or a group calls itself.
fn is_name(name: &str) -> bool {
    !name.chars().all(|c| c.is_ascii_digit())
}

fn name_of(gid: Gid) -> io::Result<Option<String>> {
    Ok(Group::from_gid(gid)?.map(|group| group.name).filter(|name| is_name(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> SocketSettings {
        let set = |entries: &[&str]| entries.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
        SocketSettings {
            people: [("1000", "alice"), ("olivia", "olivia"), ("1002", "alice")]
                .map(|(user, name)| (user.to_owned(), name.to_owned()))
                .into(),
            groups: [("developers", set(&["dev", "200"])), ("leads", set(&["lead"]))]
                .map(|(group, members)| (group.to_owned(), members))
                .into(),
        }
    }

    fn account(user: Option<&str>, groups: &[&str]) -> Account {
        let groups = groups.iter().map(ToString::to_string).collect();
        Account { user: user.map(str::to_owned), groups }
    }

    fn who(uid: u32, account: &Account) -> Option<(String, Vec<String>)> {
        settings()
            .caller(uid, account)
            .map(|caller| (caller.person.subject, caller.groups.into_iter().collect()))
    }

    #[test]
    fn listed_users_are_people_and_others_are_nobody() {
        let developers = vec!["developers".to_owned()];
        assert_eq!(who(1000, &account(None, &[])), Some(("socket:alice".to_owned(), vec![])));
        assert_eq!(
            who(1000, &account(Some("a"), &["dev"])),
            Some(("socket:alice".to_owned(), developers.clone()))
        );
        assert_eq!(who(1002, &account(None, &["200"])), Some(("socket:alice".to_owned(), developers)));
        let lead = account(Some("olivia"), &["lead", "100"]);
        assert_eq!(who(1001, &lead), Some(("socket:olivia".to_owned(), vec!["leads".to_owned()])));
        assert_eq!(who(1003, &account(Some("mallory"), &["dev", "lead"])), None);
        assert_eq!(who(0, &account(Some("root"), &["dev"])), None, "root is nobody unless it is listed");
    }

    #[test]
    fn a_name_of_digits_is_no_id() {
        assert!(!is_name("1000") && is_name("u1000") && is_name("1000x"));
    }

    #[test]
    fn the_user_database_is_asked() {
        let root = look_up(0).unwrap();
        assert_eq!(root.user.as_deref(), Some("root"));
        assert!(root.groups.contains("0") && root.groups.contains("root"), "{root:?}");
        assert_eq!(look_up(4_000_000_000).unwrap(), Account::default());
    }

    #[tokio::test]
    async fn users_of_other_namespaces_are_nobody_even_if_nobody_is_listed() {
        let people =
            [(NOBODY.to_string(), "nobody".to_owned()), ("nobody".to_owned(), "nobody".to_owned())].into();
        let clock = Arc::new(crate::clock::ManualClock::new(DateTime::UNIX_EPOCH));
        let socket = Socket::new(SocketSettings { people, groups: BTreeMap::new() }, clock);
        assert_eq!(socket.verify(NOBODY).await, Err(IdentityError::User));
        assert_eq!(socket.verify(4_000_000_000).await, Err(IdentityError::User));
    }
}
