//! Waits for a result, with a progress bar if a person watches.

use std::time::Duration;

use celeriac_core::{BrokerError, Progress, ResultBackend, ResultState, StoredResult, TaskId};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{Instant, sleep, timeout_at};

use super::exit::Failure;
use super::output::is_watched;

/// How long to wait before a broker that was away is asked again.
const AGAIN: Duration = Duration::from_millis(500);

/// Waits until the result of `id` is final; the newest there is if that takes longer than `limit`.
pub(super) async fn wait(
    results: &dyn ResultBackend,
    id: &TaskId,
    limit: Option<Duration>,
    quiet: bool,
) -> Result<Option<StoredResult>, Failure> {
    let bar = Bar::new(quiet);
    let mut newest = None;
    let following = follow(results, id, &bar, &mut newest);
    match limit {
        None => following.await?,
        Some(limit) => {
            if let Ok(ended) = timeout_at(Instant::now() + limit, following).await {
                ended?;
            }
        }
    }
    bar.0.finish_and_clear();
    Ok(newest)
}

/// Keeps `newest` up to date until it is final. A broker that is away is waited for.
async fn follow(
    results: &dyn ResultBackend,
    id: &TaskId,
    bar: &Bar,
    newest: &mut Option<StoredResult>,
) -> Result<(), BrokerError> {
    let mut watch = results.watch().await?;
    watch.add(std::slice::from_ref(id));
    loop {
        let news = match watch.next().await {
            Ok(news) => news,
            Err(error) if error.is_transient() => {
                tracing::warn!(error = &error as &dyn std::error::Error, "still waiting");
                sleep(AGAIN).await;
                continue;
            }
            Err(error) => return Err(error),
        };
        for result in news {
            bar.show(&result.state);
            let is_final = result.state.is_final();
            *newest = Some(result);
            if is_final {
                return Ok(());
            }
        }
    }
}

/// A progress bar, or nothing if nobody watches.
struct Bar(ProgressBar);

impl Bar {
    fn new(quiet: bool) -> Self {
        let bar = if quiet || !is_watched() {
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
        } else {
            ProgressBar::new_spinner().with_message("waiting for a worker")
        };
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(bar)
    }

    fn show(&self, state: &ResultState) {
        match state {
            ResultState::Progress(progress) => self.advance(progress),
            ResultState::Started => self.0.set_message("running"),
            ResultState::Retry => self.0.set_message("failed, waiting for another attempt"),
            _ => {}
        }
    }

    fn advance(&self, progress: &Progress) {
        if progress.total > 0 && self.0.length() != Some(progress.total) {
            self.0.set_length(progress.total);
            let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} {eta} {msg}");
            self.0
                .set_style(style.expect("the template is well-formed"));
        }
        self.0.set_position(progress.done);
        self.0
            .set_message(super::output::printable(&progress.message));
    }
}
