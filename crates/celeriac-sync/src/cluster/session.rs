//! One connection of this process to a place: sends what its threads and coroutines ask, and keeps the leases.
//!
//! Whoever asks carries out all that is to be sent, if nobody else does just then: so a call that is alone
//! costs no change of threads, and many that come together are sent together. Coroutines leave it to the
//! keeper, a thread that also renews leases; another thread hears what is told.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, TryLockError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::Error;
use super::desk::Desk;
use super::rlock::Owners;
use super::slot::{Got, Hold, Slot};
use super::state::{Ask, Op, Plan, Reply, Session as Id, Ticket};
use super::store::{Ear, Store};
use crate::SyncError;

/// How long an ear listens before it looks whether somebody still wants to know.
const LISTENS: Duration = Duration::from_secs(1);

/// See the module.
pub(super) struct Session {
    desk: Mutex<Desk>,
    store: Mutex<Box<dyn Store>>,
    bell: Arc<Bell>,
    trouble: Mutex<Option<Error>>,
    owners: Mutex<Owners>,
}

/// Wakes the keeper.
#[derive(Debug, Default)]
struct Bell {
    rung: Mutex<bool>,
    wakes: Condvar,
}

impl Bell {
    fn ring(&self) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        if !*rung {
            *rung = true;
            self.wakes.notify_one();
        }
    }

    fn wait(&self, until: Option<Instant>) {
        let mut rung = self.rung.lock().unwrap_or_else(PoisonError::into_inner);
        while !*rung {
            let Some(until) = until else {
                rung = self
                    .wakes
                    .wait(rung)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let woken = self.wakes.wait_timeout(rung, left);
            rung = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
        *rung = false;
    }
}

fn new_id() -> Id {
    Uuid::new_v4().as_u64_pair().0
}

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    pub(super) fn start(mut store: Box<dyn Store>, lease: Duration) -> Result<Arc<Self>, Error> {
        let id = new_id();
        let ear = store.listen(id)?;
        let session = Arc::new(Self {
            desk: Mutex::new(Desk::new(id, lease)),
            store: Mutex::new(store),
            bell: Arc::default(),
            trouble: Mutex::default(),
            owners: Mutex::default(),
        });
        let spawn = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let spawned = thread::Builder::new().name(name.to_owned()).spawn(run);
            spawned.map_err(|error| Error::unreachable("the system", error))
        };
        let (weak, bell) = (Arc::downgrade(&session), session.bell.clone());
        spawn("celeriac-keeper", Box::new(move || keep(&weak, &bell)))?;
        let weak = Arc::downgrade(&session);
        spawn("celeriac-ear", Box::new(move || listen(&weak, id, ear)))?;
        Ok(session)
    }

    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        lock(&self.desk)
    }

    /// The threads that hold recursive locks.
    pub(super) fn owners(&self) -> MutexGuard<'_, Owners> {
        lock(&self.owners)
    }

    /// What the place did wrong last.
    pub(super) fn trouble(&self) -> Option<Error> {
        lock(&self.trouble).take()
    }

    /// Has the keeper send what is to be sent.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    fn has_work(&self) -> bool {
        self.desk().has_work(Instant::now())
    }

    /// Sends what is to be sent, unless another does that; until it is `enough`.
    pub(super) fn carry_out(&self, enough: impl Fn() -> bool) {
        while self.has_work() {
            if enough() {
                return self.ring();
            }
            let mut store = match self.store.try_lock() {
                Ok(store) => store,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                // Who has it looks again after it has given it back.
                Err(TryLockError::WouldBlock) => return,
            };
            self.round(&mut **store);
        }
    }

    /// Sends what is to be sent now, once.
    fn round(&self, store: &mut dyn Store) {
        let start = Instant::now();
        let batches = self.desk().take(start);
        if batches.is_empty() {
            return;
        }
        match store.apply(&batches) {
            Ok(outcomes) => {
                if self.desk().settle(batches, outcomes, start) {
                    self.ring();
                }
            }
            Err(error) => {
                *lock(&self.trouble) = Some(error);
                self.desk().put_back(batches, Instant::now(), new_id());
                self.ring();
            }
        }
    }

    fn look_after(&self) -> Option<Instant> {
        let due = self.desk().look_after(Instant::now());
        while self.has_work() {
            self.round(&mut **lock(&self.store));
        }
        // What was sent may have changed it.
        let now = self.desk().look_after(Instant::now());
        if self.has_work() {
            Some(Instant::now())
        } else {
            now.or(due)
        }
    }

    fn listen(&self) -> Result<(Id, Box<dyn Ear>), Error> {
        let id = self.desk().id();
        Ok((id, lock(&self.store).listen(id)?))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What was given back last is not to wait for the lease.
        let desk = self.desk.get_mut().unwrap_or_else(PoisonError::into_inner);
        let batches = desk.take(Instant::now());
        let store = self.store.get_mut().unwrap_or_else(PoisonError::into_inner);
        if !batches.is_empty() {
            // If that fails, the lease ends it.
            let _ = store.apply(&batches);
        }
        self.bell.ring();
    }
}

fn keep(session: &Weak<Session>, bell: &Bell) {
    while let Some(session) = session.upgrade() {
        let due = session.look_after();
        drop(session);
        bell.wait(due);
    }
}

fn listen(session: &Weak<Session>, mut id: Id, mut ear: Box<dyn Ear>) {
    loop {
        let heard = ear.hear(LISTENS);
        let Some(session) = session.upgrade() else {
            return;
        };
        match heard {
            Ok(names) if session.desk().id() == id => {
                let mut desk = session.desk();
                for name in &names {
                    desk.told(name);
                }
            }
            _ => match session.listen() {
                Ok((now, new)) => {
                    (id, ear) = (now, new);
                    session.desk().told_all();
                }
                Err(error) => {
                    *lock(&session.trouble) = Some(error);
                    drop(session);
                    thread::sleep(Duration::from_millis(100));
                    continue;
                }
            },
        }
        session.carry_out(|| false);
    }
}

/// One object, as a session has it. A clone of it is the same.
#[derive(Clone)]
pub(super) struct Shared(Arc<Use>);

struct Use {
    session: Arc<Session>,
    name: Arc<str>,
    plan: Arc<Plan>,
}

impl Drop for Use {
    fn drop(&mut self) {
        self.session.desk().close(&self.name);
    }
}

impl Shared {
    pub(super) fn open(session: Arc<Session>, name: &str, plan: Plan) -> Result<Self, SyncError> {
        let (name, plan): (Arc<str>, _) = (name.into(), Arc::new(plan));
        {
            let mut desk = session.desk();
            if desk.is_other(&name, &plan) {
                return Err(SyncError::OtherType);
            }
            desk.open(&name, &plan);
        }
        Ok(Self(Arc::new(Use {
            session,
            name,
            plan,
        })))
    }

    pub(super) fn session(&self) -> &Session {
        &self.0.session
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    pub(super) fn plan(&self) -> &Plan {
        &self.0.plan
    }

    /// Makes a call. Nothing is sent before somebody waits for it.
    pub(super) fn call(&self, op: Op, waits: bool) -> Pending {
        let slot = Arc::default();
        let ticket = self
            .session()
            .desk()
            .call(self.name(), op, waits, Some(&slot));
        Pending {
            shared: self.clone(),
            ticket,
            slot,
            over: false,
        }
    }

    /// Gives back by `op` what was got with `ticket`.
    pub(super) fn end(&self, ticket: Ticket, op: Op) -> Pending {
        let mut desk = self.session().desk();
        desk.drop_hold(self.name(), ticket);
        drop(desk);
        self.call(op, false)
    }

    /// Asks and waits, no longer than until `deadline`.
    pub(super) fn ask(&self, op: Op, deadline: Option<Instant>) -> Result<Answered, SyncError> {
        self.call(op, true).wait(deadline)
    }

    /// Asks what needs no waiting, or is not done if it does.
    pub(super) fn ask_now(&self, op: Op) -> Result<Answered, SyncError> {
        self.call(op, false).wait(None)
    }

    /// How many there are of what is counted there.
    pub(super) fn count(&self) -> Result<usize, SyncError> {
        self.ask_now(Op::Count)?.reply.number()
    }

    /// Asks something of the data, when nobody holds it.
    pub(super) fn use_data(&self, ask: Ask) -> Result<Reply, SyncError> {
        Ok(self.ask(Op::Use(ask), None)?.reply)
    }

    /// Asks as a coroutine.
    pub(super) async fn ask_async(&self, op: Op) -> Result<Answered, SyncError> {
        self.call(op, true).wait_async().await
    }
}

/// An answer, and by which call it was got.
pub(super) struct Answered {
    pub(super) reply: Reply,
    pub(super) hold: Option<Arc<Hold>>,
    pub(super) ticket: Ticket,
    /// Whether it was got by a coroutine, which must not be kept waiting.
    pub(super) lazy: bool,
}

/// One call under way. Dropped before its answer was taken, it gives back what it got.
pub(super) struct Pending {
    shared: Shared,
    ticket: Ticket,
    slot: Arc<Slot>,
    over: bool,
}

impl Pending {
    fn answered(mut self, got: Got, lazy: bool) -> Result<Answered, SyncError> {
        self.over = true;
        let (reply, hold) = got?;
        Ok(Answered {
            reply,
            hold,
            ticket: self.ticket,
            lazy,
        })
    }

    pub(super) fn wait(self, deadline: Option<Instant>) -> Result<Answered, SyncError> {
        let session = self.shared.session();
        session.carry_out(|| self.slot.is_filled());
        if let Some(got) = self.slot.wait(deadline) {
            return self.answered(got, false);
        }
        // The answer may have come just now: whether it did is known at the place only.
        let of = self.ticket;
        let cancel = self.shared.call(Op::Cancel { of, undo: false }, false);
        let cancelled = cancel.wait(None);
        if let Some(got) = self.slot.take() {
            return self.answered(got, false);
        }
        // If it was not there, it may be on its way again; what it gets then is given back.
        if matches!(cancelled?.reply, Reply::Flag(true)) {
            session.desk().forget(self.shared.name(), self.ticket);
            return self.answered(Err(SyncError::Timeout), false);
        }
        Err(SyncError::Timeout)
    }

    pub(super) async fn wait_async(self) -> Result<Answered, SyncError> {
        self.shared.session().ring();
        let got = self.slot.wait_async().await;
        self.answered(got, true)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.over {
            let session = self.shared.session();
            session.desk().withdraw(self.shared.name(), self.ticket);
            session.ring();
        }
    }
}
