//! `inspect`, `control`, `status` and `events`: what Celery's commands of these names do, without Python.

mod ask;
mod commands;
mod events;
mod pretty;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Broker, BrokerError, Bus};
use celeriac_wire::control::{Audience, Reply, Request};
use clap::Args;
use serde_json::Value;

use super::duration::duration;
use super::exit::{Exit, Failure};
use super::output::Output;
use super::{GlobalArgs, connect};

#[cfg(feature = "tui")]
pub(super) use ask::ask;
pub(super) use events::run as watch;

/// A command of remote control.
#[derive(Debug, Args)]
pub(super) struct RemoteArgs {
    /// The command: ping, active, stats, revoke and so on, with its arguments in Celery's
    /// order; or NAME=VALUE for those of commands that an app has made up
    #[arg(required = true, value_name = "COMMAND", num_args = 1..)]
    words: Vec<String>,
    #[command(flatten)]
    whom: Whom,
}

/// Who is asked.
#[derive(Debug, Args)]
pub(super) struct Whom {
    /// The workers that are asked, separated by commas; all of them if none is named
    #[arg(long, short = 'd', value_name = "NODES", value_delimiter = ',')]
    destination: Vec<String>,
    /// How long answers are waited for, at most: until all workers have answered that are named, or
    /// on Redis all that were reached
    #[arg(long, short = 't', value_name = "DURATION", default_value = "1s", value_parser = duration)]
    timeout: Duration,
}

/// Which sort of command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    Inspect,
    Control,
}

/// What is broadcast at the broker.
pub(super) async fn bus(global: &GlobalArgs) -> Result<(Arc<dyn Broker>, Arc<dyn Bus>), Failure> {
    let url = connect::url(global)?;
    let broker = connect::open(global).await?;
    let bus = broker.bus().ok_or_else(|| {
        Failure::from(BrokerError::Unsupported {
            address: url.to_string(),
            what: "reach workers by remote control, which Redis and RabbitMQ have".to_owned(),
        })
    })?;
    Ok((broker, bus))
}

pub(super) async fn run(
    args: RemoteArgs,
    sort: Sort,
    global: &GlobalArgs,
    output: Output,
) -> Result<Exit, Failure> {
    let request = request(&args, sort)?;
    let silent = request.method == "shutdown";
    let (_broker, bus) = bus(global).await?;
    let replies = collect(&*bus, request, &args.whom).await?;
    output.print(&document(&replies), || pretty::replies(&replies, sort))?;
    if silent {
        return Ok(Exit::Done);
    }
    answered(&replies)
}

/// Which workers are online: Celery's and ours.
pub(super) async fn status(bus: &dyn Bus, whom: &Whom, output: Output) -> Result<Exit, Failure> {
    let replies = collect(bus, Request::new("ping"), whom).await?;
    output.print(&document(&replies), || pretty::nodes(&replies))?;
    answered(&replies)
}

/// The answers, by the names of their workers.
async fn collect(bus: &dyn Bus, mut request: Request, whom: &Whom) -> Result<Vec<Reply>, Failure> {
    if !whom.destination.is_empty() {
        request.audience = Audience::Nodes(whom.destination.clone());
    }
    let named: HashSet<_> = whom.destination.iter().collect();
    let expected = Some(named.len()).filter(|named| *named > 0);
    let mut replies = ask::ask(bus, request, whom.timeout, expected).await?;
    replies.sort_by(|one, other| one.node.cmp(&other.node));
    Ok(replies)
}

fn document(replies: &[Reply]) -> Value {
    let replies = replies.iter();
    replies
        .map(|reply| (reply.node.clone(), reply.value.clone()))
        .collect()
}

fn answered(replies: &[Reply]) -> Result<Exit, Failure> {
    if !replies.is_empty() {
        return Ok(Exit::Done);
    }
    let failure = Failure::new(
        Exit::StoreUnavailable,
        "no nodes replied within time constraint",
    );
    Err(failure.help("wait longer with `-t`, or see that a worker is running"))
}

fn request(args: &RemoteArgs, sort: Sort) -> Result<Request, Failure> {
    let (command, words) = args.words.split_first().expect("clap wants one word");
    let mut request = Request::new(command.as_str());
    request.arguments = commands::arguments(command, words, sort)?;
    Ok(request)
}
