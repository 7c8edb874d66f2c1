//! The names of kombu's keys and of ours.
//!
//! # Sources
//!
//! kombu's Redis transport: lists by priority step, binding tables, the hash and index of held
//! messages.

use celeriac_core::QueueName;

use super::settings::Settings;

/// What kombu writes between the parts of a name.
pub(super) const SEPARATOR: &str = "\u{6}\u{16}";

/// Our own keys begin with this, after the prefix.
const OWN: &str = "_celeriac.";

/// What the queue of one consumer for what is broadcast begins with; kombu calls its own so too.
const PRIVATE: &str = "bcast.";

/// The queue of one consumer, among its others, for what is broadcast.
pub(super) fn private(owner: &str, number: usize) -> String {
    format!("{PRIVATE}{owner}.{number}")
}

/// Whether a queue is one consumer's, and of ours: kombu's have hyphens and no number.
pub(super) fn is_private(queue: &str) -> bool {
    let parts = queue
        .strip_prefix(PRIVATE)
        .and_then(|rest| rest.split_once('.'));
    parts.is_some_and(|(owner, _)| owner.len() == 32 && !owner.contains('-'))
}

/// The keys of one store.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    separator: String,
    steps: Vec<u8>,
    /// Held messages.
    pub(super) unacked: String,
    /// When each was delivered.
    pub(super) unacked_index: String,
    /// Whoever looks for stale ones has this lock.
    pub(super) unacked_mutex: String,
    /// What our own keys begin with.
    pub(super) own: String,
    result_prefix: String,
    db: i64,
}

impl Keys {
    /// The keys as these settings name them.
    pub(super) fn new(settings: &Settings) -> Self {
        let prefix = settings.key_prefix.clone();
        let mut result_prefix = settings.result_prefix.clone();
        if !result_prefix.is_empty() && !result_prefix.ends_with([':', '_', '-', '.']) {
            result_prefix.push('_');
        }
        Self {
            unacked: format!("{prefix}{}", settings.unacked),
            unacked_index: format!("{prefix}{}", settings.unacked_index),
            unacked_mutex: format!("{prefix}{}", settings.unacked_mutex),
            own: format!("{prefix}{OWN}"),
            separator: settings.separator.clone(),
            steps: settings.steps.clone(),
            result_prefix,
            prefix,
            db: settings.db,
        }
    }

    /// The three keys that every script begins with.
    pub(super) fn script(&self) -> [&str; 3] {
        [&self.unacked, &self.unacked_index, &self.own]
    }

    /// One of our own keys.
    pub(super) fn own(&self, name: &str) -> String {
        format!("{}{name}", self.own)
    }

    fn list_of_step(&self, queue: &str, step: u8) -> String {
        let (prefix, separator) = (&self.prefix, &self.separator);
        if step == 0 {
            format!("{prefix}{queue}")
        } else {
            format!("{prefix}{queue}{separator}{step}")
        }
    }

    /// The list of `queue` for messages of `priority`: that of the largest step not above it.
    pub(super) fn list(&self, queue: &str, priority: u8) -> String {
        let priority = priority.min(9);
        let fitting = self.steps.iter().copied().filter(|step| *step <= priority);
        self.list_of_step(queue, fitting.max().unwrap_or(0))
    }

    /// The lists of some queues, the most urgent step first and the queues in order.
    pub(super) fn lists(&self, queues: &[QueueName]) -> Vec<String> {
        let mut lists = Vec::with_capacity(self.steps.len() * queues.len());
        for step in &self.steps {
            lists.extend(
                queues
                    .iter()
                    .map(|queue| self.list_of_step(queue.as_str(), *step)),
            );
        }
        lists
    }

    /// The table of an exchange, and the one that outlives its queues' expiry.
    pub(super) fn bindings(&self, exchange: &str) -> [String; 2] {
        ["binding", "binding_permanent"]
            .map(|table| format!("{}_kombu.{table}.{exchange}", self.prefix))
    }

    /// The deadlines of the tables of exchanges that only passing queues are bound to.
    pub(super) fn binding_deadlines(&self) -> String {
        format!("{}_kombu.binding_deadlines", self.prefix)
    }

    /// What binds a queue in such a table.
    pub(super) fn binding(&self, routing_key: &str, pattern: &str, queue: &str) -> String {
        [routing_key, pattern, queue].join(&self.separator)
    }

    /// Routing key, pattern and queue of a binding.
    pub(super) fn read_binding<'a>(&self, binding: &'a str) -> Option<[&'a str; 3]> {
        let mut parts = binding.split(self.separator.as_str());
        Some([parts.next()?, parts.next()?, parts.next()?])
    }

    /// The channel of a fanout exchange.
    pub(super) fn channel(&self, exchange: &str, routing_key: &str) -> String {
        let (prefix, db) = (&self.prefix, self.db);
        if routing_key.is_empty() {
            format!("{prefix}/{db}.{exchange}")
        } else {
            format!("{prefix}/{db}.{exchange}/{routing_key}")
        }
    }

    /// The patterns of all channels of a fanout exchange, whatever the routing key.
    pub(super) fn channels(&self, exchange: &str) -> [String; 2] {
        let mut channel = String::new();
        for letter in self.channel(exchange, "").chars() {
            if matches!(letter, '*' | '?' | '[' | ']' | '\\') {
                channel.push('\\');
            }
            channel.push(letter);
        }
        let with_key = format!("{channel}/*");
        [channel, with_key]
    }

    /// What the keys of a chord begin with, the header of which is this group.
    pub(super) fn chord(&self, group: &str) -> String {
        format!("{}celery-taskset-meta-{group}", self.result_prefix)
    }

    /// Where the result of a call is, and the channel on which it is told.
    pub(super) fn result(&self, id: &str) -> String {
        format!("{}celery-task-meta-{id}", self.result_prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(query: &str) -> Keys {
        let url = format!("redis://localhost/1?{query}");
        Keys::new(&Settings::parse(&url).unwrap().0)
    }

    #[test]
    fn a_priority_goes_to_the_list_of_the_step_below_it() {
        let keys = keys("");
        assert_eq!(keys.list("celery", 2), "celery");
        assert_eq!(keys.list("celery", 5).as_bytes(), b"celery\x06\x163");
        assert_eq!(keys.list("celery", 200), "celery\u{6}\u{16}9");
    }

    #[test]
    fn lists_come_step_by_step() {
        let queues = ["a", "b"].map(|name| QueueName::new(name).unwrap());
        let lists = keys("priority_steps=0,9&sep=:&global_keyprefix=x.").lists(&queues);
        assert_eq!(lists, ["x.a", "x.b", "x.a:9", "x.b:9"]);
    }

    #[test]
    fn a_binding_reads_as_it_was_written() {
        let keys = keys("");
        let binding = keys.binding("celery", "", "celery");
        assert_eq!(binding, "celery\u{6}\u{16}\u{6}\u{16}celery");
        assert_eq!(keys.read_binding(&binding), Some(["celery", "", "celery"]));
        assert_eq!(keys.bindings("celery")[0], "_kombu.binding.celery");
    }

    #[test]
    fn a_channel_names_its_database() {
        let keys = keys("global_keyprefix=p_");
        assert_eq!(keys.channel("celery.pidbox", ""), "p_/1.celery.pidbox");
        assert_eq!(
            keys.channel("celeryev", "worker.#"),
            "p_/1.celeryev/worker.#"
        );
    }

    #[test]
    fn a_result_prefix_ends_in_a_mark() {
        assert_eq!(keys("").result("7"), "celery-task-meta-7");
        assert_eq!(
            keys("result_keyprefix=app").result("7"),
            "app_celery-task-meta-7"
        );
        assert_eq!(
            keys("result_keyprefix=app:").result("7"),
            "app:celery-task-meta-7"
        );
    }
}
