//! One life of the daemon, from its start to the crash: a broker on a runtime of its own, which is all that is lost.
//!
//! The runtime has one thread and neither timers nor sockets, so the same seed polls the same tasks in the same order. A
//! crash drops it, and with it every task at the await point that it has got to.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use hallpass::{
    broker::{Broker, Notary, Parts},
    clock::Clock,
    signature::Signers,
    store::Store,
    vault::Issuer,
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    cast,
    gates::Gates,
    jobs::{InForce, Outcome},
};

/// How long a wrapping token can be opened.
pub const WRAP_TTL: Duration = Duration::from_mins(5);
/// How long an ending may take before an alarm.
pub const ALARM_AFTER: Duration = Duration::from_mins(1);
/// How often in a row nothing has to happen until it is believed that nothing will.
const CALM: usize = 2;

/// What the daemon stands on.
#[derive(Clone, Debug)]
pub struct Ground {
    pub store: Arc<dyn Store>,
    pub issuer: Arc<dyn Issuer>,
    pub clock: Arc<dyn Clock>,
    pub gates: Arc<Gates>,
    /// Whether the store has threads and timers of its own.
    pub is_real: bool,
    /// A target that isn't in the configuration now.
    pub without: Option<&'static str>,
    /// Whether leases that nobody knows are revoked.
    pub revoke_unknown: bool,
}

/// See the module.
#[derive(Debug)]
pub struct Life {
    pub broker: Arc<Broker>,
    /// What the broker goes by now.
    pub in_force: Arc<InForce>,
    runtime: Runtime,
    ground: Ground,
    answers: Arc<Mutex<Vec<(usize, Outcome)>>>,
    answered: Arc<AtomicUsize>,
    callers: Vec<(usize, JoinHandle<()>)>,
}

impl Life {
    pub fn start(ground: Ground) -> Self {
        let mut builder = Builder::new_current_thread();
        if ground.is_real {
            builder.enable_all();
        }
        let runtime = builder.build().unwrap();
        let broker = Arc::new(Broker::new(Parts {
            signers: Signers::default(),
            policy: cast::policy(ground.without),
            store: Arc::clone(&ground.store),
            issuer: Arc::clone(&ground.issuer),
            clock: Arc::clone(&ground.clock),
            wrap_ttl: WRAP_TTL,
            alarm_after: ALARM_AFTER,
            revoke_unknown: ground.revoke_unknown,
            texts_for: None,
            digest_key: [7; 32],
            notary: Notary::default(),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        let (answers, answered, callers) = (Arc::default(), Arc::default(), Vec::new());
        let in_force = Arc::new(InForce::new((ground.without, ground.revoke_unknown)));
        Self { broker, in_force, runtime, ground, answers, answered, callers }
    }

    /// Has somebody call the daemon, and lets that go as far as it goes by itself.
    pub fn call(&mut self, number: usize, verb: impl Future<Output = Outcome> + Send + 'static) {
        let (answers, answered) = (Arc::clone(&self.answers), Arc::clone(&self.answered));
        let caller = self.runtime.spawn(async move {
            let outcome = verb.await;
            answers.lock().unwrap().push((number, outcome));
            answered.fetch_add(1, Relaxed);
        });
        self.callers.push((number, caller));
        self.run();
    }

    /// The callers who wait for an answer.
    pub fn callers(&mut self) -> Vec<usize> {
        self.callers.retain(|(_, caller)| !caller.is_finished());
        self.callers.iter().map(|(number, _)| *number).collect()
    }

    /// Has a caller hang up.
    pub fn hang_up(&mut self, number: usize) {
        for (_, caller) in self.callers.iter().filter(|(caller, _)| *caller == number) {
            caller.abort();
        }
        self.run();
    }

    /// Runs every task until each waits for something.
    pub fn run(&self) {
        let gates = &self.ground.gates;
        self.runtime.block_on(async {
            let (mut calm, mut seen) = (0, (0, 0));
            while calm < CALM {
                tokio::task::yield_now().await;
                gates.all_done().await;
                let now = (gates.arrivals(), self.answered.load(Relaxed));
                calm = if now == seen { calm + 1 } else { 0 };
                seen = now;
            }
        });
    }

    /// Runs something that isn't the daemon's.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// The answers that came since the last time, in the order of the calls.
    pub fn answers(&self) -> Vec<(usize, Outcome)> {
        let mut answers = std::mem::take(&mut *self.answers.lock().unwrap());
        answers.sort_by_key(|(number, _)| *number);
        answers
    }
}
