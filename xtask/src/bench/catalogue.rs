//! The measures there are, and the choice of some of them.

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

/// Every measure, in the order of the table.
pub(super) const MEASURES: &[Measure] = &[
    Measure {
        name: "primes",
        title: "65 trial divisions on threads",
        figure: Figure::PerSecond("tasks"),
        target: None,
        peers: &[rayon("rayon parallel iterator", Some(0.95))],
    },
    Measure {
        name: "sum",
        title: "1 + … + 100,000,000 in 8 chunks on threads",
        figure: Figure::PerSecond("sums"),
        target: None,
        peers: &[rayon("rayon parallel iterator", Some(0.95))],
    },
    Measure {
        name: "empty-threads",
        title: "empty tasks on threads, automatic chunks, results collected",
        figure: Figure::PerSecond("tasks"),
        target: None,
        peers: &[rayon("rayon spawn and a channel", Some(0.7))],
    },
    Measure {
        name: "empty-threads-1",
        title: "the same in chunks of one",
        figure: Figure::PerSecond("tasks"),
        target: None,
        peers: &[rayon("rayon spawn and a channel", Some(0.7))],
    },
    Measure {
        name: "empty-processes",
        title: "empty tasks on processes, automatic chunks",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(5_000_000.0)),
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
        peers: &[futures("ProcessPoolExecutor", Some(3.0))],
    },
    Measure {
        name: "cold-start",
        title: "a pool of 2 processes opened and ready",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(20.0)),
        peers: &[],
    },
    Measure {
        name: "sqlite-enqueue",
        title: "empty tasks sent in bulk to SQLite, synchronous=FULL",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(150_000.0)),
        peers: &[],
    },
    Measure {
        name: "sqlite-cycle",
        title: "the same sent, run and their results fetched",
        figure: Figure::PerSecond("tasks"),
        target: Some(Bound::AtLeast(40_000.0)),
        peers: &[],
    },
    Measure {
        name: "sqlite-latency",
        title: "one task through an idle worker of another process",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(3.0)),
        peers: &[],
    },
    Measure {
        name: "hybrid",
        title: "10,000 sleeps of 1 s on 4 processes of 2,500 coroutines",
        figure: Figure::Milliseconds,
        target: Some(Bound::AtMost(1_500.0)),
        peers: &[],
    },
    Measure {
        name: "kill9",
        title: "10,000 tasks on SQLite, the worker killed 50 times",
        figure: Figure::Counts,
        target: None,
        peers: &[],
    },
    Measure {
        name: "power-cut",
        title: "sending to SQLite, the power cut 20 times",
        figure: Figure::Counts,
        target: None,
        peers: &[],
    },
];

/// The measures that `names` ask for: by name, by the first word of several, or all if none is given.
pub(super) fn picked(names: &[String]) -> Result<Vec<&'static Measure>, String> {
    let asks = |name: &str, measure: &Measure| {
        measure.name == name || (name == "sqlite" && measure.name.starts_with("sqlite-"))
    };
    for name in names {
        if !MEASURES.iter().any(|measure| asks(name, measure)) {
            let known: Vec<_> = MEASURES.iter().map(|measure| measure.name).collect();
            return Err(format!(
                "no measure `{name}`; there are {}",
                known.join(", ")
            ));
        }
    }
    let wanted = |m: &&Measure| names.is_empty() || names.iter().any(|name| asks(name, m));
    Ok(MEASURES.iter().filter(wanted).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(asked: &[&str]) -> Result<Vec<&'static str>, String> {
        let asked: Vec<_> = asked.iter().map(|&name| name.to_owned()).collect();
        Ok(picked(&asked)?.iter().map(|measure| measure.name).collect())
    }

    #[test]
    fn measures_are_picked_in_the_order_of_the_table() {
        assert_eq!(names(&["sum", "primes"]).unwrap(), ["primes", "sum"]);
        assert_eq!(names(&[]).unwrap().len(), MEASURES.len());
    }

    #[test]
    fn sqlite_stands_for_its_three_measures() {
        let found = names(&["sqlite"]).unwrap();
        assert_eq!(found, ["sqlite-enqueue", "sqlite-cycle", "sqlite-latency"]);
    }

    #[test]
    fn an_unknown_measure_is_refused_with_the_list() {
        let error = names(&["prime"]).unwrap_err();
        assert!(
            error.starts_with("no measure `prime`; there are primes, sum"),
            "{error}"
        );
    }
}
