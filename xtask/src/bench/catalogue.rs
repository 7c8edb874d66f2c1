//! The measures there are.

use super::measure::{Bound, Figure, Language, Measure, Peer};

const fn rayon(title: &'static str, ratio: Option<f64>) -> Peer {
    Peer {
        title,
        language: Language::Rust,
        side: "rayon",
        ratio,
    }
}

const fn futures(title: &'static str, ratio: Option<f64>) -> Peer {
    Peer {
        title,
        language: Language::Python,
        side: "ProcessPoolExecutor",
        ratio,
    }
}

const fn multiprocessing(title: &'static str, ratio: Option<f64>) -> Peer {
    Peer {
        title,
        language: Language::Python,
        side: "Pool",
        ratio,
    }
}

/// What processes share in Python, and whom it is compared with there.
const fn shared(
    name: &'static str,
    title: &'static str,
    figure: &'static str,
    target: Option<f64>,
    peers: &'static [Peer],
) -> Measure {
    Measure {
        name,
        title,
        figure: Figure::PerSecond(figure),
        target: match target {
            Some(target) => Some(Bound::AtLeast(target)),
            None => None,
        },
        servers: false,
        peers,
    }
}

const fn of_multiprocessing(title: &'static str, ratio: Option<f64>) -> Peer {
    Peer {
        title,
        language: Language::Python,
        side: "multiprocessing",
        ratio,
    }
}

/// Only beside ours: it is not what ours is built on, and can less.
const fn of_std(title: &'static str) -> Peer {
    Peer {
        title,
        language: Language::Rust,
        side: "std",
        ratio: None,
    }
}

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

/// What is counted says itself how much of it is too much.
const fn counts(name: &'static str, title: &'static str) -> Measure {
    Measure {
        name,
        title,
        figure: Figure::Counts,
        target: None,
        servers: false,
        peers: &[],
    }
}

const fn counts_on_servers(name: &'static str, title: &'static str) -> Measure {
    Measure {
        servers: true,
        ..counts(name, title)
    }
}

const PREFORK: &str = "Celery prefork -c 2";

/// Every measure, in the order of the table.
pub(super) const MEASURES: &[Measure] = &[
    Measure {
        name: "primes",
        title: "65 trial divisions on threads",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: false,
        peers: &[rayon("rayon parallel iterator", Some(0.95))],
    },
    Measure {
        name: "sum",
        title: "1 + … + 100,000,000 in 8 chunks on threads",
        figure: Figure::PerSecond("sums"),
        target: None,
        servers: false,
        peers: &[rayon("rayon parallel iterator", Some(0.95))],
    },
    Measure {
        name: "empty-threads",
        title: "empty tasks on threads, automatic chunks, results collected",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: false,
        peers: &[rayon("rayon spawn and a channel", Some(0.7))],
    },
    Measure {
        name: "empty-threads-1",
        title: "the same in chunks of one",
        figure: Figure::PerSecond("tasks"),
        target: None,
        servers: false,
        peers: &[rayon("rayon spawn and a channel", Some(0.7))],
    },
    Measure {
        name: "empty-processes",
        title: "empty tasks on processes, automatic chunks",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(5_000_000.0)),
        servers: false,
        peers: &[
            futures("ProcessPoolExecutor, chunks of 100", Some(5.0)),
            multiprocessing("Pool.imap_unordered, chunks of 100", Some(1.0)),
        ],
    },
    Measure {
        name: "empty-processes-1",
        title: "empty tasks on processes, chunks of one",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(150_000.0)),
        servers: false,
        peers: &[
            futures("ProcessPoolExecutor, chunks of one", Some(15.0)),
            multiprocessing("Pool.imap_unordered, chunks of one", Some(2.0)),
        ],
    },
    Measure {
        name: "bodies",
        title: "1,000 bodies of 1 MB to a child and back",
        figure: Figure::PerSecond("MB"),
        target: None,
        servers: false,
        peers: &[futures("ProcessPoolExecutor", Some(3.0))],
    },
    Measure {
        name: "cold-start",
        title: "a pool of 2 processes opened and ready",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(20.0)),
        servers: false,
        peers: &[],
    },
    shared(
        "process-lock",
        "a lock between processes, taken by one",
        "locks",
        Some(25_000_000.0),
        &[of_multiprocessing("multiprocessing.Lock", None)],
    ),
    shared(
        "process-lock-2",
        "the same taken by 2 processes at once",
        "locks",
        None,
        &[of_multiprocessing("multiprocessing.Lock", Some(10.0))],
    ),
    shared(
        "process-queue",
        "items of 64 bytes through a queue, from 1 process to 1",
        "items",
        Some(1_000_000.0),
        &[of_multiprocessing("multiprocessing.Queue", Some(10.0))],
    ),
    shared(
        "process-queue-2",
        "the same from 2 processes to 2",
        "items",
        Some(1_000_000.0),
        &[of_multiprocessing("multiprocessing.Queue", Some(10.0))],
    ),
    shared(
        "process-queue-large",
        "items of 1 MB through a queue between processes",
        "MB",
        None,
        &[of_multiprocessing("multiprocessing.Queue", Some(5.0))],
    ),
    shared(
        "process-value",
        "a value between processes incremented under its lock",
        "increments",
        Some(10_000_000.0),
        &[of_multiprocessing("multiprocessing.Value", None)],
    ),
    shared(
        "process-dict",
        "get and set of small values of a dictionary between processes",
        "calls",
        Some(500_000.0),
        &[of_multiprocessing("Manager().dict()", Some(20.0))],
    ),
    Measure {
        name: "process-takeover",
        title: "the next holder has a lock whose holder was killed",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(1.0)),
        servers: false,
        peers: &[],
    },
    shared(
        "thread-lock",
        "a lock of threads, taken by one",
        "locks",
        None,
        &[of_std("std::sync::Mutex")],
    ),
    shared(
        "thread-queue",
        "numbers through a queue from thread to thread",
        "items",
        None,
        &[of_std("std::sync::mpsc::sync_channel")],
    ),
    Measure {
        name: "sqlite-enqueue",
        title: "empty tasks sent in bulk to SQLite, synchronous=FULL",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(150_000.0)),
        servers: false,
        peers: &[],
    },
    Measure {
        name: "sqlite-cycle",
        title: "the same sent, run and their results fetched",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(40_000.0)),
        servers: false,
        peers: &[],
    },
    Measure {
        name: "sqlite-latency",
        title: "one task through an idle worker of another process",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(3.0)),
        servers: false,
        peers: &[],
    },
    Measure {
        name: "hybrid",
        title: "10,000 sleeps of 1 s on 4 processes of 2,500 coroutines",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(1_500.0)),
        servers: false,
        peers: &[],
    },
    counts(
        "kill9",
        "10,000 tasks on SQLite, the worker killed 50 times",
    ),
    counts("power-cut", "sending to SQLite, the power cut 20 times"),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_compared_with_a_task_queue_has_servers() {
        let queues = [
            Language::Celery,
            Language::App,
            Language::Crates,
            Language::Node,
        ];
        let queue = |peer: &Peer| queues.contains(&peer.language);
        let mut compared = MEASURES.iter().filter(|m| m.peers.iter().any(queue));
        assert!(compared.all(|measure| measure.servers));
    }
}
