//! `result ID`: what has become of a call.

use std::time::Duration;

use celeriac_core::{ResultState, StoredResult, TaskError, TaskId};
use clap::Args;
use serde_json::{Value, json};

use super::duration::duration;
use super::exit::{Exit, Failure};
use super::output::{Output, print_line, printable};
use super::wait::wait;
use super::{GlobalArgs, connect};

#[derive(Debug, Args)]
pub(super) struct ResultArgs {
    /// The id of the call, as `send` printed it
    id: String,
    /// Waits until it has ended
    #[arg(long, short)]
    wait: bool,
    /// The longest to wait
    #[arg(long, value_name = "DURATION", value_parser = duration, requires = "wait")]
    timeout: Option<Duration>,
}

pub(super) async fn run(
    args: ResultArgs,
    global: &GlobalArgs,
    output: Output,
) -> Result<Exit, Failure> {
    let id = TaskId::from(args.id);
    let broker = connect::open(global).await?;
    let results = connect::results(&*broker)?;
    if results.goes_to_sender() {
        let message =
            "this broker sends a result to the app that sent the call, and to nobody else";
        let help = "keep results where everybody can read them: `--results redis://HOST`, and the \
                    same for apps and workers";
        return Err(Failure::new(Exit::Configuration, message).help(help));
    }
    let result = if args.wait {
        wait(&*results, &id, args.timeout, output.is_json()).await?
    } else {
        results
            .fetch(std::slice::from_ref(&id))
            .await?
            .pop()
            .flatten()
    };
    tell(&id, result.as_ref(), output)
}

/// Prints what has become of `id`: its value, its error, or how far it is.
pub(super) fn tell(
    id: &TaskId,
    result: Option<&StoredResult>,
    output: Output,
) -> Result<Exit, Failure> {
    let outcome = result.and_then(StoredResult::outcome);
    if output.is_json() {
        output.print(&document(id, result), String::new)?;
        return Ok(match outcome {
            Some(Ok(_)) => Exit::Done,
            Some(Err(_)) => Exit::TaskFailed,
            None => Exit::GaveUpWaiting,
        });
    }
    match outcome {
        Some(Ok(_)) => {
            print_line(&value(result).to_string())?;
            Ok(Exit::Done)
        }
        Some(Err(error)) => Err(error.into()),
        None => {
            print_line(&state_text(result))?;
            Ok(Exit::GaveUpWaiting)
        }
    }
}

fn state_text(result: Option<&StoredResult>) -> String {
    match result.map(|result| &result.state) {
        Some(ResultState::Progress(progress)) => {
            let message = printable(&progress.message);
            let text = format!("PROGRESS {}/{} {message}", progress.done, progress.total);
            text.trim_end().to_owned()
        }
        Some(state) => state.as_str().to_owned(),
        // As in Celery: nothing is known of it, so it waits, or was never sent.
        None => "PENDING".to_owned(),
    }
}

/// The value, whatever it was encoded in.
fn value(result: Option<&StoredResult>) -> Value {
    let value = result.and_then(|result| result.value.as_ref());
    value.map_or(Value::Null, |value| {
        value
            .decode()
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&value.bytes).into_owned()))
    })
}

fn document(id: &TaskId, result: Option<&StoredResult>) -> Value {
    let Some(stored) = result else {
        return json!({"id": id, "state": "PENDING"});
    };
    let progress = match &stored.state {
        ResultState::Progress(progress) => json!(progress),
        _ => Value::Null,
    };
    json!({
        "id": id,
        "task": stored.task,
        "state": stored.state.as_str(),
        "attempt": stored.attempt,
        "result": value(result),
        "error": stored.error.as_ref().map(error_document),
        "progress": progress,
        "stored_at": stored.stored_at,
        "expires_at": stored.expires_at,
    })
}

fn error_document(error: &TaskError) -> Value {
    json!({
        "kind": error.kind().as_str(),
        "type": error.type_name(),
        "message": error.message(),
        "causes": error.causes(),
    })
}
