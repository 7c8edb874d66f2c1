//! Which deliveries of a channel are unsettled, and how few words acknowledge those that are done.

use std::collections::BTreeSet;

/// The unsettled deliveries of one channel, by their numbers.
#[derive(Debug, Default)]
pub(crate) struct Unsettled(BTreeSet<u64>);

impl Unsettled {
    /// Takes note of a delivery.
    pub(crate) fn add(&mut self, tag: u64) {
        self.0.insert(tag);
    }

    /// Takes out what is done, and gives the acknowledgements: each a number, and whether it means
    /// all before it too.
    ///
    /// Up to `arrived` all deliveries have been noted. One beyond, which has not, may stand before what
    /// is done, and must not be meant.
    ///
    /// They must be sent before the next ones are asked for: one that means all before it may mean
    /// a later one too.
    pub(crate) fn settle(
        &mut self,
        done: impl IntoIterator<Item = u64>,
        arrived: u64,
    ) -> Vec<(u64, bool)> {
        let mut done: Vec<u64> = done.into_iter().filter(|tag| self.0.remove(tag)).collect();
        done.sort_unstable();
        let first_open = self.0.first().copied().unwrap_or(u64::MAX);
        let together = done.partition_point(|tag| *tag < first_open && *tag <= arrived);
        let mut acks = Vec::with_capacity(done.len() - together + 1);
        if let Some(last) = together.checked_sub(1) {
            acks.push((done[last], together > 1));
        }
        acks.extend(done[together..].iter().map(|tag| (*tag, false)));
        acks
    }

    /// Forgets all: the channel is gone.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_beginning_without_gaps_takes_one_word() {
        let mut unsettled = Unsettled::default();
        (1..=6).for_each(|tag| unsettled.add(tag));
        assert_eq!(unsettled.settle([2, 1, 3, 5], 6), [(3, true), (5, false)]);
        assert_eq!(unsettled.settle([4], 6), [(4, false)]);
        assert_eq!(unsettled.settle([6, 6, 9], 6), [(6, false)]);
    }

    #[test]
    fn what_has_not_arrived_is_not_acknowledged_with_what_has() {
        let mut unsettled = Unsettled::default();
        for tag in [1, 3, 4] {
            unsettled.add(tag);
        }
        let acks = unsettled.settle([1, 3, 4], 1);
        assert_eq!(acks, [(1, false), (3, false), (4, false)]);
    }

    proptest! {
        #[test]
        fn each_is_acknowledged_once_and_nothing_else_is(
            batches in prop::collection::vec(prop::collection::vec(1_u64..60, 0..20), 0..12),
            absent in prop::collection::btree_set(1_u64..60, 0..3),
        ) {
            let mut unsettled = Unsettled::default();
            let mut server: BTreeSet<u64> = (1..60).collect();
            let arrived = absent.first().map_or(59, |first| first - 1);
            server.difference(&absent).for_each(|tag| unsettled.add(*tag));
            for batch in batches {
                let mut expected = server.clone();
                expected.retain(|tag| absent.contains(tag) || !batch.contains(tag));
                for (tag, multiple) in unsettled.settle(batch, arrived) {
                    prop_assert!(server.contains(&tag), "the server would close the channel");
                    if multiple {
                        server.retain(|other| *other > tag);
                    } else {
                        server.remove(&tag);
                    }
                }
                prop_assert_eq!(&server, &expected);
            }
        }
    }
}
