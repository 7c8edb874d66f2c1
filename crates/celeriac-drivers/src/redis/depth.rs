//! How full the queues are, and who takes from them.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use celeriac_core::{ConsumerInfo, QueueInfo, QueueName};
use jiff::Timestamp;

use super::failure::Failure;
use super::keeper::{self, Particulars};
use super::link::Call;
use super::scripts;
use super::store::Inner;

/// How many waiting messages one step of a purge drops.
const PURGED_AT_ONCE: usize = 10_000;

/// The queues that were published to or consumed from by us, and those bound to Celery's default
/// exchange. What Python workers hold is not counted: kombu does not say from which queue it came.
pub(super) async fn queues(inner: &Inner) -> Result<Vec<QueueInfo>, Failure> {
    let keys = &inner.keys;
    let [default_table, _] = keys.bindings(QueueName::DEFAULT);
    let mut ask = redis::pipe();
    ask.cmd("SMEMBERS").arg(keys.own("queues"));
    ask.cmd("SMEMBERS").arg(default_table);
    let (own, bound): (Vec<String>, Vec<String>) = inner.link.pipeline(ask).await?;
    let bound = bound
        .iter()
        .filter_map(|binding| keys.read_binding(binding));
    let names: BTreeSet<QueueName> = own
        .iter()
        .map(String::as_str)
        .chain(bound.map(|[_, _, queue]| queue))
        .filter_map(|name| QueueName::new(name).ok())
        .collect();
    let lists = names.iter().flat_map(|name| {
        let lists = keys.lists(std::slice::from_ref(name));
        lists.into_iter().map(move |list| (list, name))
    });
    let lists: Vec<(String, &QueueName)> = lists.collect();
    let names_of_lists = lists.iter().map(|(list, _)| list.as_str());
    let mut call = Call::new(
        &scripts::DEPTH,
        keys.script().into_iter().chain(names_of_lists),
    );
    for (_, queue) in &lists {
        call.arg(queue.as_str());
    }
    let depths: Vec<u64> = inner.link.run(call).await?;
    let empty = |name: &QueueName| QueueInfo {
        name: name.clone(),
        ready: 0,
        delayed: 0,
        held: 0,
        dead: 0,
    };
    let mut found: HashMap<&QueueName, QueueInfo> =
        names.iter().map(|name| (name, empty(name))).collect();
    for ((_, queue), depth) in lists.iter().zip(depths.chunks(3)) {
        if let (Some(info), [ready, delayed, dead]) = (found.get_mut(queue), depth) {
            info.ready += ready;
            info.delayed += delayed;
            info.dead = *dead;
        }
    }
    let of_list: HashMap<&str, &QueueName> = lists
        .iter()
        .map(|(list, queue)| (list.as_str(), *queue))
        .collect();
    keeper::scan_held(&inner.link, keys, |_, booked| {
        let queue = of_list.get(booked.list.as_str());
        if let Some(info) = queue.and_then(|queue| found.get_mut(queue)) {
            info.held += 1;
        }
    })
    .await?;
    let mut found: Vec<QueueInfo> = found.into_values().collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

/// The end of each lease, the particulars of each owner, and the server's time.
type Leases = (Vec<(String, f64)>, HashMap<String, String>, (i64, i64));

/// The consumers of ours whose lease has not ended.
pub(super) async fn consumers(inner: &Inner) -> Result<Vec<ConsumerInfo>, Failure> {
    let keys = &inner.keys;
    let mut ask = redis::pipe();
    ask.cmd("ZRANGE")
        .arg(keys.own("consumers"))
        .arg(0)
        .arg(-1)
        .arg("WITHSCORES");
    ask.cmd("HGETALL").arg(keys.own("consumer"));
    ask.cmd("TIME");
    let (leases, particulars, (seconds, micros)): Leases = inner.link.pipeline(ask).await?;
    let now_ms = seconds * 1000 + micros / 1000;
    let mut held: HashMap<String, u64> = HashMap::new();
    keeper::scan_held(&inner.link, keys, |_, booked| {
        *held.entry(booked.owner).or_default() += 1;
    })
    .await?;
    let info = |(owner, end): (String, f64)| {
        let known: Particulars = serde_json::from_str(particulars.get(&owner)?).ok()?;
        #[expect(
            clippy::cast_possible_truncation,
            reason = "it is a time in milliseconds"
        )]
        let end_ms = end as i64;
        if end_ms < now_ms {
            return None;
        }
        let silent_ms = now_ms - (end_ms - known.lease_ms);
        Some(ConsumerInfo {
            name: known.name,
            pid: known.pid,
            queues: known.queues,
            held: held.get(&owner).copied().unwrap_or(0),
            started_at: Timestamp::from_millisecond(known.started_ms).ok()?,
            silent_for: Duration::from_millis(u64::try_from(silent_ms).unwrap_or(0)),
        })
    };
    Ok(leases.into_iter().filter_map(info).collect())
}

/// Drops what nobody holds.
pub(super) async fn purge(inner: &Inner, queue: &QueueName) -> Result<u64, Failure> {
    let lists = inner.keys.lists(std::slice::from_ref(queue));
    let mut dropped = 0;
    loop {
        let keys = inner.keys.script().into_iter();
        let mut call = Call::new(
            &scripts::PURGE,
            keys.chain(lists.iter().map(String::as_str)),
        );
        call.arg(PURGED_AT_ONCE);
        let (now, more): (u64, bool) = inner.link.run(call).await?;
        dropped += now;
        if !more {
            return Ok(dropped);
        }
    }
}
