//! What is done to apps of Celery's: by operators, and by workers in its place.

use super::counts_on_servers;
use crate::bench::measure::{Bound, Figure, Language, Measure, Peer};

pub(super) const MEASURES: &[Measure] = &[
    Measure {
        name: "inspect-redis",
        title: "from the start of `celeriac inspect ping` to its end, one idle worker on Redis",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(20.0)),
        servers: true,
        peers: &[inspect("celery inspect ping")],
    },
    Measure {
        name: "inspect-redis-cpu",
        title: "the time of the same on a processor, on Redis",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(5.0)),
        servers: true,
        peers: &[inspect("celery inspect ping")],
    },
    Measure {
        name: "inspect-amqp",
        title: "from the start of `celeriac inspect ping` to its end, one idle worker on RabbitMQ, asked by its name",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(20.0)),
        servers: true,
        peers: &[inspect("celery inspect ping")],
    },
    Measure {
        name: "inspect-amqp-cpu",
        title: "the time of the same on a processor, on RabbitMQ",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(5.0)),
        servers: true,
        peers: &[inspect("celery inspect ping")],
    },
    Measure {
        name: "python-drain",
        title: "a backlog of empty tasks of Python's without results on Redis, -c 2",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(9_000.0)),
        servers: true,
        peers: &[worker_of_celery(PREFORK, "Celery", 10.0)],
    },
    Measure {
        name: "python-results",
        title: "the same with results, which the client collects",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(7_200.0)),
        servers: true,
        peers: &[worker_of_celery(PREFORK, "Celery", 8.0)],
    },
    Measure {
        name: "python-amqp-drain",
        title: "a backlog of empty tasks of Python's without results on RabbitMQ, -c 2",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(10_000.0)),
        servers: true,
        peers: &[
            worker_of_celery(PREFORK, "Celery", 3.0),
            worker_of_celery("Celery solo", "solo", 1.0),
        ],
    },
    Measure {
        name: "python-coroutines",
        title: "tasks of asyncio.sleep(0.1), -P coroutines -c 500",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(3_500.0)),
        servers: true,
        peers: &[worker_of_celery("Celery threads -c 100", "Celery", 4.0)],
    },
    Measure {
        name: "python-latency",
        title: "one task of Python's through an idle worker, on Redis",
        figure: Figure::Milliseconds,
        target: None,
        servers: true,
        peers: &[worker_of_celery(PREFORK, "Celery", 1.67)],
    },
    Measure {
        name: "python-start",
        title: "from the start of the command until it says that it is ready, -c 8",
        figure: Figure::Milliseconds,
        target: None,
        servers: true,
        peers: &[worker_of_celery("Celery prefork -c 8", "Celery", 1.43)],
    },
    counts_on_servers(
        "python-memory",
        "what a worker with 8 processes takes, all of them together",
    ),
    Measure {
        name: "python-idle",
        title: "the part of a core that a worker on Redis takes with nothing to do, all processes, -c 8",
        figure: Figure::Percent,
        target: Some(Bound::AtMost(0.2)),
        servers: true,
        peers: &[worker_of_celery("Celery prefork -c 8", "Celery", 1.0)],
    },
    Measure {
        name: "python-recycle",
        title: "empty tasks of Python's, each in a child of its own, -c 2",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: true,
        peers: &[worker_of_celery(PREFORK, "Celery", 5.0)],
    },
    counts_on_servers(
        "python-kill9",
        "10,000 tasks of Python's, children killed 200 times",
    ),
    counts_on_servers(
        "python-worker-kill9",
        "10,000 tasks of Python's, the worker killed 50 times",
    ),
];

const fn worker_of_celery(title: &'static str, side: &'static str, ratio: f64) -> Peer {
    Peer {
        title,
        language: Language::App,
        side,
        ratio: Some(ratio),
    }
}

const fn inspect(title: &'static str) -> Peer {
    Peer {
        title,
        language: Language::App,
        side: "Celery",
        ratio: None,
    }
}

const PREFORK: &str = "Celery prefork -c 2";
