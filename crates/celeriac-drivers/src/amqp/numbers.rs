//! Which deliveries of a channel have arrived, by their numbers.

use std::collections::HashSet;

/// The numbers of one channel. The server counts from 1 on and leaves none out; each number comes by
/// the subscription that it was delivered to, so they may arrive out of order.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    /// The largest that has arrived.
    last: u64,
    /// Up to here all have.
    all: u64,
    /// What has arrived beyond; hardly ever anything.
    ahead: HashSet<u64>,
}

impl Numbers {
    /// Takes note of one.
    pub(crate) fn arrived(&mut self, number: u64) {
        self.last = self.last.max(number);
        if number != self.all + 1 {
            self.ahead.insert(number);
            return;
        }
        self.all = number;
        // Most of the time there are none, and nothing is to be looked up.
        while !self.ahead.is_empty() && self.ahead.remove(&(self.all + 1)) {
            self.all += 1;
        }
    }

    /// The largest that has arrived; 0 if none has.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Up to here all have arrived.
    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    /// Those that have not arrived though all did that were to: a subscription that had been ended
    /// got them. They count as arrived from now on.
    pub(crate) fn gone_astray(&mut self) -> Vec<u64> {
        let all = self.all + 1..=self.last;
        let astray = all.filter(|number| !self.ahead.contains(number)).collect();
        self.all = self.last;
        self.ahead.clear();
        astray
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_left_out_has_gone_astray() {
        let mut numbers = Numbers::default();
        for number in [1, 4, 2] {
            numbers.arrived(number);
        }
        assert_eq!(numbers.gone_astray(), [3]);
        numbers.arrived(5);
        assert!(numbers.gone_astray().is_empty());
        for number in [7, 6, 9, 8, 10] {
            numbers.arrived(number);
        }
        assert!(numbers.gone_astray().is_empty());
        assert_eq!(numbers.last(), 10);
    }

    #[test]
    fn numbers_that_have_arrived_take_no_memory() {
        let mut numbers = Numbers::default();
        for number in 1..1000 {
            numbers.arrived(number);
        }
        assert!(numbers.ahead.is_empty());
    }
}
