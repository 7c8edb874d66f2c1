//! Fetching for one consumer: claims, and waits while there is nothing to claim.
//!
//! It runs where the connections are and to its end, whether the caller waits for it or not, so
//! that what the server has booked is known here too.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use celeriac_core::QueueName;
use celeriac_core::broker::Subscription;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};
use uuid::Uuid;

use super::claim::{Catch, Claim, Claimed, claim, claim_listening};
use super::failure::Failure;
use super::hold::{Held, Hold};
use super::keeper;
use super::pace::Pace;
use super::revocations::Revocations;
use super::settings::QueueOrder;
use super::store::Inner;
use crate::queues::Queues;

/// When a request that was given up on can have reached the server at the latest.
const STRAGGLERS: Duration = Duration::from_secs(20);

/// Longer than anybody waits without looking.
const FAR: Duration = Duration::from_secs(3600);

/// What the parts of one consumer share.
#[derive(Debug)]
pub(super) struct Desk {
    /// What it asked for, but for its queues.
    pub(super) subscription: Subscription,
    pub(super) queues: Queues,
    /// The name it holds messages under, another one after its lease had ended.
    owner: Mutex<Arc<str>>,
    registering: tokio::sync::Mutex<()>,
    /// When the lease was last renewed, as far as that is known.
    renewed_at: Mutex<Instant>,
    closed: AtomicBool,
    /// Rings when it is closed, when a settlement lets something through, and when something waits.
    pub(super) bell: watch::Sender<()>,
    hold: Mutex<Hold>,
    turn: AtomicUsize,
    /// Whether the last claim left messages that a settlement will let through.
    held_back: AtomicBool,
    /// What the last claim found out, if it took all there was and nobody has looked since.
    emptied: Mutex<Option<Emptied>>,
    /// How many are claimed at once.
    pace: Mutex<Pace>,
    /// How often messages were made to wait for their time, or the queues changed.
    changes: AtomicUsize,
    /// When to look for messages that were claimed for us without our hearing of it.
    doubts: Mutex<Vec<Instant>>,
    pub(super) revocations: Revocations,
    /// Why the lease could not be renewed, if nobody was told yet.
    trouble: Mutex<Option<Failure>>,
}

/// What a claim that took all there was has found out.
#[derive(Debug)]
struct Emptied {
    /// When the next of the messages that wait for their time is due, if one waits.
    next_due: Option<Instant>,
    /// What the count of changes was before.
    changes: usize,
    /// What changes when a message comes, if that is heard already.
    heard: Option<watch::Receiver<()>>,
}

/// Messages that were fetched together.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    /// Each with the number it is delivered under.
    pub(super) messages: Vec<(i64, Claimed)>,
    /// The server's time.
    pub(super) now_ms: i64,
}

impl Desk {
    /// The desk of a consumer that has been registered as `owner` since `registered_at` at the latest.
    pub(super) fn new(
        subscription: Subscription,
        owner: Arc<str>,
        registered_at: Instant,
        last_revoked: f64,
    ) -> Self {
        Self {
            queues: Queues::new(subscription.queues.clone()),
            subscription,
            owner: Mutex::new(owner),
            registering: tokio::sync::Mutex::default(),
            renewed_at: Mutex::new(registered_at),
            closed: AtomicBool::new(false),
            bell: watch::Sender::new(()),
            hold: Mutex::default(),
            turn: AtomicUsize::new(0),
            held_back: AtomicBool::new(false),
            emptied: Mutex::default(),
            pace: Mutex::default(),
            changes: AtomicUsize::new(0),
            doubts: Mutex::default(),
            revocations: Revocations::starting_at(last_revoked),
            trouble: Mutex::default(),
        }
    }

    /// What it asks for now.
    pub(super) fn wanted(&self) -> Subscription {
        Subscription {
            queues: self.queues.all(),
            ..self.subscription.clone()
        }
    }

    /// Takes note that the queues are others now, which no claim may have seen.
    pub(super) fn has_other_queues(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.bell.send_replace(());
    }

    /// Notes why the lease could not be renewed, for whoever fetches: he may wait for a long time
    /// without asking the server himself.
    pub(super) fn set_trouble(&self, failure: Failure) {
        *lock(&self.trouble) = Some(failure);
        self.bell.send_replace(());
    }

    /// Takes the note away.
    pub(super) fn take_trouble(&self) -> Option<Failure> {
        lock(&self.trouble).take()
    }

    /// The name it holds messages under now.
    pub(super) fn owner(&self) -> Arc<str> {
        lock(&self.owner).clone()
    }

    /// Takes note that the lease was renewed at this time at the earliest.
    pub(super) fn was_renewed(&self, at: Instant) {
        *lock(&self.renewed_at) = at;
    }

    /// Whether nobody can have ended the lease by now.
    pub(super) fn is_sure_of_its_lease(&self) -> bool {
        lock(&self.renewed_at).elapsed() < self.subscription.lease
    }

    /// What it holds.
    pub(super) fn hold(&self) -> MutexGuard<'_, Hold> {
        lock(&self.hold)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Closes it; whether it was closed already.
    pub(super) fn close(&self) -> bool {
        let before = self.closed.swap(true, Ordering::SeqCst);
        self.bell.send_replace(());
        before
    }

    /// Lets a claim through that was held back, if one was: to be called when something is settled.
    pub(super) fn let_through(&self) {
        if self.held_back.swap(false, Ordering::AcqRel) {
            self.bell.send_replace(());
        }
    }

    /// Takes note that messages wait for their time which no claim may have seen.
    pub(super) fn has_parked(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
        self.bell.send_replace(());
    }

    /// What the last claim found out, unless that may have changed by our doing.
    fn take_emptied(&self) -> Option<Emptied> {
        let emptied = lock(&self.emptied).take()?;
        (emptied.changes == self.changes.load(Ordering::Acquire)).then_some(emptied)
    }

    /// Whether the server may have booked what we never heard of.
    pub(super) fn is_in_doubt(&self) -> bool {
        !lock(&self.doubts).is_empty()
    }

    fn doubt(&self) {
        let now = Instant::now();
        *lock(&self.doubts) = vec![now, now + STRAGGLERS];
    }

    /// Takes the doubts that are due; whether there were any.
    fn take_doubts(&self) -> bool {
        let mut doubts = lock(&self.doubts);
        let before = doubts.len();
        let now = Instant::now();
        doubts.retain(|at| *at > now);
        doubts.len() < before
    }

    fn claim(&self, order: QueueOrder, credit: usize, body_limit_bytes: usize) -> Claim {
        let mut queues = self.queues.all();
        match order {
            QueueOrder::RoundRobin if !queues.is_empty() => {
                let turn = self.turn.fetch_add(1, Ordering::Relaxed) % queues.len();
                queues.rotate_left(turn);
            }
            QueueOrder::Sorted => queues.sort(),
            _ => {}
        }
        let suspects = self.subscription.suspects.get();
        Claim {
            owner: self.owner(),
            queues,
            credit: credit.min(lock(&self.pace).at_once()),
            most_deliveries: self.subscription.most_deliveries(),
            suspects: suspects.saturating_sub(self.hold().suspects()),
            body_limit_bytes,
        }
    }

    /// Takes up what was claimed as `owner`.
    fn take(&self, owner: &Arc<str>, claimed: Vec<Claimed>) -> Vec<(i64, Claimed)> {
        let mut hold = self.hold();
        let take = |message: Claimed| {
            let held = Held {
                tag: message.tag.clone(),
                owner: owner.clone(),
                deliveries: message.deliveries,
                queue: message.queue.clone(),
                id: None,
            };
            (hold.take(held), message)
        };
        claimed.into_iter().map(take).collect()
    }
}

/// Registers the consumer under another name than `lapsed`, unless that was done meanwhile. What it
/// held under the old one is somebody else's.
pub(super) async fn register_anew(
    inner: &Inner,
    desk: &Desk,
    lapsed: &Arc<str>,
) -> Result<(), Failure> {
    let _one_at_a_time = desk.registering.lock().await;
    if desk.is_closed() || desk.owner() != *lapsed {
        return Ok(());
    }
    let owner: Arc<str> = Uuid::new_v4().simple().to_string().into();
    let registered_at = Instant::now();
    keeper::register(inner, &desk.wanted(), &owner).await?;
    desk.was_renewed(registered_at);
    info!(
        consumer = desk.subscription.consumer,
        "the lease had ended, registered again"
    );
    *lock(&desk.owner) = owner;
    Ok(())
}

/// Fetches at most `credit` messages, and waits until there is one. None if it was closed.
pub(super) async fn fetch(
    inner: Arc<Inner>,
    desk: Arc<Desk>,
    credit: usize,
) -> Result<Fetched, Failure> {
    let ears = inner.ears();
    let mut has_waited = false;
    let mut bell = desk.bell.subscribe();
    loop {
        bell.mark_unchanged();
        let lists = inner.keys.lists(&desk.queues.all());
        if desk.is_closed() {
            return Ok(Fetched::default());
        }
        if let Some(failure) = desk.take_trouble() {
            return Err(failure);
        }
        if desk.take_doubts() {
            let found = find_unheard(&inner, &desk)
                .await
                .inspect_err(|_| desk.doubt())?;
            if !found.messages.is_empty() {
                return Ok(found);
            }
        }
        if lists.is_empty() {
            // The desk has the bell's other end.
            let _ = bell.changed().await;
            continue;
        }
        let mut messages = ears.heard().messages.subscribe();
        let next_due = if let Some(emptied) = desk.take_emptied() {
            if let Some(heard) = emptied.heard {
                messages = heard;
            } else if ears.prick_for_messages(&lists).await.unwrap_or(false) {
                // There is only what came since: to ask for that is cheaper than to claim it.
                continue;
            }
            emptied.next_due
        } else {
            match claim_once(&inner, &desk, credit, has_waited).await? {
                Claiming::Got(fetched) => return Ok(fetched),
                Claiming::Nothing => continue,
                Claiming::HeldBack => None,
            }
        };
        has_waited = true;
        let looked_at = Instant::now() + ears.patience();
        tokio::select! {
            _ = messages.changed() => {}
            _ = bell.changed() => {}
            () = sleep_until(next_due.map_or(looked_at, |due| due.min(looked_at))) => {}
        }
    }
}

/// What a claim came to.
enum Claiming {
    Got(Fetched),
    /// There was nothing, or the lease had ended.
    Nothing,
    /// There was something, which a settlement has to let through.
    HeldBack,
}

/// Claims. Who has waited finds little, as a rule, and waits again: so it asks in the same breath to
/// hear of the next message.
async fn claim_once(
    inner: &Inner,
    desk: &Desk,
    credit: usize,
    has_waited: bool,
) -> Result<Claiming, Failure> {
    let (ears, link, keys) = (inner.ears(), &inner.link, &inner.keys);
    let messages = ears.heard().messages.subscribe();
    let changes = desk.changes.load(Ordering::Acquire);
    let limit_bytes = inner.options.body_limit_bytes;
    let asked = desk.claim(inner.settings.queue_order, credit, limit_bytes);
    let asked_at = Instant::now();
    let caught = if has_waited {
        claim_listening(ears, link, keys, &asked).await
    } else {
        claim(link, keys, &asked).await.map(|caught| (caught, None))
    };
    let (caught, left) = caught.inspect_err(|_| {
        desk.doubt();
        lock(&desk.pace).failed();
    })?;
    let Catch::Messages {
        claimed,
        next_due_ms,
        last_revoked,
        held_back,
        now_ms,
    } = caught
    else {
        register_anew(inner, desk, &asked.owner).await?;
        return Ok(Claiming::Nothing);
    };
    lock(&desk.pace).came(claimed.len(), asked_at.elapsed());
    desk.held_back.store(held_back, Ordering::Release);
    if !held_back && claimed.len() < asked.credit && left != Some(true) {
        *lock(&desk.emptied) = Some(Emptied {
            next_due: next_due_ms.map(|due_ms| due_in(due_ms, now_ms)),
            changes,
            heard: left.map(|_| messages),
        });
    }
    if claimed.is_empty() {
        return Ok(if held_back {
            Claiming::HeldBack
        } else {
            Claiming::Nothing
        });
    }
    let messages = desk.take(&asked.owner, claimed);
    // Whoever revoked before we claimed is heeded.
    if !desk.revocations.covers(last_revoked) {
        let heard = desk.revocations.catch_up(link, keys).await;
        if let Err(failure) = heard {
            warn!(
                error = &failure as &dyn std::error::Error,
                "cannot hear revocations"
            );
        }
    }
    Ok(Claiming::Got(Fetched { messages, now_ms }))
}

/// When it is `due_ms` on the server's clock, which says `now_ms` now.
fn due_in(due_ms: f64, now_ms: i64) -> Instant {
    #[expect(clippy::cast_precision_loss, reason = "until the year 287396")]
    let left_ms = (due_ms - now_ms as f64).max(0.0) + 1.0;
    let left = Duration::try_from_secs_f64(left_ms / 1000.0).unwrap_or(FAR);
    Instant::now() + left.min(FAR)
}

/// Finds messages that the server booked for us in a request whose answer was lost.
async fn find_unheard(inner: &Inner, desk: &Desk) -> Result<Fetched, Failure> {
    let owner = desk.owner();
    let mut unheard: HashMap<String, keeper::Booked> = HashMap::new();
    keeper::scan_held(&inner.link, &inner.keys, |tag, booked| {
        if booked.owner == *owner && !desk.hold().knows(&tag, &owner) {
            unheard.insert(tag, booked);
        }
    })
    .await?;
    let mut unheard: Vec<_> = unheard.into_iter().collect();
    unheard.sort_by_key(|(_, booked)| booked.sequence);
    let mut claimed = Vec::with_capacity(unheard.len());
    for (tag, booked) in unheard {
        let mut ask = redis::cmd("HGET");
        ask.arg(&inner.keys.unacked).arg(&tag);
        let entry: Option<Vec<u8>> = inner.link.command(ask).await?;
        let text = entry.and_then(|entry| entry.get(1..=booked.length).map(<[u8]>::to_vec));
        let queue = queue_of(inner, &desk.queues.all(), &booked.list);
        if let (Some(text), Some(queue)) = (text, queue) {
            claimed.push(Claimed {
                tag: tag.into(),
                queue,
                deliveries: booked.deliveries,
                text,
            });
        }
    }
    Ok(Fetched {
        messages: desk.take(&owner, claimed),
        now_ms: jiff::Timestamp::now().as_millisecond(),
    })
}

/// The queue of which this is a list.
fn queue_of(inner: &Inner, queues: &[QueueName], list: &str) -> Option<QueueName> {
    let is_of = |queue: &&QueueName| {
        let lists = inner.keys.lists(std::slice::from_ref(queue));
        lists.iter().any(|own| own == list)
    };
    queues.iter().find(is_of).cloned()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
