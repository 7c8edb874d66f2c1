//! Keeps leases: renews those of this process, and takes back what the dead have held.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use celeriac_core::QueueName;
use celeriac_core::broker::Subscription;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::exchange::{bind_again, bindings_of};
use super::failure::Failure;
use super::fetch::{Desk, register_anew};
use super::keys::{Keys, is_private};
use super::link::{Call, Link};
use super::store::Inner;
use super::{scripts, stale};

/// How long the server must have answered before others' leases are taken for ended: after it was
/// away for a while all have, and those who live need a moment to come back.
const GRACE: Duration = Duration::from_secs(6);

/// How long it is remembered how often a message was delivered that we do not hold: a week.
const KEEP_COUNTS_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// How often old ones are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);

/// How often the queues of a consumer are bound again: nobody is told of a binding that was deleted.
const BIND_EVERY: Duration = Duration::from_secs(5);

/// How many messages one script gives back.
const AT_ONCE: usize = 500;

/// How many entries one step of a scan looks at.
const SCAN_STEP: usize = 1000;

/// What others may know of a consumer.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Particulars {
    pub(super) name: String,
    pub(super) pid: u32,
    pub(super) queues: Vec<QueueName>,
    pub(super) started_ms: i64,
    pub(super) lease_ms: i64,
}

/// What is booked under a tag.
#[derive(Debug)]
pub(super) struct Booked {
    pub(super) owner: String,
    pub(super) deliveries: u32,
    pub(super) length: usize,
    pub(super) sequence: u64,
    pub(super) list: String,
}

impl Booked {
    fn read(record: &str) -> Option<Self> {
        let mut words = record.splitn(5, ' ');
        Some(Self {
            owner: words.next()?.to_owned(),
            deliveries: words.next()?.parse().ok()?,
            length: words.next()?.parse().ok()?,
            sequence: words.next()?.parse().ok()?,
            list: words.next()?.to_owned(),
        })
    }
}

fn lease_ms(subscription: &Subscription) -> i64 {
    i64::try_from(subscription.lease.as_millis())
        .unwrap_or(i64::MAX >> 16)
        .clamp(1, i64::MAX >> 16)
}

/// Registers a consumer as `owner`, and says which revocation was the last.
pub(super) async fn register(
    inner: &Inner,
    subscription: &Subscription,
    owner: &str,
) -> Result<f64, Failure> {
    let particulars = Particulars {
        name: subscription.consumer.clone(),
        pid: std::process::id(),
        queues: subscription.queues.clone(),
        started_ms: Timestamp::now().as_millisecond(),
        lease_ms: lease_ms(subscription),
    };
    let particulars = serde_json::to_string(&particulars).expect("all its keys are text");
    let mut call = Call::new(&scripts::REGISTER, inner.keys.script());
    call.arg(owner).arg(lease_ms(subscription)).arg(particulars);
    let queues = subscription.queues.iter();
    let listed: Vec<_> = queues.filter(|queue| !is_private(queue.as_str())).collect();
    call.arg(listed.len());
    for queue in &listed {
        call.arg(queue.as_str());
    }
    for (exchange, member) in listed.iter().flat_map(|queue| bindings_of(inner, queue)) {
        let [table, permanent] = inner.keys.bindings(&exchange);
        call.arg(table).arg(permanent).arg(member);
    }
    let last: String = inner.link.run(call).await?;
    Ok(last.parse().unwrap_or(0.0))
}

/// Looks at everything that consumers of ours hold.
pub(super) async fn scan_held(
    link: &Link,
    keys: &Keys,
    mut look: impl FnMut(String, Booked),
) -> Result<(), Failure> {
    let mut cursor = "0".to_owned();
    loop {
        let mut ask = redis::cmd("HSCAN");
        ask.arg(keys.own("held"))
            .arg(&cursor)
            .arg("COUNT")
            .arg(SCAN_STEP);
        let (next, entries): (String, Vec<(String, String)>) = link.command(ask).await?;
        for (tag, record) in entries {
            if let Some(booked) = Booked::read(&record) {
                look(tag, booked);
            }
        }
        if next == "0" {
            return Ok(());
        }
        cursor = next;
    }
}

/// Renews the lease of a consumer, which gets another name if it had ended.
pub(super) async fn renew(inner: &Inner, desk: &Desk) -> Result<(), Failure> {
    let asked_at = Instant::now();
    let owner = desk.owner();
    let tags = desk.hold().tags(&owner);
    let mut call = Call::new(&scripts::BEAT, inner.keys.script());
    call.arg(&*owner).arg(lease_ms(&desk.subscription));
    for tag in &tags {
        call.arg(&**tag);
    }
    let is_ours: bool = inner.link.run(call).await?;
    if is_ours {
        desk.was_renewed(asked_at);
        return Ok(());
    }
    register_anew(inner, desk, &owner).await
}

/// Whose leases end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending<'a> {
    /// Those that have lapsed.
    Lapsed,
    /// That of this owner, who gives it up.
    GivenUp(&'a str),
    /// Nobody's: there may be some that others ended.
    Nobodys,
}

/// Ends leases, and gives back what was held by those whose lease has ended.
///
/// Whoever is interrupted here leaves it to the next: the dead are on a list until it is done.
pub(super) async fn take_back_from_the_dead(
    link: &Link,
    keys: &Keys,
    ending: Ending<'_>,
) -> Result<(), Failure> {
    let mut call = Call::new(&scripts::BURY_HOLDERS, keys.script());
    call.arg(i32::from(ending == Ending::Lapsed));
    if let Ending::GivenUp(owner) = ending {
        call.arg(owner);
    }
    let buried: Vec<String> = link.run(call).await?;
    if buried.is_empty() {
        return Ok(());
    }
    let mut theirs: HashMap<String, u64> = HashMap::new();
    scan_held(link, keys, |tag, booked| {
        if buried.contains(&booked.owner) {
            theirs.insert(tag, booked.sequence);
        }
    })
    .await?;
    let mut theirs: Vec<_> = theirs.into_iter().collect();
    // What goes to the front last comes first.
    theirs.sort_by_key(|(_, sequence)| std::cmp::Reverse(*sequence));
    let tags: Vec<&str> = theirs.iter().map(|(tag, _)| tag.as_str()).collect();
    let back = take_back(link, keys, "", true, &tags).await?;
    if back > 0 {
        info!(messages = back, "took back what a dead consumer held");
    }
    let mut forget = redis::cmd("SREM");
    forget.arg(keys.own("buried")).arg(&buried);
    link.command::<()>(forget).await
}

/// Gives back what is held under `tags`, in this order to the front, and says how many went.
///
/// `willing` gives back of its own accord; of others only those that have no lease any more do.
pub(super) async fn take_back(
    link: &Link,
    keys: &Keys,
    willing: &str,
    counted: bool,
    tags: &[&str],
) -> Result<u64, Failure> {
    let mut back = 0;
    for part in tags.chunks(AT_ONCE) {
        let mut call = Call::new(&scripts::TAKE_BACK, keys.script());
        call.arg(willing).arg(i32::from(counted)).arg(part);
        back += link.run::<u64>(call).await?;
    }
    Ok(back)
}

/// Forgets how often messages were delivered that have not been seen for a week: workers of another
/// kind have settled them.
async fn forget_old_counts(link: &Link, keys: &Keys) -> Result<(), Failure> {
    let oldest_ms = Timestamp::now().as_millisecond() - KEEP_COUNTS_MS;
    let is_old = |record: &str| {
        let at = record
            .split_once(' ')
            .and_then(|(_, at)| at.parse::<i64>().ok());
        at.is_none_or(|at| at < oldest_ms)
    };
    let mut cursor = "0".to_owned();
    loop {
        let mut ask = redis::cmd("HSCAN");
        ask.arg(keys.own("deliveries"))
            .arg(&cursor)
            .arg("COUNT")
            .arg(SCAN_STEP);
        let (next, counts): (String, Vec<(String, String)>) = link.command(ask).await?;
        let old = counts.iter().filter(|(_, record)| is_old(record));
        let old: Vec<&str> = old.map(|(tag, _)| tag.as_str()).collect();
        if !old.is_empty() {
            let mut forget = redis::cmd("HDEL");
            forget.arg(keys.own("deliveries")).arg(old);
            link.command::<()>(forget).await?;
        }
        if next == "0" {
            return Ok(());
        }
        cursor = next;
    }
}

/// Keeps the lease of one consumer, until it is closed.
pub(super) struct Keeper {
    inner: Weak<Inner>,
    desk: Arc<Desk>,
    /// Since when the server has answered.
    answering_since: Option<Instant>,
    /// Whether the last beat failed.
    is_failing: bool,
    next_sweep: Instant,
    next_restore: Instant,
    next_forget: Instant,
    next_bind: Instant,
}

impl Keeper {
    /// The keeper of a consumer that was registered just now.
    pub(super) fn new(inner: &Arc<Inner>, desk: Arc<Desk>) -> Self {
        let now = Instant::now();
        Self {
            inner: Arc::downgrade(inner),
            desk,
            answering_since: Some(now),
            is_failing: false,
            next_sweep: now,
            next_restore: now + Duration::from_secs(1),
            next_forget: now + Duration::from_secs(60),
            next_bind: now + BIND_EVERY,
        }
    }

    pub(super) async fn run(mut self) {
        let lease = self.desk.subscription.lease;
        let every = (lease / 4).clamp(Duration::from_millis(20), Duration::from_millis(2500));
        let look_every = every.min(Duration::from_secs(1));
        let mut next_beat = Instant::now() + every;
        let mut next_look = Instant::now() + look_every;
        let mut bell = self.desk.bell.subscribe();
        while !self.desk.is_closed() {
            // It may ring with every settlement, which must not put off the next look.
            tokio::select! {
                () = tokio::time::sleep_until(next_look) => {}
                _ = bell.changed() => continue,
            }
            next_look = Instant::now() + look_every;
            let Some(inner) = self.inner.upgrade() else {
                return;
            };
            if Instant::now() >= next_beat {
                next_beat = Instant::now() + every;
                self.beat(&inner).await;
            }
            if let Err(failure) = self.sweep(&inner).await {
                self.answering_since = None;
                debug!(
                    error = &failure as &dyn std::error::Error,
                    "cannot take back"
                );
            }
        }
    }

    async fn beat(&mut self, inner: &Inner) {
        match renew(inner, &self.desk).await {
            Ok(()) => {
                if std::mem::take(&mut self.is_failing) {
                    self.desk.take_trouble();
                    info!("the server answers again, the lease is renewed");
                }
                self.answering_since.get_or_insert_with(Instant::now);
            }
            Err(failure) => {
                self.answering_since = None;
                self.is_failing = true;
                self.desk.set_trouble(failure);
            }
        }
    }

    /// Takes back what is nobody's any more.
    async fn sweep(&mut self, inner: &Inner) -> Result<(), Failure> {
        let now = Instant::now();
        let answering = self.answering_since.map(|since| now - since);
        let grace = GRACE.min(self.desk.subscription.lease);
        if self.next_sweep <= now && answering.is_some_and(|answering| answering >= grace) {
            self.next_sweep = now + Duration::from_secs(1).min(grace);
            take_back_from_the_dead(&inner.link, &inner.keys, Ending::Lapsed).await?;
        } else if self.next_sweep <= now && answering.is_some() {
            self.next_sweep = now + Duration::from_millis(500);
            take_back_from_the_buried(inner).await?;
        }
        if self.next_restore <= now {
            let visibility = inner.settings.visibility_timeout;
            self.next_restore =
                now + (visibility / 10).clamp(Duration::from_secs(1), Duration::from_secs(60));
            stale::restore(inner).await?;
        }
        if self.next_forget <= now {
            self.next_forget = now + FORGET_EVERY;
            forget_old_counts(&inner.link, &inner.keys).await?;
        }
        if self.next_bind <= now {
            self.next_bind = now + BIND_EVERY;
            self.bind_again(inner).await?;
        }
        Ok(())
    }

    async fn bind_again(&self, inner: &Inner) -> Result<(), Failure> {
        let queues = self.desk.queues.all();
        let shared = queues.iter().filter(|queue| !is_private(queue.as_str()));
        for exchange in bind_again(inner, shared).await? {
            let consumer = &self.desk.subscription.consumer;
            let help = "find out who deletes bindings; what others published meanwhile is lost";
            warn!(
                consumer,
                exchange, help, "a queue was no longer bound, it is bound again"
            );
        }
        Ok(())
    }
}

/// Takes back from those only whose leases others have found ended.
async fn take_back_from_the_buried(inner: &Inner) -> Result<(), Failure> {
    let mut any = redis::cmd("EXISTS");
    any.arg(inner.keys.own("buried"));
    if inner.link.command::<bool>(any).await? {
        take_back_from_the_dead(&inner.link, &inner.keys, Ending::Nobodys).await?;
    }
    Ok(())
}
