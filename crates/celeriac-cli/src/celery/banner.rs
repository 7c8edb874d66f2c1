//! The banner of a worker, as Celery's.

use celeriac_python::{AppReport, QueueReport};

/// The picture beside the first lines, which people know the banner by.
const ART: [&str; 12] = [
    " --------------",
    "--- ***** -----",
    "-- ******* ----",
    "- *** --- * ---",
    "- ** ----------",
    "- ** ----------",
    "- ** ----------",
    "- ** ----------",
    "- *** --- * ---",
    "-- ******* ----",
    "--- ***** -----",
    " --------------",
];

/// What a banner says beside the report of the app.
#[derive(Debug)]
pub(crate) struct Banner<'a> {
    pub(crate) report: &'a AppReport,
    /// `celery@host`.
    pub(crate) node: &'a str,
    /// As in `-A`.
    pub(crate) app: &'a str,
    /// The broker, without its password.
    pub(crate) transport: &'a str,
    /// The result backend, without its password.
    pub(crate) results: &'a str,
    /// `4`, or `{min=1, max=4}`.
    pub(crate) concurrency: String,
    /// `prefork`.
    pub(crate) pool: &'a str,
    pub(crate) events: bool,
    /// Whether tasks are listed, and whether Celery's own are among them.
    pub(crate) tasks: Option<bool>,
    /// The local time, `2026-11-21 11:00:00`.
    pub(crate) time: String,
}

impl Banner<'_> {
    /// The text, with the end of its last line.
    pub(crate) fn text(&self) -> String {
        let system = rustix::system::uname();
        let part = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let platform = [system.sysname(), system.release(), system.machine()].map(part);
        let events = if self.events {
            "ON"
        } else {
            "OFF (enable -E to monitor tasks in this worker)"
        };
        let app = self.app();
        let mut lines = vec![
            format!(
                "{} v{} (celeriac {})",
                self.node,
                self.report.versions.celery,
                env!("CARGO_PKG_VERSION")
            ),
            String::new(),
            format!("{} {}", platform.join("-"), self.time),
            String::new(),
            "[config]".to_owned(),
            format!(".> app:         {app}"),
            format!(".> transport:   {}", self.transport),
            format!(".> results:     {}", self.results),
            format!(".> concurrency: {} ({})", self.concurrency, self.pool),
            format!(".> task events: {events}"),
            String::new(),
            "[queues]".to_owned(),
        ];
        lines.extend(queues(&self.report.queues));
        let beside = |(index, line): (usize, String)| match ART.get(index) {
            Some(art) => format!("{art} {line}"),
            None => format!("{:16}{line}", ""),
        };
        let lines: Vec<_> = lines.into_iter().enumerate().map(beside).collect();
        format!(" \n{}\n{}", lines.join("\n"), self.tasks())
    }

    /// The app, with its address and the loader that is not Celery's own.
    fn app(&self) -> String {
        let app = &self.report.app;
        let mut text = app.main.as_deref().unwrap_or(self.app).to_owned();
        if let Some(address) = &app.address {
            text = format!("{text}:{address}");
        }
        match &app.loader {
            Some(loader) => format!("{text} ({loader})"),
            None => text,
        }
    }

    fn tasks(&self) -> String {
        let Some(all) = self.tasks else {
            return String::new();
        };
        let names = self.report.tasks.iter().map(|task| task.name.as_str());
        let mut names: Vec<_> = names
            .filter(|name| all || !name.starts_with("celery."))
            .map(|name| format!("  . {name}"))
            .collect();
        names.sort_unstable();
        format!("\n[tasks]\n{}\n\n", names.join("\n"))
    }
}

fn queues(queues: &[QueueReport]) -> Vec<String> {
    let mut queues: Vec<_> = queues.iter().collect();
    queues.sort_by(|one, other| one.name.cmp(&other.name));
    let line = |queue: &&QueueReport| {
        let exchange = &queue.exchange;
        format!(
            ".> {:<16} exchange={}({}) key={}",
            queue.name,
            exchange.name.as_deref().unwrap_or_default(),
            exchange.kind.as_deref().unwrap_or("direct"),
            queue.routing_key.as_deref().unwrap_or_default()
        )
    };
    queues.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_is_laid_out_as_celerys() {
        let report: AppReport = serde_json::from_str(
            r#"{"versions": {"celery": "5.7.0"}, "app": {"main": "shop", "address": "0x7f"},
                "tasks": [{"name": "shop.b"}, {"name": "celery.map"}, {"name": "shop.a"}],
                "queues": [{"name": "b", "routing_key": "b", "exchange": {"name": "b", "type": "direct"}},
                           {"name": "a", "routing_key": "k", "exchange": {"name": "x", "type": "topic"}}]}"#,
        )
        .unwrap();
        let banner = Banner {
            report: &report,
            node: "celery@box",
            app: "proj",
            transport: "redis://h/0",
            results: "disabled://",
            concurrency: "2".to_owned(),
            pool: "prefork",
            events: false,
            tasks: Some(false),
            time: "2026-11-21 11:00:00".to_owned(),
        };
        let text = banner.text();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], " ");
        assert!(lines[1].starts_with(" -------------- celery@box v5.7.0 (celeriac "));
        assert_eq!(lines[2], "--- ***** ----- ");
        assert_eq!(lines[5], "- ** ---------- [config]");
        assert_eq!(lines[6], "- ** ---------- .> app:         shop:0x7f");
        assert_eq!(lines[9], "- *** --- * --- .> concurrency: 2 (prefork)");
        assert_eq!(lines[12], " -------------- [queues]");
        assert_eq!(
            lines[13],
            "                .> a                exchange=x(topic) key=k"
        );
        assert_eq!(lines[15..], ["", "[tasks]", "  . shop.a", "  . shop.b", ""]);
    }
}
