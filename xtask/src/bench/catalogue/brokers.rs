//! What goes through Redis and RabbitMQ, by workers in Rust.

use super::counts_on_servers;
use crate::bench::measure::{Bound, Figure, Language, Measure, Peer};

pub(super) const MEASURES: &[Measure] = &[
    Measure {
        name: "redis-drain",
        title: "a backlog of empty tasks without results on Redis, one worker",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(40_000.0)),
        servers: true,
        peers: &[
            celery(40.0),
            BULLMQ,
            crates("apalis, batches of 100", "apalis", Some(3.0)),
            crates("apalis, batches of 100, no locks", "apalis-unlocked", None),
        ],
    },
    Measure {
        name: "redis-results",
        title: "the same with results, which the client collects",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(20_000.0)),
        servers: true,
        peers: &[celery(20.0)],
    },
    Measure {
        name: "redis-send",
        title: "empty tasks sent in bulk to Redis",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(150_000.0)),
        servers: true,
        peers: &[],
    },
    Measure {
        name: "redis-send-1",
        title: "the same sent one by one, many under way",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(40_000.0)),
        servers: true,
        peers: &[],
    },
    Measure {
        name: "redis-latency",
        title: "one task through an idle worker of another process, on Redis",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(0.8)),
        servers: true,
        peers: &[celery(2.5)],
    },
    Measure {
        name: "amqp-drain",
        title: "a backlog of empty tasks without results on RabbitMQ, one worker",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(30_000.0)),
        servers: true,
        peers: &[
            celery(9.0),
            crates(
                "rusty-celery, prefetch 100, early ack",
                "rusty-celery",
                Some(1.2),
            ),
        ],
    },
    Measure {
        name: "amqp-send",
        title: "empty tasks sent in bulk to RabbitMQ, each confirmed",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: true,
        peers: &[],
    },
    Measure {
        name: "amqp-latency",
        title: "one task through an idle worker of another process, on RabbitMQ",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(1.2)),
        servers: true,
        peers: &[celery(2.5)],
    },
    Measure {
        name: "redis-flood",
        title: "a backlog of empty tasks on Redis while 2,000 commands a second are broadcast",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: true,
        peers: &[UNFLOODED],
    },
    Measure {
        name: "amqp-flood",
        title: "the same on RabbitMQ",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: true,
        peers: &[UNFLOODED],
    },
    Measure {
        name: "worker-start",
        title: "from the start of a worker on Redis until it takes tasks",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(50.0)),
        servers: true,
        peers: &[],
    },
    counts_on_servers("worker-memory", "what a worker on Redis takes"),
    counts_on_servers(
        "redis-kill9",
        "10,000 tasks on Redis, the worker killed 50 times",
    ),
    counts_on_servers(
        "amqp-kill9",
        "10,000 tasks on RabbitMQ, the worker killed 50 times",
    ),
    counts_on_servers(
        "redis-proxy-cut",
        "Redis cut off right after a message was given, the worker killed",
    ),
    counts_on_servers(
        "amqp-proxy-cut",
        "RabbitMQ cut off right after a message was given, the worker killed",
    ),
    counts_on_servers(
        "redis-partition",
        "60 s of silence between a worker and Redis",
    ),
    counts_on_servers(
        "amqp-partition",
        "60 s of silence between a worker and RabbitMQ",
    ),
    counts_on_servers(
        "redis-stops",
        "a worker on Redis stopped 500 times, and at bad moments",
    ),
    counts_on_servers(
        "amqp-stops",
        "a worker on RabbitMQ stopped 500 times, and at bad moments",
    ),
    counts_on_servers(
        "redis-restarts",
        "Redis killed 20 times while it is worked with",
    ),
    counts_on_servers(
        "amqp-restarts",
        "RabbitMQ killed 20 times while it is worked with",
    ),
    counts_on_servers(
        "redis-flapping",
        "a network to Redis that comes and goes for 10 minutes",
    ),
    counts_on_servers(
        "amqp-flapping",
        "a network to RabbitMQ that comes and goes for 10 minutes",
    ),
    counts_on_servers("redis-slow", "a slow network to Redis"),
    counts_on_servers("amqp-slow", "a slow network to RabbitMQ"),
    counts_on_servers(
        "redis-torn",
        "connections to Redis that end within every frame",
    ),
    counts_on_servers(
        "amqp-torn",
        "connections to RabbitMQ that end within every frame",
    ),
    counts_on_servers(
        "redis-visibility",
        "a task of 30 s beside Celery with a visibility timeout of 3 s",
    ),
    Measure {
        name: "redis-idle",
        title: "the part of a core that a worker on Redis takes with nothing to do",
        figure: Figure::Percent,
        target: Some(Bound::AtMost(0.2)),
        servers: true,
        peers: &[],
    },
    Measure {
        name: "amqp-idle",
        title: "the part of a core that a worker on RabbitMQ takes with nothing to do",
        figure: Figure::Percent,
        target: Some(Bound::AtMost(0.2)),
        servers: true,
        peers: &[],
    },
    Measure {
        name: "redis-events",
        title: "`redis-drain` by a worker that tells monitors of each task",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: true,
        peers: &[SILENT],
    },
    Measure {
        name: "amqp-events",
        title: "`amqp-drain` by a worker that tells monitors of each task",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: true,
        peers: &[SILENT],
    },
    Measure {
        name: "redis-eta",
        title: "how late each of 10,000 tasks runs that are due at one moment, on Redis",
        figure: Figure::Milliseconds,
        target: Some(Bound::MostlyAtMost(1_000.0)),
        servers: true,
        peers: &[],
    },
    Measure {
        name: "redis-eta-single",
        title: "how late a task runs while 1,000,000 others wait for a far time, on Redis",
        figure: Figure::Milliseconds,
        target: Some(Bound::MostlyAtMost(100.0)),
        servers: true,
        peers: &[],
    },
    Measure {
        name: "amqp-eta",
        title: "how late each of 10,000 tasks runs that are due at one moment, on RabbitMQ",
        figure: Figure::Milliseconds,
        target: Some(Bound::MostlyAtMost(1_000.0)),
        servers: true,
        peers: &[],
    },
    Measure {
        name: "amqp-eta-single",
        title: "how late a task runs while 1,000,000 others wait for a far time, on RabbitMQ",
        figure: Figure::Milliseconds,
        target: Some(Bound::MostlyAtMost(100.0)),
        servers: true,
        peers: &[],
    },
    counts_on_servers(
        "redis-revoked",
        "100,000 calls revoked by remote control 2 s before they are sent, on Redis",
    ),
    counts_on_servers(
        "amqp-revoked",
        "100,000 calls revoked by remote control 2 s before they are sent, on RabbitMQ",
    ),
];

const fn celery(ratio: f64) -> Peer {
    Peer {
        title: "Celery prefork -c 2",
        language: Language::Celery,
        side: "Celery",
        ratio: Some(ratio),
    }
}

const fn crates(title: &'static str, side: &'static str, ratio: Option<f64>) -> Peer {
    Peer {
        title,
        language: Language::Crates,
        side,
        ratio,
    }
}

const BULLMQ: Peer = Peer {
    title: "BullMQ, concurrency 20",
    language: Language::Node,
    side: "BullMQ",
    ratio: Some(3.0),
};

const SILENT: Peer = Peer {
    title: "the same without events",
    language: Language::Rust,
    side: "silent",
    ratio: Some(0.85),
};

const UNFLOODED: Peer = Peer {
    title: "the same while as much is broadcast that nobody hears",
    language: Language::Rust,
    side: "quiet",
    ratio: Some(0.9),
};
