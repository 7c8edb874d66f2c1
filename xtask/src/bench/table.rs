//! The table of figures: for a terminal, and for `docs/benchmarks.md`.

use super::measure::{Bound, Figure, Measure, Peer};
use super::sample::{Count, Samples};
use crate::Result;

/// The heads of the columns.
const HEADS: [&str; 6] = ["measure", "ours", "peer", "ratio", "target", "met"];

/// Between these lines of the document stands the table.
const BEGIN: &str = "<!-- figures: written by `cargo xtask bench --markdown` -->";
const END: &str = "<!-- end of figures -->";

/// One line of the table: a figure of ours and what it is held against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    cells: [String; 6],
    met: Option<bool>,
}

impl Row {
    /// Our figure against a target of its own, or none.
    pub(super) fn alone(measure: &Measure, ours: &Samples) -> Self {
        let met = |bound| ours.meets(measure.figure, bound);
        let target = measure.target.map_or(String::new(), |bound| match bound {
            Bound::AtLeast(value) => format!("≥ {}", shown(value, measure.figure)),
            Bound::AtMost(value) => format!("≤ {}", shown(value, measure.figure)),
            Bound::MostlyAtMost(value) => format!("p99 ≤ {}", shown(value, measure.figure)),
        });
        let figure = with_spread(ours, measure.figure);
        let met = measure.target.map(met);
        Self::new(measure, [figure, String::new(), String::new(), target], met)
    }

    /// Our figure against a peer's.
    pub(super) fn beside(measure: &Measure, ours: &Samples, peer: &Peer, theirs: &Samples) -> Self {
        let ratio = ours.times_as_fast_as(theirs);
        let cells = [
            with_spread(ours, measure.figure),
            format!("{}: {}", peer.title, with_spread(theirs, measure.figure)),
            format!("{ratio:.2}"),
            peer.ratio
                .map_or(String::new(), |least| format!("≥ {least} ×")),
        ];
        Self::new(measure, cells, peer.ratio.map(|least| ratio >= least))
    }

    /// How often something went wrong.
    pub(super) fn counted(measure: &Measure, count: &Count) -> Self {
        let cells = [
            format!("{} {}", count.times, count.name),
            String::new(),
            String::new(),
            format!("≤ {}", count.at_most),
        ];
        Self::new(measure, cells, Some(count.times <= count.at_most))
    }

    fn new(measure: &Measure, cells: [String; 4], met: Option<bool>) -> Self {
        let [ours, peer, ratio, target] = cells;
        let verdict = met.map_or("", |met| if met { "yes" } else { "NO" });
        let name = format!("`{}`: {}", measure.name, measure.title);
        Self {
            cells: [name, ours, peer, ratio, target, verdict.to_owned()],
            met,
        }
    }

    /// Whether the target is reached, if there is one.
    pub(super) fn met(&self) -> Option<bool> {
        self.met
    }
}

/// The middle figure, what one in a hundred takes if that is known, the ends, and of how many.
fn with_spread(samples: &Samples, figure: Figure) -> String {
    let [median, low, high] = samples.spread(figure);
    let figures = match samples.p99(figure) {
        Some(p99) => format!("p50 {}, p99 {}", shown(median, figure), shown(p99, figure)),
        None => shown(median, figure),
    };
    format!(
        "{figures} ({} … {}, {} runs)",
        number(low),
        number(high),
        samples.repetitions()
    )
}

fn shown(value: f64, figure: Figure) -> String {
    match figure {
        Figure::PerSecond(unit) => format!("{} {unit}/s", number(value)),
        Figure::Milliseconds => format!("{} ms", number(value)),
        Figure::Percent => format!("{} %", number(value)),
        Figure::Counts => number(value),
    }
}

/// `value` to about three digits, with commas between thousands.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.*}", if value < 10.0 { 2 } else { 1 });
    }
    let digits = format!("{value:.0}");
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// The rows in columns, for a terminal.
pub(super) fn plain(rows: &[Row]) -> String {
    let heads = HEADS.map(str::to_owned);
    let lines: Vec<_> = [&heads]
        .into_iter()
        .chain(rows.iter().map(|row| &row.cells))
        .collect();
    let width = |column: usize| {
        lines
            .iter()
            .map(|cells| cells[column].chars().count())
            .max()
    };
    let mut text = String::new();
    for cells in &lines {
        let line: Vec<_> = cells
            .iter()
            .enumerate()
            .map(|(column, cell)| format!("{cell:0$}", width(column).unwrap_or(0)))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// `document` with `rows` in its table in the place of those of the same measures.
///
/// Lines of measures that were not run stay, so that one measure can be repeated; `names` is the
/// order of all.
pub(super) fn put_into(
    document: &str,
    rows: &[Row],
    names: &[&str],
    about: &str,
) -> Result<String> {
    let (before, rest) = document
        .split_once(BEGIN)
        .ok_or_else(|| format!("no line `{BEGIN}`"))?;
    let (old, after) = rest
        .split_once(END)
        .ok_or_else(|| format!("no line `{END}`"))?;
    let fresh: Vec<_> = rows
        .iter()
        .map(|row| format!("| {} |", row.cells.join(" | ")))
        .collect();
    let mut lines = Vec::new();
    for name in names {
        let start = format!("| `{name}`:");
        let of_it = |line: &&str| line.starts_with(&start);
        let mut new = fresh.iter().map(String::as_str).filter(of_it).peekable();
        if new.peek().is_some() {
            lines.extend(new);
        } else {
            lines.extend(old.lines().filter(of_it));
        }
    }
    let heads = HEADS.join(" | ");
    let rule = HEADS.map(|_| "---").join(" | ");
    let body = lines.join("\n");
    Ok(format!(
        "{before}{BEGIN}\n{about}\n\n| {heads} |\n| {rule} |\n{body}\n{END}{after}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::measure::Language;

    const PEER: Peer = Peer {
        title: "a peer",
        language: Language::Rust,
        side: "peer",
        ratio: Some(0.7),
    };

    const fn measure(name: &'static str, target: f64) -> Measure {
        Measure {
            name,
            title: "tasks",
            figure: Figure::PerSecond("tasks"),
            target: Some(Bound::AtLeast(target)),
            servers: false,
            peers: &[PEER],
        }
    }

    fn samples(seconds: f64) -> Samples {
        let report = format!(r#"{{"amount": 1000000, "seconds": [{seconds}]}}"#);
        Samples::read(&report).unwrap()
    }

    #[test]
    fn hundreds_of_times_are_told_with_the_slowest_of_a_hundred() {
        let samples = Samples::read(&format!(
            r#"{{"amount": 1, "seconds": [{}0.009]}}"#,
            "0.001,".repeat(199)
        ));
        let text = with_spread(&samples.unwrap(), Figure::Milliseconds);
        assert_eq!(text, "p50 1.00 ms, p99 1.00 ms (1.00 … 9.00, 200 runs)");
    }

    #[test]
    fn numbers_are_short_and_grouped() {
        let cases = [
            (0.5, "0.50"),
            (12.34, "12.3"),
            (999.4, "999"),
            (1000.0, "1,000"),
            (150_000.0, "150,000"),
            (5_000_000.0, "5,000,000"),
        ];
        for (value, text) in cases {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let measure = measure("a", 2e6);
        let rows = [
            Row::alone(&measure, &samples(1.0)),
            Row::beside(&measure, &samples(1.0), &PEER, &samples(0.8)),
        ];
        let text = plain(&rows);
        let lines: Vec<_> = text.lines().collect();
        let cells: Vec<_> = lines[1]
            .split("  ")
            .map(str::trim)
            .filter(|c| !c.is_empty())
            .collect();
        let figure = "1,000,000 tasks/s (1,000,000 … 1,000,000, 1 runs)";
        assert_eq!(cells, ["`a`: tasks", figure, "≥ 2,000,000 tasks/s", "NO"]);
        assert!(
            lines[2].contains("0.80") && lines[2].ends_with("yes"),
            "{text}"
        );
        let column = |line: &str, word: &str| {
            let bytes = line.find(word).unwrap();
            line[..bytes].chars().count()
        };
        assert_eq!(column(lines[0], "met"), column(lines[1], "NO"));
        assert_eq!(column(lines[1], "NO"), column(lines[2], "yes"));
    }

    #[test]
    fn only_measures_that_were_run_are_replaced() {
        let document =
            format!("Before.\n{BEGIN}\nold\n| `b`: x | kept |\n| `a`: x | old |\n{END}\nAfter.\n");
        let rows = [Row::alone(&measure("a", 1.0), &samples(1.0))];

        let once = put_into(&document, &rows, &["a", "b"], "on this machine").unwrap();

        let lines: Vec<_> = once.lines().collect();
        assert_eq!(lines[..3], ["Before.", BEGIN, "on this machine"]);
        assert!(
            lines[6].starts_with("| `a`: tasks | 1,000,000 tasks/s"),
            "{once}"
        );
        assert_eq!(lines[7..], ["| `b`: x | kept |", END, "After."]);
        assert_eq!(
            put_into(&once, &rows, &["a", "b"], "on this machine").unwrap(),
            once
        );
    }

    #[test]
    fn a_document_without_the_markers_is_refused() {
        let error = put_into("nothing", &[], &[], "").unwrap_err();
        assert!(error.to_string().contains("no line"), "{error}");
    }

    #[test]
    fn a_peer_without_a_target_is_neither_met_nor_missed() {
        let peer = Peer {
            ratio: None,
            ..PEER
        };
        let row = Row::beside(&measure("a", 1.0), &samples(1.0), &peer, &samples(2.0));
        assert_eq!(row.met(), None);
        assert_eq!(row.cells[3..], ["2.00", "", ""]);
    }

    #[test]
    fn a_count_above_its_bound_is_not_met() {
        let count = Count {
            name: "lost".to_owned(),
            times: 1,
            at_most: 0,
        };
        assert_eq!(Row::counted(&measure("a", 1.0), &count).met(), Some(false));
    }
}
