//! `place check WHERE`: opens a place and tries it out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_core::task::encode_body;
use celeriac_core::{
    BrokerUrl, Chunk, ContentType, Control, ErrorKind, Invocation, Limits, Outcome, OutcomeChunk,
    Place, Reply, Run, ShutdownMode, TaskDefinition, TaskError, TaskId, TaskOptions, Work,
};
use celeriac_executor::processes::ProcessSettings;
use clap::Subcommand;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::timeout;

use super::exit::{Exit, Failure};
use super::output::Output;
use super::{connect, pool};

/// How long a place may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Subcommand)]
pub(super) enum PlaceCommand {
    /// Opens a place, runs a trivial check and says what it is
    Check {
        /// inline, threads[=N], processes[=N], coroutines[=N], processes=P*coroutines=C or a broker
        #[arg(value_name = "WHERE")]
        place: String,
    },
}

/// The call that is sent through a pool. A child does not know it and says so, which proves the
/// way there and back as well as a value would.
static CHECK: TaskDefinition = TaskDefinition {
    name: "celeriac.check",
    signature: "check()",
    parameters: &[],
    is_async: false,
    wants_context: false,
    options: TaskOptions::DEFAULT,
    call: |_, _, _| Run::Ready(Ok(b"null".to_vec())),
};

pub(super) async fn run(command: PlaceCommand, output: Output) -> Result<Exit, Failure> {
    let PlaceCommand::Check { place } = command;
    match place.parse()? {
        Place::Broker(url) => check_broker(&url, output).await,
        place => check_pool(&place, output).await,
    }
}

async fn check_broker(url: &BrokerUrl, output: Output) -> Result<Exit, Failure> {
    let start = Instant::now();
    let broker = connect::open_existing(url).await?;
    let queues = broker.queues().await?;
    let workers = broker.consumers().await?.len();
    let took = start.elapsed();
    let messages: u64 = queues
        .iter()
        .map(|queue| queue.ready + queue.delayed + queue.held)
        .sum();
    let results = broker.results().is_some();
    let document = json!({
        "place": url.to_string(),
        "is": "broker",
        "queues": queues.len(),
        "messages": messages,
        "workers": workers,
        "keeps_results": results,
        "answered_ms": took.as_secs_f64() * 1e3,
    });
    output.print(&document, || {
        format!(
            "{url} is a broker{} with {} queues, {messages} messages and {workers} workers; \
             it answered in {took:.1?}",
            if results { " and result backend" } else { "" },
            queues.len(),
        )
    })?;
    Ok(Exit::Done)
}

async fn check_pool(place: &Place, output: Output) -> Result<Exit, Failure> {
    let start = Instant::now();
    let executor = pool::open(place, ProcessSettings::default())?;
    let opened = start.elapsed();
    let (sender, mut outcomes) = unbounded_channel();
    let body = encode_body(ContentType::Json, &()).expect("an empty tuple has a form in JSON");
    let start = Instant::now();
    executor.submit(Invocation {
        id: TaskId::new(),
        task: &CHECK,
        attempt: 1,
        limits: Limits::NONE,
        control: Control::new(),
        work: Work::Encoded(Chunk::single(&body)),
        reply: Arc::new(Answer(sender)),
    });
    let outcome = timeout(PATIENCE, outcomes.recv()).await.ok().flatten();
    let took = start.elapsed();
    let slots = executor.slots();
    let _ = timeout(PATIENCE, executor.shutdown(ShutdownMode::Kill)).await;
    match outcome {
        Some(Ok(())) => {}
        Some(Err(error)) if error.kind() == ErrorKind::Unregistered => {}
        Some(Err(error)) => {
            let failure = Failure::new(Exit::Unexpected, format!("`{place}` does not work"));
            return Err(failure.because(error));
        }
        None => {
            let message = format!("`{place}` gave no answer within {PATIENCE:?}");
            return Err(Failure::new(Exit::Unexpected, message));
        }
    }
    let document = json!({
        "place": place.to_string(),
        "is": "pool",
        "slots": slots,
        "opened_ms": opened.as_secs_f64() * 1e3,
        "answered_ms": took.as_secs_f64() * 1e3,
    });
    output.print(&document, || {
        format!(
            "{place} is a pool of this process that runs {slots} at once; it opened in \
             {opened:.1?} and a call came back in {took:.1?}"
        )
    })?;
    Ok(Exit::Done)
}

/// Passes on whether the check had a value.
struct Answer(UnboundedSender<Outcome<()>>);

impl Reply for Answer {
    fn outcomes(&self, outcomes: OutcomeChunk) {
        for outcome in outcomes.iter() {
            // If nobody waits any more the check has failed already.
            let _ = self.0.send(outcome.map(|_| ()));
        }
    }

    fn failed(&self, error: TaskError) {
        let _ = self.0.send(Err(error));
    }
}
