//! What can be set about a worker.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{QueueName, Routes, TaskId};

use crate::control::settings::ControlSettings;
use crate::linux::hostname;

/// What can be set about a worker. How much it runs at once is its executor's business.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct WorkerSettings {
    /// What it is called in lists and logs: `celeriac@host` unless set. See [`worker_name`].
    pub name: String,
    /// The queues it takes from, in turn: `celery` unless set.
    pub queues: Vec<QueueName>,
    /// How many deliveries it holds ahead of those that run.
    pub prefetch: Prefetch,
    /// A message delivered this often without being settled is dead; 5 unless set.
    pub delivery_limit: NonZeroU32,
    /// A worker not heard of for this long has lost what it holds; 10 s unless set.
    pub lease: Duration,
    /// How long what runs may go on after a warm shutdown; 25 s unless set, which fits the 30 s
    /// that Kubernetes allows.
    pub grace: Duration,
    /// Stop warm once there has been nothing to do for this long and the queues are empty, delayed
    /// messages and those of other workers included. Never, unless set.
    pub stop_when_idle: Option<Duration>,
    /// For how long nothing may be delivered before the broker is asked whether messages wait, in
    /// which case the worker consumes anew: 30 s unless set; never with `None`.
    pub stall_after: Option<Duration>,
    /// Whether the result backend is told when a task starts; not unless set.
    pub track_started: bool,
    /// Remote control and events.
    pub control: ControlSettings,
    /// Calls that it knows to be revoked before it hears of any; none unless set.
    pub revoked: Vec<TaskId>,
    /// Where the steps of a workflow are sent that name no queue, and whose task names none.
    pub routes: Routes,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            name: worker_name("celeriac@%h"),
            queues: vec![QueueName::default()],
            prefetch: Prefetch::default(),
            delivery_limit: NonZeroU32::new(5).expect("5 is not zero"),
            lease: Duration::from_secs(10),
            grace: Duration::from_secs(25),
            stall_after: Some(Duration::from_secs(30)),
            stop_when_idle: None,
            track_started: false,
            control: ControlSettings::default(),
            revoked: Vec::new(),
            routes: Routes::new(),
        }
    }
}

impl WorkerSettings {
    /// What a worker of so many slots asks the broker for.
    pub(crate) fn subscription(&self, slots: NonZeroUsize) -> Subscription {
        Subscription {
            delivery_limit: self.delivery_limit,
            suspects: slots,
            lease: self.lease,
            ..Subscription::new(self.name.as_str(), self.queues.clone())
        }
    }
}

/// How many deliveries a worker holds ahead of those that run.
///
/// It aims at work for `horizon` and for the time in which the broker answers twice, as measured: many if
/// tasks are tiny, and `multiplier` for each slot if they are long, so that other workers find some too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefetch {
    /// How long what is held ahead should last, beside a broker that answers at once; 50 ms unless set. With 0
    /// only `multiplier` counts.
    pub horizon: Duration,
    /// The fewest held ahead for each slot; 1 unless set, and with 0 long tasks are only fetched
    /// for a free slot.
    pub multiplier: usize,
    /// The most held ahead; 2,000 unless set.
    pub most: usize,
}

impl Default for Prefetch {
    fn default() -> Self {
        Self {
            horizon: Duration::from_millis(50),
            multiplier: 1,
            most: 2000,
        }
    }
}

/// Fills in a worker's name: `%h` becomes the host's name, `%n` the part of it before the first
/// dot, `%d` the part after, and `%%` a percent sign. A name without `@` gets `@%h`.
///
/// ```
/// # use celeriac_worker::worker_name;
/// assert!(worker_name("fast").starts_with("fast@"));
/// assert_eq!(worker_name("a@100%%"), "a@100%");
/// ```
pub fn worker_name(pattern: &str) -> String {
    expand(pattern, &hostname())
}

fn expand(pattern: &str, host: &str) -> String {
    let (node, domain) = host.split_once('.').unwrap_or((host, ""));
    let mut name = String::new();
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        match (c, rest.clone().next()) {
            ('%', Some('h')) => name.push_str(host),
            ('%', Some('n')) => name.push_str(node),
            ('%', Some('d')) => name.push_str(domain),
            ('%', Some('%')) => name.push('%'),
            _ => {
                name.push(c);
                continue;
            }
        }
        rest.next();
    }
    if !name.contains('@') {
        name.push('@');
        name.push_str(host);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn a_name_is_filled_in_with_parts_of_the_host() {
        for (pattern, name) in [
            ("w1@%h", "w1@box.example.org"),
            ("w1@%n", "w1@box"),
            ("%n@%d", "box@example.org"),
            ("w1", "w1@box.example.org"),
            ("100%%@x%", "100%@x%"),
            ("%x@y", "%x@y"),
        ] {
            assert_eq!(expand(pattern, "box.example.org"), name, "{pattern}");
        }
    }
}
