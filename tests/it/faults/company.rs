//! A company whose daemon reaches Vault through the proxy, and what is asked of OpenBao and PostgreSQL about it.

use std::time::Duration;

use hallpass::wire::{ClaimGrantResponse, Grant, GrantState, Request};

use crate::support::{
    people::{Credential, Person},
    servers::{Proxy, eventually},
    world::{Wishes, World},
};

/// Far longer than a test, so that nothing ends but by what the test does.
const WINDOW: Duration = Duration::from_mins(20);
/// What PostgreSQL's engine adds to the end that it is told, in seconds, and one for rounding.
const SLACK: f64 = 6.0;

pub struct Company {
    pub world: World,
    pub alice: Person,
    olivia: Person,
    audrey: Person,
    /// One connection for all questions, because logging in takes longer than anything that is asked.
    database: tokio_postgres::Client,
}

impl Company {
    pub async fn start() -> Self {
        Self::with_timeout("10s").await
    }

    /// One whose daemon gives a call to Vault so long.
    pub async fn with_timeout(timeout: &'static str) -> Self {
        let world = World::with(Wishes { through_proxy: true, timeout, ..Wishes::default() }).await;
        let alice = world.person("alice").await;
        let (olivia, audrey) = (world.person("olivia").await, world.person("audrey").await);
        // What the daemon does at its start is no part of what follows.
        eventually("the first reconciliation is over", async || {
            !world.audit("ReconciliationDone").await.is_empty()
        })
        .await;
        let database = world.postgres.connect_as_superuser("postgres").await;
        Self { world, alice, olivia, audrey, database }
    }

    pub fn proxy(&self) -> &Proxy {
        self.world.proxy()
    }

    pub async fn approved(&mut self) -> Request {
        let request = self.alice.submit(WINDOW, "order 4711 is stuck").await.unwrap();
        self.olivia.approve(&request, "fine").await.unwrap()
    }

    /// A grant that is held, still wrapped.
    pub async fn claimed(&mut self) -> ClaimGrantResponse {
        let request = self.approved().await;
        self.alice.claim(&request).await.unwrap()
    }

    /// The grants of a request, the oldest first.
    pub async fn grants(&mut self, request: &Request) -> Vec<Grant> {
        self.audrey.exception(request).await.unwrap().grants
    }

    /// A claim's credential lets its holder in, and not for longer than the window.
    pub async fn opens(&self, claimed: &ClaimGrantResponse, row: &str) -> Credential {
        let credential = self.alice.unwrap(claimed).await;
        assert!(self.lets_in(&credential).await, "{row}: the credential works");
        let query = "SELECT extract(epoch FROM rolvaliduntil)::float8 FROM pg_roles WHERE rolname = $1";
        let until: f64 = self.database.query_one(query, &[&credential.username]).await.unwrap().get(0);
        let closes_at = claimed.grant.as_ref().unwrap().closes_at.unwrap();
        let closes_at = f64::from(u32::try_from(closes_at.seconds).unwrap());
        assert!(
            until <= closes_at + SLACK,
            "{row}: valid until {until}, and the window closes at {closes_at}"
        );
        credential
    }

    pub async fn lets_in(&self, credential: &Credential) -> bool {
        let (user, password) = (&credential.username, &credential.password);
        self.world.postgres.connect(user, password, &self.world.database()).await.is_ok()
    }

    /// The accounts that grants made.
    pub async fn accounts(&self) -> Vec<String> {
        let query = "SELECT rolname FROM pg_roles JOIN pg_auth_members ON pg_roles.oid = member \
                     WHERE roleid = $1::text::regrole";
        let rows = self.database.query(query, &[&self.world.database()]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }

    /// The account that a grant made, if it is there.
    pub async fn account(&self, grant: &Grant) -> Option<String> {
        let id = grant.name.strip_prefix("grants/").unwrap();
        self.accounts().await.into_iter().find(|account| account.starts_with(&format!("token-{id}-")))
    }

    /// The leases below the credential path, those of wrapping tokens left out.
    pub async fn leases(&self) -> Vec<String> {
        let path = format!("sys/leases/lookup/{}", self.world.credential_path());
        let list = self.world.bao.list(&path).await;
        let keys = list["data"]["keys"].as_array().cloned().unwrap_or_default();
        let keys = keys.iter().map(|key| key.as_str().unwrap().to_owned());
        keys.filter(|key| !(key.starts_with('h') && key.len() > 64)).collect()
    }

    /// Waits until neither OpenBao nor PostgreSQL has anything of any grant.
    pub async fn has_nothing_left(&self, row: &str) {
        eventually(&format!("{row}: no account and no lease is left"), async || {
            self.accounts().await.is_empty() && self.leases().await.is_empty()
        })
        .await;
    }

    /// How a grant stands now. One that says REVOKED has no account.
    pub async fn look_at(&mut self, grant: &Grant, row: &str) -> Grant {
        let seen = self.alice.grant(&grant.name).await.unwrap();
        if matches!(seen.state(), GrantState::Revoked | GrantState::Failed) {
            let account = self.account(grant).await;
            assert_eq!(account, None, "{row}: {}", seen.state().as_str_name());
        }
        seen
    }

    /// Waits until a grant is in a state, and looks each time whether what it says is true.
    pub async fn comes_to(&mut self, grant: &Grant, state: GrantState, row: &str) -> Grant {
        let mut seen = grant.clone();
        eventually(&format!("{row}: {} is {}", grant.name, state.as_str_name()), async || {
            seen = self.look_at(grant, row).await;
            seen.state() == state
        })
        .await;
        seen
    }

    /// The holder is done, and then nothing is left.
    pub async fn releases(&mut self, grant: &Grant, row: &str) {
        self.alice.release(grant).await.unwrap();
        self.comes_to(grant, GrantState::Revoked, row).await;
        self.has_nothing_left(row).await;
    }
}
