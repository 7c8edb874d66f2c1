//! What is counted, sent to a StatsD server: datagrams, which nobody waits for.
//!
//! # Sources
//!
//! The lines are those of Etsy's StatsD, with the tags of DogStatsD if they are asked for.

use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use celeriac_core::QueueInfo;
use celeriac_worker::{Metrics, TaskMetrics};
use tracing::debug;

use crate::counters::{COUNTERS, states};

/// The most bytes in a datagram: what an Ethernet carries whole through a tunnel or two.
const DATAGRAM_BYTES: usize = 1432;

/// How much of a name is told, so that every line fits.
const NAME_CHARS: usize = 150;

/// A StatsD server, and what it was told so far.
#[derive(Debug)]
pub(crate) struct Statsd {
    socket: UdpSocket,
    to: SocketAddr,
    prefix: String,
    with_tags: bool,
    told: Mutex<Metrics>,
}

/// What is measured of a task, in all.
type Time = (&'static str, fn(&TaskMetrics) -> u64);

const TIMES: [Time; 2] = [
    ("runtime_ms", |it| milliseconds(it.runtime.sum)),
    ("wait_ms", |it| milliseconds(it.wait.sum)),
];

fn milliseconds(time: Duration) -> u64 {
    time.as_millis().try_into().unwrap_or(u64::MAX)
}

impl Statsd {
    /// Needs no server: one that is not there is not missed.
    pub(crate) fn new(to: SocketAddr, prefix: &str, with_tags: bool) -> io::Result<Self> {
        let own: SocketAddr = match to {
            SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = UdpSocket::bind(own)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            to,
            prefix: prefix.to_owned(),
            with_tags,
            told: Mutex::default(),
        })
    }

    /// Tells what was counted since it was told last.
    pub(crate) fn count(&self, metrics: &Metrics) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut packets = self.packets();
        for task in &metrics.tasks {
            let before = |it: &&TaskMetrics| it.task == task.task && it.queue == task.queue;
            let before = told.tasks.iter().find(before);
            let labels = [("task", &*task.task), ("queue", &*task.queue)];
            for (name, of) in COUNTERS.map(|it| (it.name, it.of)).into_iter().chain(TIMES) {
                let more = of(task) - before.map_or(0, of);
                if more > 0 {
                    packets.line("tasks", &labels, name, more, "c");
                }
            }
        }
        told.clone_from(metrics);
    }

    /// Tells how things stand.
    pub(crate) fn gauge(&self, ready: bool, metrics: &Metrics, queues: &[QueueInfo]) {
        let mut packets = self.packets();
        for (group, name, value) in [
            ("worker", "ready", usize::from(ready)),
            ("pool", "slots", metrics.slots),
            ("pool", "running", metrics.running),
            ("leases", "held", metrics.held),
            ("leases", "settling", metrics.settling),
        ] {
            packets.line(group, &[], name, value as u64, "g");
        }
        for queue in queues {
            let labels = [("queue", queue.name.as_str())];
            for (state, count) in states(queue) {
                packets.line("queues", &labels, state, count, "g");
            }
        }
    }

    fn packets(&self) -> Packets<'_> {
        Packets {
            to: self,
            packet: String::new(),
        }
    }
}

/// Lines on their way into datagrams; the last one is sent when this is dropped.
struct Packets<'a> {
    to: &'a Statsd,
    packet: String,
}

impl Packets<'_> {
    fn line(&mut self, group: &str, labels: &[(&str, &str)], name: &str, value: u64, sort: &str) {
        let mut line = format!("{}.{group}", self.to.prefix);
        if !self.to.with_tags {
            for (_, value) in labels {
                line.push('.');
                line.extend(plain(value, |c| c == '.'));
            }
        }
        let _ = write!(line, ".{name}:{value}|{sort}");
        if self.to.with_tags {
            for (number, (label, value)) in labels.iter().enumerate() {
                line.push_str(if number == 0 { "|#" } else { "," });
                let _ = write!(line, "{label}:");
                line.extend(plain(value, |_| false));
            }
        }
        if self.packet.len() + 1 + line.len() > DATAGRAM_BYTES {
            self.send();
        }
        if !self.packet.is_empty() {
            self.packet.push('\n');
        }
        self.packet.push_str(&line);
    }

    fn send(&mut self) {
        if !self.packet.is_empty()
            && let Err(error) = self.to.socket.send_to(self.packet.as_bytes(), self.to.to)
        {
            debug!(%error, "counts were not sent to StatsD");
        }
        self.packet.clear();
    }
}

impl Drop for Packets<'_> {
    fn drop(&mut self) {
        self.send();
    }
}

/// As much of a name as is told, in characters that mean nothing in a line.
fn plain(name: &str, ends: impl Fn(char) -> bool) -> impl Iterator<Item = char> {
    name.chars().take(NAME_CHARS).map(move |c| {
        let means = matches!(c, ':' | '|' | '@' | '#' | ',' | '/') || c.is_whitespace();
        if means || c.is_control() || ends(c) {
            '_'
        } else {
            c
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::QueueName;

    /// What a server hears of `tell`, line by line.
    fn heard(with_tags: bool, tell: impl FnOnce(&Statsd)) -> Vec<String> {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        tell(&Statsd::new(to, "app", with_tags).unwrap());
        // On this machine what is sent is there when sending returns.
        server.set_nonblocking(true).unwrap();
        let mut lines = Vec::new();
        let mut datagram = [0; 2 * DATAGRAM_BYTES];
        while let Ok(length) = server.recv(&mut datagram) {
            assert!(length <= DATAGRAM_BYTES, "{length}");
            let text = std::str::from_utf8(&datagram[..length]).unwrap();
            lines.extend(text.lines().map(str::to_owned));
        }
        lines
    }

    fn gauges(queue: &str) -> impl FnOnce(&Statsd) {
        let queue = QueueInfo {
            name: QueueName::new(queue).unwrap(),
            ready: 7,
            delayed: 0,
            held: 0,
            dead: 0,
        };
        move |statsd| statsd.gauge(true, &Metrics::default(), &[queue])
    }

    #[test]
    fn names_stand_in_the_path_or_in_tags() {
        let plain = heard(false, gauges("mail.out"));
        assert!(plain.contains(&"app.worker.ready:1|g".to_owned()));
        assert!(plain.contains(&"app.queues.mail_out.ready:7|g".to_owned()));
        let tagged = heard(true, gauges("mail.out"));
        assert!(tagged.contains(&"app.queues.ready:7|g|#queue:mail.out".to_owned()));
    }

    #[test]
    fn what_would_end_a_name_is_left_out_and_a_long_one_cut() {
        let name: String = "a|b:c#é".chars().chain(['x'; 300]).collect();
        let told: String = plain(&name, |_| false).collect();
        assert!(told.starts_with("a_b_c_éx") && told.chars().count() == NAME_CHARS);
    }
}
