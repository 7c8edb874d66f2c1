//! What one side of a measure reports: a line of JSON.
//!
//! ```json
//! {"amount": 1000000, "seconds": [0.21, 0.2, 0.22]}
//! {"counts": [{"name": "lost", "count": 0, "at_most": 0}]}
//! ```
//!
//! `amount` is what each repetition got done, in the unit of the measure; for one in percent, the
//! seconds of which `seconds` are a part.

use serde_json::Value;

use super::measure::{Bound, Figure};

/// Repetitions of the same work.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Samples {
    /// What one repetition gets done, in the unit of the measure.
    amount: f64,
    /// How long each took.
    seconds: Vec<f64>,
}

/// How often something went wrong, and how often it may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Count {
    /// What went wrong.
    pub(super) name: String,
    /// How often.
    pub(super) times: u64,
    /// How often it may.
    pub(super) at_most: u64,
}

impl Samples {
    /// Reads them from a side's output.
    pub(super) fn read(output: &str) -> Option<Self> {
        let report = last_line(output)?;
        let seconds = report["seconds"].as_array()?.iter().map(Value::as_f64);
        let seconds = seconds.collect::<Option<Vec<_>>>()?;
        let amount = report["amount"].as_f64()?;
        (!seconds.is_empty()).then_some(Self { amount, seconds })
    }

    /// Takes in the repetitions of another round.
    pub(super) fn add(&mut self, other: Self) {
        self.amount = other.amount;
        self.seconds.extend(other.seconds);
    }

    /// The middle, the lowest and the highest figure.
    pub(super) fn spread(&self, figure: Figure) -> [f64; 3] {
        let values = self.sorted(figure);
        let half = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[half]
        } else {
            f64::midpoint(values[half - 1], values[half])
        };
        [median, values[0], values[values.len() - 1]]
    }

    /// The figure that 99 of 100 stay below, if there are hundreds to tell it from.
    pub(super) fn p99(&self, figure: Figure) -> Option<f64> {
        let values = self.sorted(figure);
        (values.len() >= 200).then(|| values[values.len() * 99 / 100])
    }

    fn sorted(&self, figure: Figure) -> Vec<f64> {
        let mut values: Vec<_> = self
            .seconds
            .iter()
            .map(|seconds| match figure {
                Figure::PerSecond(_) => self.amount / seconds,
                Figure::Milliseconds | Figure::Counts => seconds * 1_000.0,
                Figure::Percent => seconds / self.amount * 100.0,
            })
            .collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// How many repetitions there are.
    pub(super) fn repetitions(&self) -> usize {
        self.seconds.len()
    }

    /// Whether the middle figure reaches `bound`, or that of 99 in 100 if it is about them.
    pub(super) fn meets(&self, figure: Figure, bound: Bound) -> bool {
        let [median, ..] = self.spread(figure);
        match bound {
            Bound::AtLeast(target) => median >= target,
            Bound::AtMost(target) => median <= target,
            Bound::MostlyAtMost(target) => self.p99(figure).is_some_and(|p99| p99 <= target),
        }
    }

    /// How many times as fast as `peer` this is, by the middle figures.
    pub(super) fn times_as_fast_as(&self, peer: &Self) -> f64 {
        let rate = Figure::PerSecond("");
        self.spread(rate)[0] / peer.spread(rate)[0]
    }
}

impl Count {
    /// Reads them from the output of a measure under faults.
    pub(super) fn read_all(output: &str) -> Option<Vec<Self>> {
        let report = last_line(output)?;
        let counts = report["counts"].as_array()?.iter().map(|count| {
            Some(Self {
                name: count["name"].as_str()?.to_owned(),
                times: count["count"].as_u64()?,
                at_most: count["at_most"].as_u64()?,
            })
        });
        counts
            .collect::<Option<Vec<_>>>()
            .filter(|counts| !counts.is_empty())
    }
}

fn last_line(output: &str) -> Option<Value> {
    serde_json::from_str(output.trim_end().lines().next_back()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Figure = Figure::PerSecond("tasks");

    #[test]
    fn the_middle_and_the_ends_are_those_of_the_figure() {
        let mut samples = Samples::read(r#"{"amount": 100, "seconds": [2.0, 1.0]}"#).unwrap();
        samples.add(Samples::read(r#"{"amount": 100, "seconds": [4.0]}"#).unwrap());
        assert_eq!(samples.repetitions(), 3);
        let shown = |figure| samples.spread(figure).map(|value| value.to_string());
        assert_eq!(shown(RATE), ["50", "25", "100"]);
        assert_eq!(shown(Figure::Milliseconds), ["2000", "1000", "4000"]);

        samples.add(Samples::read(r#"{"amount": 100, "seconds": [5.0]}"#).unwrap());
        let [median, ..] = samples.spread(RATE);
        assert!((median - 37.5).abs() < 1e-9);
    }

    #[test]
    fn one_in_a_hundred_is_told_only_of_hundreds() {
        let samples = |count: u32| Samples {
            amount: 1.0,
            seconds: (1..=count).rev().map(f64::from).collect(),
        };
        assert_eq!(samples(199).p99(Figure::Milliseconds), None);
        assert_eq!(samples(200).p99(Figure::Milliseconds), Some(199_000.0));
    }

    #[test]
    fn fast_enough_means_more_a_second_or_fewer_milliseconds() {
        let samples = Samples::read(r#"{"amount": 10, "seconds": [2.0]}"#).unwrap();
        assert!(samples.meets(RATE, Bound::AtLeast(5.0)));
        assert!(!samples.meets(RATE, Bound::AtLeast(5.1)));
        assert!(samples.meets(Figure::Milliseconds, Bound::AtMost(2000.0)));
        assert!(!samples.meets(Figure::Milliseconds, Bound::AtMost(1999.0)));
    }

    #[test]
    fn mostly_fast_enough_means_99_of_100() {
        let mut samples = Samples {
            amount: 1.0,
            seconds: vec![0.1; 297],
        };
        let bound = Bound::MostlyAtMost(100.0);
        samples.seconds.extend([9.0; 2]);
        assert!(samples.meets(Figure::Milliseconds, bound));
        samples.seconds.extend([9.0; 2]);
        assert!(!samples.meets(Figure::Milliseconds, bound));
        samples.seconds.truncate(199);
        assert!(!samples.meets(Figure::Milliseconds, bound));
    }

    #[test]
    fn a_part_of_the_time_is_told_in_percent() {
        let samples = Samples::read(r#"{"amount": 20, "seconds": [0.05]}"#).unwrap();
        let [median, ..] = samples.spread(Figure::Percent);
        assert!((median - 0.25).abs() < 1e-9);
        assert!(!samples.meets(Figure::Percent, Bound::AtMost(0.2)));
    }

    #[test]
    fn sides_of_unequal_amounts_are_compared_by_their_speed() {
        let ours = Samples::read(r#"{"amount": 100, "seconds": [1.0]}"#).unwrap();
        let peer = Samples::read(r#"{"amount": 10, "seconds": [0.5]}"#).unwrap();
        assert!((ours.times_as_fast_as(&peer) - 5.0).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_report_is_not_taken_for_one() {
        for output in ["", "hello", r#"{"amount": 1, "seconds": []}"#, "{}"] {
            assert_eq!(Samples::read(output), None, "{output}");
            assert_eq!(Count::read_all(output), None, "{output}");
        }
    }

    #[test]
    fn the_report_is_the_last_line() {
        let output =
            "killed 50 times\n{\"counts\": [{\"name\": \"lost\", \"count\": 1, \"at_most\": 0}]}\n";
        let lost = Count {
            name: "lost".to_owned(),
            times: 1,
            at_most: 0,
        };
        assert_eq!(Count::read_all(output), Some(vec![lost]));
    }
}
