//! Tasks whose spans are part of the trace that their callers began.
//!
//! ```sh
//! export CELERIAC_ON=sqlite:jobs.db OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318
//! cargo run --example traced --features otel -- worker -P threads &
//! cargo run --example traced --features otel -- send outer 3
//! ```
#![forbid(unsafe_code)]

use std::process::ExitCode;

use celeriac::{App, BoxError, Context, Retry};
use tracing::{Instrument as _, info_span};

/// Doubles.
#[celeriac::task(name = "double")]
fn double(n: u64) -> u64 {
    info_span!("doubling", n).in_scope(|| n * 2)
}

/// Sends a call from within a span.
#[celeriac::task(name = "outer")]
async fn outer(n: u64) -> Result<u64, BoxError> {
    let place = std::env::var("CELERIAC_ON")?;
    let app = App::on(place.as_str()).await?;
    async {
        tokio::task::yield_now().await;
        let doubled = app.send(double::call(n)).await?.get().await?;
        Ok(doubled + 1)
    }
    .instrument(info_span!("inside"))
    .await
}

/// Fails once.
#[celeriac::task(name = "stubborn", retries = 1, backoff = "fixed(10ms)")]
fn stubborn(context: &Context) -> Result<u32, Retry> {
    match context.attempt() {
        1 => Err(Retry::after(std::time::Duration::from_millis(10)).because("not yet")),
        attempt => Ok(attempt),
    }
}

/// Fails.
#[celeriac::task(name = "refuse")]
fn refuse(reason: String) -> Result<(), std::io::Error> {
    Err(std::io::Error::other(reason))
}

fn main() -> ExitCode {
    celeriac::cli::main()
}
