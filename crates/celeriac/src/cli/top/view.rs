//! How it looks.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Row, Table, TableState, Tabs};

use super::fleet::Fleet;
use super::screen::{Screen, Tab};

/// A table: its columns with their widths, and its rows.
struct Page {
    columns: Vec<(&'static str, Constraint)>,
    rows: Vec<Vec<String>>,
}

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, fleet: &Fleet, screen: &mut Screen) {
    let [head, tabs, body, said, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(1),
        Constraint::Length(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    let missed = match fleet.missed {
        0 => String::new(),
        missed => format!("  {missed} events were not heard"),
    };
    let running: u64 = fleet.workers.values().map(|worker| worker.active).sum();
    let line = format!(
        "{}  {} workers  {running} running  {:.1}/s{missed}",
        fleet.shown,
        fleet.workers.len(),
        fleet.rate(),
    );
    let bold = Style::new().add_modifier(Modifier::BOLD);
    frame.render_widget(Paragraph::new(line).style(bold), head);
    let names = Tab::ALL.iter().enumerate();
    let names = names.map(|(number, tab)| format!("{} {}", number + 1, tab.name()));
    let chosen = Tab::ALL.iter().position(|tab| *tab == screen.tab);
    frame.render_widget(Tabs::new(names).select(chosen), tabs);

    let page = page(fleet, screen.tab);
    screen.line = screen.line.min(page.rows.len().saturating_sub(1));
    let mut state = TableState::new().with_selected((!page.rows.is_empty()).then_some(screen.line));
    let header = Row::new(page.columns.iter().map(|(name, _)| *name)).style(bold);
    let rows = page.rows.into_iter().map(Row::new);
    let table = Table::new(rows, page.columns.iter().map(|(_, width)| *width))
        .header(header)
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, body, &mut state);

    let text = match &screen.typing {
        Some((task, rate)) => format!("rate of {task}, such as 10/m, and 0 for none: {rate}_"),
        None => fleet.said.clone(),
    };
    frame.render_widget(Paragraph::new(text), said);
    let help = format!("q leave  ⇥ next  ↑↓ choose  {}", screen.tab.keys());
    frame.render_widget(Paragraph::new(Line::raw(help).style(bold)), keys);
}

fn page(fleet: &Fleet, tab: Tab) -> Page {
    use Constraint::{Fill, Length};
    match tab {
        Tab::Workers => Page {
            columns: vec![
                ("worker", Fill(2)),
                ("running", Length(9)),
                ("run", Length(10)),
                ("per s", Length(8)),
                ("queues", Fill(2)),
            ],
            rows: fleet
                .workers
                .iter()
                .map(|(name, it)| {
                    let running = match it.slots {
                        0 => it.active.to_string(),
                        slots => format!("{}/{slots}", it.active),
                    };
                    let rate = format!("{:.1}", it.rate);
                    vec![
                        name.clone(),
                        running,
                        it.total.to_string(),
                        rate,
                        it.queues.join(", "),
                    ]
                })
                .collect(),
        },
        Tab::Queues => Page {
            columns: vec![
                ("queue", Fill(2)),
                ("ready", Length(10)),
                ("unacked", Length(10)),
                ("delayed", Length(10)),
                ("dead", Length(10)),
            ],
            rows: fleet
                .queues
                .iter()
                .map(|it| {
                    let counts =
                        [it.ready, it.held, it.delayed, it.dead].map(|count| count.to_string());
                    std::iter::once(it.name.to_string()).chain(counts).collect()
                })
                .collect(),
        },
        Tab::Tasks => Page {
            columns: vec![
                ("task", Fill(2)),
                ("run", Length(10)),
                ("per s", Length(8)),
                ("succeeded", Length(10)),
                ("failed", Length(8)),
                ("retried", Length(8)),
                ("mean s", Length(8)),
            ],
            rows: fleet
                .tasks
                .iter()
                .map(|(name, it)| {
                    #[expect(clippy::cast_precision_loss, reason = "it is shown to a thousandth")]
                    let mean = match it.succeeded {
                        0 => String::new(),
                        count => format!("{:.3}", it.runtime_s / count as f64),
                    };
                    vec![
                        name.clone(),
                        it.total.to_string(),
                        format!("{:.1}", it.rate),
                        it.succeeded.to_string(),
                        it.failed.to_string(),
                        it.retried.to_string(),
                        mean,
                    ]
                })
                .collect(),
        },
        Tab::Calls => Page {
            columns: vec![
                ("call", Length(36)),
                ("task", Fill(1)),
                ("state", Length(9)),
                ("s", Length(7)),
                ("worker", Fill(1)),
                ("came to", Fill(1)),
            ],
            rows: fleet
                .calls
                .iter()
                .map(|it| {
                    let runtime = it.runtime_s.map_or_else(String::new, |s| format!("{s:.3}"));
                    vec![
                        it.id.clone(),
                        it.task.clone(),
                        it.state.clone(),
                        runtime,
                        it.worker.clone(),
                        it.note.clone(),
                    ]
                })
                .collect(),
        },
        Tab::Dead => Page {
            columns: vec![
                ("number", Length(10)),
                ("queue", Fill(1)),
                ("reason", Length(18)),
                ("deliveries", Length(10)),
                ("particulars", Fill(3)),
            ],
            rows: fleet
                .dead
                .iter()
                .map(|it| {
                    vec![
                        it.number.to_string(),
                        it.queue.to_string(),
                        it.reason.as_str().to_owned(),
                        it.deliveries.to_string(),
                        it.detail
                            .chars()
                            .map(|c| if c.is_control() { '·' } else { c })
                            .collect(),
                    ]
                })
                .collect(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::fleet::tests::busy;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    /// What a terminal of this size shows.
    fn shown(tab: Tab, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        let mut screen = Screen {
            tab,
            ..Screen::default()
        };
        let fleet = busy();
        terminal
            .draw(|frame| draw(frame, &fleet, &mut screen))
            .unwrap();
        terminal.backend().to_string()
    }

    #[test]
    fn each_page_shows_what_is_known() {
        for (tab, words) in [
            (
                Tab::Workers,
                &[
                    "redis://box:6379/0",
                    "2 workers",
                    "5.0/s",
                    "a@box",
                    "1/4",
                    "celery, slow",
                ][..],
            ),
            (Tab::Queues, &["celery", "12", "unacked", "p pause"]),
            (Tab::Tasks, &["shop.add", "40", "0.250", "l limit"]),
            (
                Tab::Calls,
                &["c-1", "c-2", "succeeded", "ValueError", "r revoke"],
            ),
            (Tab::Dead, &["reason", "t try it again"]),
        ] {
            let shown = shown(tab, 120, 16);
            for word in words {
                assert!(shown.contains(word), "no {word} in\n{shown}");
            }
        }
    }

    #[test]
    fn a_terminal_of_any_size_will_do() {
        for tab in Tab::ALL {
            for size in [(1, 1), (3, 2), (20, 5), (500, 3)] {
                shown(tab, size.0, size.1);
            }
        }
    }
}
