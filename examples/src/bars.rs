//! Progress bars that appear only where somebody looks.

use std::io::{IsTerminal as _, stderr, stdout};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Progress bars, one below the other; none if standard output or error is no terminal.
#[derive(Debug, Clone)]
pub struct Bars(MultiProgress);

impl Default for Bars {
    fn default() -> Self {
        Self::new()
    }
}

impl Bars {
    /// No bar yet.
    pub fn new() -> Self {
        let shown = stdout().is_terminal() && stderr().is_terminal();
        let target = if shown {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        Self(MultiProgress::with_draw_target(target))
    }

    /// A bar that counts to `total`.
    pub fn count(&self, name: impl Into<String>, total: u64) -> ProgressBar {
        self.add(name, total, "{prefix:12} {wide_bar} {pos}/{len} {eta:>4}")
    }

    /// A bar of `total` bytes.
    pub fn bytes(&self, name: impl Into<String>, total: u64) -> ProgressBar {
        self.add(
            name,
            total,
            "{prefix:12} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec:>12}",
        )
    }

    /// Prints a line above the bars.
    pub fn println(&self, line: impl std::fmt::Display) {
        self.0.suspend(|| println!("{line}"));
    }

    /// Prints a line to standard error, above the bars.
    pub fn eprintln(&self, line: impl std::fmt::Display) {
        self.0.suspend(|| eprintln!("{line}"));
    }

    fn add(&self, name: impl Into<String>, total: u64, template: &str) -> ProgressBar {
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        self.0.add(
            ProgressBar::new(total)
                .with_style(style)
                .with_prefix(name.into()),
        )
    }
}
