//! One history: a world from a seed, and what is known of it. The steps are in `steps`, its end in `settle`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::Arc,
};

use chrono::{DateTime, TimeDelta};
use hallpass::{
    access::{
        event::Recorded,
        id::{GrantId, RequestId},
        policy::Scope,
        request::Request,
    },
    broker::Tried,
    clock::{Clock, ManualClock},
    ledger::{
        leaf::Leaf,
        replay::{Replay, Room},
    },
    store::Store,
    vault::SimulatedIssuer,
};

use super::{
    cast::TARGETS,
    chance::Chance,
    checks::Checks,
    daemon::{Ground, Life},
    gated_store::GatedStore,
    gated_vault::GatedVault,
    gates::Gates,
    jobs::{self, Chore, Delivered, Outcome, Verb},
    model::Verdict,
    mutants::Mutant,
    steps,
};
use crate::support::memory::MemoryStore;

/// How many steps a history has at least and at most, before it is brought to its end.
const STEPS: (usize, usize) = (40, 160);
/// By how much the daemon's clock is set at most in a history, in milliseconds: in most not at all, in some by less than
/// clocks may be apart, in a few by hours.
const CLOCK_ERRORS: [(usize, i64); 3] = [(6, 0), (3, 20_000), (1, 7_200_000)];
/// How far clocks may be apart for leases to be told by their time of issue, in milliseconds. It is documented, and the
/// daemon tells of less.
const CLOCK_SKEW_MAX: i64 = 30_000;
/// More events than a step can cause.
const NEWS_MAX: u32 = 10_000;

/// What a history is played on, and what is broken on purpose.
#[derive(Clone, Debug, Default)]
pub struct Setting {
    /// A store instead of the one in memory. Then the invariants aren't checked, only what happens is told.
    pub store: Option<Arc<dyn Store>>,
    pub mutant: Mutant,
    /// Whether what happens is written down.
    pub is_told: bool,
}

/// An invariant that doesn't hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub invariant: &'static str,
    pub what: String,
    pub step: usize,
}

/// See the module.
#[derive(Debug)]
pub struct History {
    pub chance: Chance,
    pub clock: Arc<ManualClock>,
    pub vault_clock: Arc<ManualClock>,
    pub vault: Arc<SimulatedIssuer>,
    pub store: Arc<GatedStore>,
    pub gates: Arc<Gates>,
    pub mutant: Mutant,
    /// The store itself, past gates and faults.
    pub plain: Arc<dyn Store>,
    pub life: Life,
    pub checks: Option<Checks>,
    ground: Ground,
    /// By how much at most the daemon's clock is set at a time, in milliseconds.
    pub clock_error: i64,
    /// Whether it never is further off than what the daemon reckons with.
    pub clocks_agree: bool,
    pub vault_down: bool,
    pub targets_down: BTreeSet<&'static str>,
    /// What is known to everybody, in the order in which it became known.
    pub requests: Vec<Request>,
    pub grants: Vec<(GrantId, RequestId)>,
    /// What was delivered and not opened.
    pub delivered: Vec<Delivered>,
    keys: BTreeMap<(&'static str, String), RequestId>,
    /// The endings that the daemon knows of, and what it is doing by itself.
    pub queue: BTreeSet<GrantId>,
    pub at_work: BTreeMap<usize, Chore>,
    crashes: usize,
    tries: BTreeMap<GrantId, u32>,
    calls: usize,
    read: i64,
    pub step: usize,
    is_told: bool,
    story: String,
}

impl History {
    pub fn new(seed: u64, setting: &Setting) -> Self {
        let began_at = DateTime::from_timestamp_millis(1_790_000_000_123).unwrap();
        let clock = Arc::new(ManualClock::new(began_at));
        let vault_clock = Arc::new(ManualClock::new(began_at));
        let vault = Arc::new(SimulatedIssuer::new(Arc::clone(&vault_clock) as Arc<dyn Clock>));
        let mut chance = Chance::new(seed);
        vault.worker_delay(chance.next(), TimeDelta::seconds(5));
        let memory = Arc::new(MemoryStore::default());
        let plain = setting.store.clone().unwrap_or_else(|| Arc::clone(&memory) as Arc<dyn Store>);
        let clocks = (Arc::clone(&clock), Arc::clone(&vault_clock));
        let clock_error = chance.weighed(&CLOCK_ERRORS);
        let clocks_agree = clock_error <= CLOCK_SKEW_MAX;
        let new_checks = || Checks::new(Arc::clone(&memory), Arc::clone(&vault), clocks, clocks_agree);
        let checks = setting.store.is_none().then(new_checks);
        let gates = Arc::new(Gates::default());
        let behind_gates = setting.mutant.store(Arc::clone(&plain), &memory);
        let store = Arc::new(GatedStore::new(behind_gates, Arc::clone(&gates)));
        let issuer = Arc::new(GatedVault::new(Arc::clone(&vault), Arc::clone(&gates)));
        let ground = Ground {
            store: Arc::clone(&store) as Arc<dyn Store>,
            issuer: setting.mutant.issuer(issuer),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            gates: Arc::clone(&gates),
            is_real: setting.store.is_some(),
            without: None,
            revoke_unknown: chance.percent(50),
        };
        Self {
            clock_error,
            clocks_agree,
            chance,
            clock,
            vault_clock,
            vault,
            store,
            gates,
            mutant: setting.mutant,
            plain,
            life: Life::start(ground.clone()),
            checks,
            ground,
            vault_down: false,
            targets_down: BTreeSet::new(),
            requests: Vec::new(),
            grants: Vec::new(),
            delivered: Vec::new(),
            keys: BTreeMap::new(),
            queue: BTreeSet::new(),
            at_work: BTreeMap::new(),
            crashes: 0,
            tries: BTreeMap::new(),
            calls: 0,
            read: 0,
            step: 0,
            is_told: setting.is_told,
            story: String::new(),
        }
    }

    /// Plays it to its end.
    pub fn play(&mut self) -> Result<(), Violation> {
        let (least, most) = STEPS;
        let steps = least + self.chance.below(most - least);
        let done = (0..steps).try_for_each(|_| {
            self.step += 1;
            steps::take(self)?;
            self.look()
        });
        let done = done.and_then(|()| self.settle()).and_then(|()| self.follows());
        done.map_err(|(invariant, what)| {
            self.tell(|| format!("VIOLATION of {invariant}: {what}"));
            Violation { invariant, what, step: self.step }
        })
    }

    /// What is recorded from the beginning to the end is what an auditor takes.
    fn follows(&self) -> Verdict {
        let mut replay = Replay::new();
        let (mut last, is_one) = (0, |page: &Vec<Leaf>| !page.is_empty());
        while let Some(page) =
            Some(self.life.block_on(self.plain.ledger().leaves(last, NEWS_MAX)).unwrap()).filter(is_one)
        {
            last += i64::try_from(page.len()).unwrap();
            for leaf in page {
                let texts = serde_json::Value::from(leaf.texts).to_string();
                replay.take(&leaf.line, Some(&texts), &mut Room::default());
            }
        }
        match replay.findings().0 {
            [] => Ok(()),
            findings => Err(("states follow from events", format!("{findings:#?}"))),
        }
    }

    /// Writes down what happens, if anybody wants to know.
    pub fn tell(&mut self, what: impl FnOnce() -> String) {
        if self.is_told {
            let (at, ahead) = (self.vault_clock.now(), self.clock.now() - self.vault_clock.now());
            let at = at.format("%H:%M:%S%.3f");
            writeln!(self.story, "{:>4} {at} {:+} {}", self.step, ahead.num_milliseconds(), what()).unwrap();
        }
    }

    /// What was written down, with short names for what it is about.
    pub fn story(&self) -> String {
        let mut story = self.story.clone();
        for (number, request) in self.requests.iter().enumerate() {
            story = story.replace(&format!("{:?}", request.id), &format!("r{number}"));
            story = story.replace(&request.id.to_string(), &format!("r{number}"));
        }
        for (number, (grant, _)) in self.grants.iter().enumerate() {
            story = story.replace(&format!("{grant:?}"), &format!("g{number}"));
            story = story.replace(&grant.to_string(), &format!("g{number}"));
        }
        story
    }

    /// Somebody calls the daemon.
    pub fn ask(&mut self, login: super::cast::Login, verb: Verb) {
        self.calls += 1;
        let (number, names_apart) = (self.calls, self.mutant == Mutant::LoginsAreStrangers);
        self.tell(|| format!("#{number} {} asks: {verb}", login.subject()));
        let broker = Arc::clone(&self.life.broker);
        self.life.call(number, jobs::ask(broker, login, names_apart, verb));
    }

    /// The daemon does something by itself, unless it is at it.
    pub fn work(&mut self, chore: Chore) {
        if self.at_work.values().any(|at_work| *at_work == chore) || self.is_forgotten(chore) {
            return;
        }
        self.calls += 1;
        let number = self.calls;
        self.at_work.insert(number, chore);
        self.tell(|| format!("#{number} the daemon: {chore:?}"));
        self.life
            .call(number, jobs::work(Arc::clone(&self.life.broker), Arc::clone(&self.life.in_force), chore));
    }

    /// Whether a broken daemon doesn't do this.
    fn is_forgotten(&mut self, chore: Chore) -> bool {
        match (self.mutant, chore) {
            (Mutant::TimersAreLost, Chore::Arm | Chore::Rescan | Chore::Sweep) => self.crashes > 0,
            (Mutant::GivesUp, Chore::Pursue(id)) => {
                let tries = self.tries.entry(id).or_insert(0);
                *tries += 1;
                *tries > 6
            }
            _ => false,
        }
    }

    /// The file is edited, and the daemon told to read it.
    pub fn reload(&mut self) {
        if self.at_work.values().any(|at_work| matches!(at_work, Chore::Reload { .. })) {
            return;
        }
        let without = self.chance.one_of(&TARGETS).map(|(name, ..)| *name);
        self.ground.without = self.ground.without.xor(without);
        let (without, ends) = (self.ground.without, self.chance.percent(70));
        self.work(Chore::Reload { without, ends });
    }

    /// The daemon dies and starts again.
    pub fn crash(&mut self) {
        if self.chance.percent(15) {
            let without = self.chance.one_of(&TARGETS).map(|(name, ..)| *name);
            self.ground.without = self.ground.without.xor(without);
        }
        let without = self.ground.without;
        self.tell(|| format!("the daemon is killed, and starts again without the target {without:?}"));
        self.life = Life::start(self.ground.clone());
        if let Some(checks) = &mut self.checks {
            checks.model.started_with(without);
        }
        self.queue.clear();
        self.at_work.clear();
        self.crashes += 1;
    }

    /// Sees what came of the step, and whether the invariants hold.
    pub fn look(&mut self) -> Verdict {
        let answers = self.life.answers();
        self.read_news();
        if let Some(checks) = &mut self.checks {
            checks.vault_works = !self.vault_down;
            checks.hold()?;
        }
        answers.into_iter().try_for_each(|(number, outcome)| self.answered(number, outcome))
    }

    fn read_news(&mut self) {
        if self.gates.take_commits() == 0 {
            return;
        }
        let plain = Arc::clone(&self.plain);
        let news = self.life.block_on(plain.events_after(&Scope::All, None, self.read, NEWS_MAX)).unwrap();
        for event in news {
            self.read = event.sequence;
            self.tell(|| format!("     recorded: {}", told(&event)));
            match (event.kind.as_str(), event.about.request, event.about.grant) {
                ("RequestSubmitted", Some(id), _) => {
                    self.requests.extend(self.life.block_on(plain.request(id)).unwrap());
                }
                ("GrantOpened", Some(request), Some(id)) => self.grants.push((id, request)),
                _ => {}
            }
        }
    }

    /// What an answer promises has to be so.
    fn answered(&mut self, number: usize, outcome: Outcome) -> Verdict {
        self.tell(|| format!("#{number} is answered: {}", shown(&outcome)));
        self.at_work.remove(&number);
        match outcome {
            Outcome::Submitted(login, Some(key), request) => {
                let first = *self.keys.entry((login.subject(), key)).or_insert(request.id);
                if first != request.id {
                    return Err(("answers", format!("one key made {first} and {}", request.id)));
                }
            }
            Outcome::Claimed(claimed) => {
                let (grant, wrapping_token) = (claimed.grant.id, claimed.wrapping_token);
                self.delivered.push(Delivered { grant, wrapping_token });
                self.is_recorded(&["GrantActivated"], grant)?;
            }
            Outcome::Ended(grant) => self.is_recorded(&["RevocationBegun"], grant.id)?,
            Outcome::Approved(login, request) => self.is_approval_recorded(login.human, request.id)?,
            Outcome::Tried(id, Tried::Over) => drop(self.queue.remove(&id)),
            Outcome::Submitted(..)
            | Outcome::Decided(_)
            | Outcome::Tried(..)
            | Outcome::Done(_)
            | Outcome::Failed(_) => {}
        }
        Ok(())
    }

    /// A request as it stands.
    pub fn request(&self, id: RequestId) -> Option<Request> {
        self.life.block_on(self.plain.request(id)).unwrap()
    }

    fn is_recorded(&self, kinds: &[&str], grant: GrantId) -> Verdict {
        let request = self.grants.iter().find(|(id, _)| *id == grant).map(|(_, request)| *request);
        let Some(request) = request else { return Err(("answers", format!("{grant} isn't recorded"))) };
        let timeline = self.life.block_on(self.plain.timeline(request)).unwrap();
        let is_it =
            |event: &Recorded| event.about.grant == Some(grant) && kinds.contains(&event.kind.as_str());
        if timeline.iter().any(is_it) {
            Ok(())
        } else {
            Err(("answers", format!("{grant}: {kinds:?} isn't recorded")))
        }
    }

    fn is_approval_recorded(&self, human: &str, request: RequestId) -> Verdict {
        let Some(checks) = &self.checks else { return Ok(()) };
        let told = checks.model.requests.get(&request);
        if told.is_some_and(|told| told.approvers.contains(&human)) {
            Ok(())
        } else {
            Err(("answers", format!("{human}'s approval of {request} isn't recorded")))
        }
    }
}

fn told(event: &Recorded) -> String {
    let about = &event.about;
    let id = about.grant.map(|id| id.to_string()).or_else(|| about.request.map(|id| id.to_string()));
    format!("{} {} {}", event.kind, id.unwrap_or_default(), event.detail)
}

fn shown(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Submitted(_, _, request) | Outcome::Approved(_, request) | Outcome::Decided(request) => {
            format!("{} is {}", request.id, request.state.name())
        }
        Outcome::Claimed(claimed) => {
            format!(
                "{} is {}, opened: {}",
                claimed.grant.id,
                claimed.grant.state.name(),
                claimed.earlier_opened
            )
        }
        Outcome::Ended(grant) => format!("{} is {}", grant.id, grant.state.name()),
        Outcome::Tried(id, tried) => format!("{id}: {tried:?}"),
        Outcome::Done(chore) => format!("{chore:?} is done"),
        Outcome::Failed(error) => error.to_string(),
    }
}
