//! Every method, called as every kind of actor over a real connection, against the table in `docs/authorization.md`. A
//! method that comes gets a case here and a row there, or this doesn't compile, or fails.

use std::{collections::BTreeMap, time::Duration};

use hallpass::{
    access::{policy::Policy, target::Target},
    clock::Clock,
    ledger::{
        checkpoint::{Checkpoint as Statement, Signed},
        note::SigningKey,
        tree::Hash,
    },
    store::{Checkpoint, Store, Write},
    wire::{
        AddCosignatureRequest, ApproveRequestRequest, ClaimGrantRequest, DenyRequestRequest,
        FreezeTargetsRequest, GetCheckpointRequest, GetExceptionRequest, GetGrantRequest, GetRequestRequest,
        GetStatusRequest, GetTargetRequest, Grant, ListExceptionsRequest, ListFreezesRequest,
        ListGrantsRequest, ListLeavesRequest, ListRequestsRequest, ListTargetsRequest, Method,
        ProveConsistencyRequest, ProveInclusionRequest, ReleaseGrantRequest, Request, RevokeGrantRequest,
        SubmitRequestRequest, SummarizeExceptionsRequest, ThawTargetsRequest, WatchRequestsRequest,
        WithdrawRequestRequest, daemon_service_client::DaemonServiceClient,
        exception_service_client::ExceptionServiceClient, freeze_service_client::FreezeServiceClient,
        grant_service_client::GrantServiceClient, ledger_service_client::LedgerServiceClient,
    },
};
use tonic::{Code, Request as Call, Status};

use crate::{
    support::sim::{ORIGIN, Sim, TARGETS, policy, witness_key},
    wire::Served,
};

const TABLE: &str = include_str!("../../docs/authorization.md");
const TARGET: &str = "targets/orders-ro";

/// Somebody, by his groups. Those who own what is asked about do so under their own name.
#[derive(Clone, Copy)]
struct Actor {
    column: &'static str,
    name: &'static str,
    groups: &'static [&'static str],
    owns: bool,
}

const ACTORS: [Actor; 8] = [
    Actor { column: "owner", name: "dana", groups: &["developers"], owns: true },
    Actor { column: "another requester", name: "carl", groups: &["developers"], owns: false },
    Actor { column: "approver", name: "olivia", groups: &["operations-leads"], owns: false },
    Actor {
        column: "approver, his own",
        name: "sally",
        groups: &["developers", "operations-leads"],
        owns: true,
    },
    Actor { column: "auditor", name: "audrey", groups: &["auditors"], owns: false },
    Actor { column: "operator", name: "otto", groups: &["operators"], owns: false },
    Actor {
        column: "of another target",
        name: "paula",
        groups: &["payroll-developers", "payroll-leads"],
        owns: false,
    },
    Actor { column: "no role", name: "nick", groups: &["strangers"], owns: false },
];

/// A daemon in which one target is other people's.
async fn served() -> Served {
    let mut sim = Sim::start().await;
    let mut policy: Policy = policy(&TARGETS);
    let payroll = policy.targets.get_mut(&TARGETS[1].parse().unwrap()).unwrap();
    let group = |name: &str| std::collections::BTreeSet::from([name.to_owned()]).into();
    *payroll = Target {
        requesters: group("payroll-developers"),
        approvers: group("payroll-leads"),
        ..payroll.clone()
    };
    sim.configure(policy).await;
    Served::over(sim, None).await
}

/// One cell's world: who calls, and what is asked about.
struct Cell<'a> {
    served: &'a Served,
    actor: Actor,
    /// Without a token, if it is to be refused at the door.
    anonymous: bool,
}

/// What the answer means for the table.
fn outcome<T>(answer: Result<T, Status>) -> String {
    match answer.map_err(|status| status.code()) {
        Ok(_) => "yes".to_owned(),
        Err(Code::PermissionDenied) => "denied".to_owned(),
        Err(Code::NotFound) => "hidden".to_owned(),
        Err(Code::Unauthenticated) => "unauthenticated".to_owned(),
        Err(other) => format!("{other:?}"),
    }
}

impl Cell<'_> {
    fn as_actor<T>(&self, message: T) -> Call<T> {
        if self.anonymous {
            Call::new(message)
        } else {
            self.served.call(self.actor.name, self.actor.groups, message)
        }
    }

    fn owner<T>(&self, message: T) -> Call<T> {
        let owner = if self.actor.owns { self.actor } else { ACTORS[0] };
        self.served.call(owner.name, owner.groups, message)
    }

    fn by<T>(&self, nth: usize, message: T) -> Call<T> {
        self.served.call(ACTORS[nth].name, ACTORS[nth].groups, message)
    }

    fn ask() -> SubmitRequestRequest {
        SubmitRequestRequest {
            target: TARGET.to_owned(),
            duration: Some(Duration::from_mins(10).try_into().unwrap()),
            reason: "order 4711 is stuck".to_owned(),
            ..SubmitRequestRequest::default()
        }
    }

    async fn pending(&self) -> Request {
        self.served.requests().submit_request(self.owner(Self::ask())).await.unwrap().into_inner()
    }

    async fn approved(&self) -> Request {
        let Request { name, digest, .. } = self.pending().await;
        let approval =
            ApproveRequestRequest { name, digest, statement: "fine".to_owned(), ..Default::default() };
        self.served.requests().approve_request(self.by(2, approval)).await.unwrap().into_inner()
    }

    async fn held(&self) -> Grant {
        let claim = ClaimGrantRequest { request: self.approved().await.name, reissue: false };
        self.grants().claim_grant(self.owner(claim)).await.unwrap().into_inner().grant.unwrap()
    }

    /// Makes sure that something is recorded and said of it.
    async fn signed(&self) -> Signed {
        self.pending().await;
        let store = &self.served.sim.store;
        let size = store.last_sequence().await.unwrap().unsigned_abs();
        let (root, signed_at) = (Hash::of_nothing(), self.served.sim.clock.now());
        let key = SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap();
        let signed = Signed::sign(Statement::new(ORIGIN, size, root).unwrap(), &key).unwrap();
        let checkpoint = Checkpoint { size, root, note: signed.to_string(), signed_at };
        store.commit(&[Write::Checkpoint(&checkpoint)]).await.unwrap();
        signed
    }

    async fn frozen(&self) {
        let reason = "a breach".to_owned();
        let freeze = FreezeTargetsRequest { target: TARGET.to_owned(), reason, end_grants: false };
        self.freezes().freeze_targets(self.by(5, freeze)).await.unwrap();
    }

    async fn thawed(&self) {
        let thaw = ThawTargetsRequest { target: TARGET.to_owned(), reason: "it is over".to_owned() };
        // What the actor thawed is thawed.
        drop(self.freezes().thaw_targets(self.by(5, thaw)).await);
    }

    fn grants(&self) -> GrantServiceClient<tonic::transport::Channel> {
        GrantServiceClient::new(self.served.channel())
    }

    fn exceptions(&self) -> ExceptionServiceClient<tonic::transport::Channel> {
        ExceptionServiceClient::new(self.served.channel())
    }

    fn ledger(&self) -> LedgerServiceClient<tonic::transport::Channel> {
        LedgerServiceClient::new(self.served.channel())
    }

    fn freezes(&self) -> FreezeServiceClient<tonic::transport::Channel> {
        FreezeServiceClient::new(self.served.channel())
    }

    /// The rows of a method with what came out. Of a list also whether it shows what the actor may read one by one.
    async fn rows(&self, method: Method) -> Vec<(String, String)> {
        let name = format!("`{method:?}`");
        match method {
            Method::WatchRequests => {
                let one = self.watch(self.pending().await.name).await;
                let all = self.watch(String::new()).await;
                vec![(format!("{name} (one)"), one), (format!("{name} (all)"), all)]
            }
            _ => vec![(name, self.outcome(method).await)],
        }
    }

    async fn watch(&self, name: String) -> String {
        let watch = WatchRequestsRequest { name, after_sequence: None };
        outcome(self.served.requests().watch_requests(self.as_actor(watch)).await)
    }

    #[expect(clippy::too_many_lines, reason = "a case for each method, to be read as a table")]
    async fn outcome(&self, method: Method) -> String {
        let (served, target) = (self.served, TARGET.to_owned());
        let (reason, statement) = ("because".to_owned(), "fine".to_owned());
        match method {
            Method::ListTargets => {
                outcome(served.targets().list_targets(self.as_actor(ListTargetsRequest::default())).await)
            }
            Method::GetTarget => {
                let get = GetTargetRequest { name: target };
                outcome(served.targets().get_target(self.as_actor(get)).await)
            }
            Method::SubmitRequest => {
                outcome(served.requests().submit_request(self.as_actor(Self::ask())).await)
            }
            Method::GetRequest => {
                let get = GetRequestRequest { name: self.pending().await.name };
                outcome(served.requests().get_request(self.as_actor(get)).await)
            }
            Method::ListRequests => {
                outcome(served.requests().list_requests(self.as_actor(ListRequestsRequest::default())).await)
            }
            Method::WithdrawRequest => {
                let withdraw = WithdrawRequestRequest { name: self.pending().await.name };
                outcome(served.requests().withdraw_request(self.as_actor(withdraw)).await)
            }
            Method::ApproveRequest => {
                let Request { name, digest, .. } = self.pending().await;
                let approval = ApproveRequestRequest { name, digest, statement, ..Default::default() };
                outcome(served.requests().approve_request(self.as_actor(approval)).await)
            }
            Method::DenyRequest => {
                let Request { name, digest, .. } = self.pending().await;
                let denial = DenyRequestRequest { name, digest, statement };
                outcome(served.requests().deny_request(self.as_actor(denial)).await)
            }
            Method::WatchRequests => self.watch(String::new()).await,
            Method::ClaimGrant => {
                let claim = ClaimGrantRequest { request: self.approved().await.name, reissue: false };
                outcome(self.grants().claim_grant(self.as_actor(claim)).await)
            }
            Method::ReleaseGrant => {
                let release = ReleaseGrantRequest { name: self.held().await.name, wrapping_opened: false };
                outcome(self.grants().release_grant(self.as_actor(release)).await)
            }
            Method::RevokeGrant => {
                let revoke = RevokeGrantRequest { name: self.held().await.name, reason };
                outcome(self.grants().revoke_grant(self.as_actor(revoke)).await)
            }
            Method::GetGrant => {
                let get = GetGrantRequest { name: self.held().await.name };
                outcome(self.grants().get_grant(self.as_actor(get)).await)
            }
            Method::ListGrants => {
                outcome(self.grants().list_grants(self.as_actor(ListGrantsRequest::default())).await)
            }
            Method::GetException => {
                let name = self.pending().await.name.replace("requests/", "exceptions/");
                outcome(self.exceptions().get_exception(self.as_actor(GetExceptionRequest { name })).await)
            }
            Method::SummarizeExceptions => {
                let count = self.as_actor(SummarizeExceptionsRequest::default());
                outcome(self.exceptions().summarize_exceptions(count).await)
            }
            Method::ListExceptions => {
                let list = ListExceptionsRequest::default();
                outcome(self.exceptions().list_exceptions(self.as_actor(list)).await)
            }
            Method::FreezeTargets => {
                let freeze = FreezeTargetsRequest { target, reason, end_grants: false };
                let outcome = outcome(self.freezes().freeze_targets(self.as_actor(freeze)).await);
                self.thawed().await;
                outcome
            }
            Method::ThawTargets => {
                self.frozen().await;
                let thaw = ThawTargetsRequest { target, reason };
                let outcome = outcome(self.freezes().thaw_targets(self.as_actor(thaw)).await);
                self.thawed().await;
                outcome
            }
            Method::ListFreezes => {
                outcome(self.freezes().list_freezes(self.as_actor(ListFreezesRequest {})).await)
            }
            Method::GetCheckpoint => {
                self.signed().await;
                let get = GetCheckpointRequest { size_min: 1 };
                outcome(self.ledger().get_checkpoint(self.as_actor(get)).await)
            }
            Method::ListLeaves => {
                outcome(self.ledger().list_leaves(self.as_actor(ListLeavesRequest::default())).await)
            }
            Method::ProveInclusion => {
                self.pending().await;
                let prove = ProveInclusionRequest { sequence: 1, size: 1 };
                outcome(self.ledger().prove_inclusion(self.as_actor(prove)).await)
            }
            Method::ProveConsistency => {
                self.pending().await;
                let prove = ProveConsistencyRequest { former_size: 1, size: 1 };
                outcome(self.ledger().prove_consistency(self.as_actor(prove)).await)
            }
            Method::AddCosignature => {
                let (signed, now) = (self.signed().await, self.served.sim.clock.now());
                let line = witness_key().cosign(signed.note().text(), now).unwrap();
                let size = signed.checkpoint().size().cast_signed();
                let add = AddCosignatureRequest { size, signatures: format!("{line}\n") };
                outcome(self.ledger().add_cosignature(self.as_actor(add)).await)
            }
            Method::GetStatus => {
                let mut daemons = DaemonServiceClient::new(self.served.channel());
                outcome(daemons.get_status(self.as_actor(GetStatusRequest {})).await)
            }
        }
    }

    /// Which of these requests, grants' requests and exceptions the actor's lists show.
    async fn listed(&self) -> [Vec<String>; 3] {
        let (mut requests, mut exceptions) = (self.served.requests(), self.exceptions());
        let list = self.as_actor(ListRequestsRequest { page_size: 200, ..Default::default() });
        let requests = requests.list_requests(list).await.map(|page| page.into_inner().requests);
        let list = self.as_actor(ListGrantsRequest { page_size: 200, ..Default::default() });
        let grants = self.grants().list_grants(list).await.map(|page| page.into_inner().grants);
        let list = self.as_actor(ListExceptionsRequest { page_size: 200, ..Default::default() });
        let exceptions = exceptions.list_exceptions(list).await.map(|page| page.into_inner().exceptions);
        [
            requests.unwrap_or_default().into_iter().map(|request| request.name).collect(),
            grants.unwrap_or_default().into_iter().map(|grant| grant.request).collect(),
            exceptions
                .unwrap_or_default()
                .into_iter()
                .filter_map(|one| one.request)
                .map(|of| of.name)
                .collect(),
        ]
    }
}

/// The documented table: row, column, what is said.
fn documented() -> BTreeMap<(String, String), String> {
    let cells =
        |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let mut lines = TABLE.lines().skip_while(|line| !line.starts_with("| method |"));
    let columns = cells(lines.next().unwrap());
    let rows = lines.skip(1).take_while(|line| line.starts_with('|')).map(cells);
    let row = |row: Vec<String>| {
        let (name, columns) = (row[0].clone(), columns.clone());
        row.into_iter()
            .zip(columns)
            .skip(1)
            .map(move |(said, column)| ((name.clone(), column), said))
            .collect::<Vec<_>>()
    };
    rows.flat_map(row).collect()
}

#[tokio::test]
async fn every_method_answers_every_kind_of_actor_as_documented() {
    let served = served().await;
    let mut seen = BTreeMap::new();
    for actor in ACTORS {
        let cell = Cell { served: &served, actor, anonymous: false };
        for (method, _) in Method::ALL {
            for (row, outcome) in cell.rows(method).await {
                seen.insert((row, actor.column.to_owned()), outcome);
            }
        }
    }
    for (cell, said) in &documented() {
        assert_eq!(seen.get(cell), Some(said), "{cell:?}");
    }
    assert_eq!(seen, documented(), "every row, and no other");
}

#[tokio::test]
async fn no_method_answers_who_doesnt_say_who_he_is() {
    let served = served().await;
    let anonymous = Cell { served: &served, actor: ACTORS[5], anonymous: true };
    for (method, _) in Method::ALL {
        for (row, outcome) in anonymous.rows(method).await {
            assert_eq!(outcome, "unauthenticated", "{row}");
        }
    }
}

/// Lists show what may be read one by one, and nothing else.
#[tokio::test]
async fn lists_show_each_what_he_may_see() {
    let served = served().await;
    let table = documented();
    for actor in ACTORS {
        let cell = Cell { served: &served, actor, anonymous: false };
        let request = cell.held().await.request;
        let sees = table[&("`GetRequest`".to_owned(), actor.column.to_owned())] == "yes";
        for list in cell.listed().await {
            assert_eq!(list.contains(&request), sees, "{}", actor.column);
            let sees_others = sees && actor.column != "owner";
            assert!(sees_others || list.iter().all(|name| *name == request), "{}: {list:?}", actor.column);
        }
    }
}
