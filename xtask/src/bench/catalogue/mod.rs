//! The measures there are, by what they are about.

mod apps;
mod brokers;
mod pools;
mod sharing;
mod sqlite;

use super::measure::{Figure, Measure};

/// Every measure, in the order of the table.
pub(super) fn measures() -> impl Iterator<Item = &'static Measure> {
    let families = [
        pools::MEASURES,
        sharing::MEASURES,
        sqlite::MEASURES,
        brokers::MEASURES,
        apps::MEASURES,
    ];
    families.into_iter().flatten()
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::{Language, Peer};

    #[test]
    fn who_is_compared_with_a_task_queue_has_servers() {
        let queues = [
            Language::Celery,
            Language::App,
            Language::Crates,
            Language::Node,
        ];
        let queue = |peer: &Peer| queues.contains(&peer.language);
        let mut compared = measures().filter(|m| m.peers.iter().any(queue));
        assert!(compared.all(|measure| measure.servers));
    }
}
