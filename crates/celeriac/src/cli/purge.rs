//! `purge QUEUE`: drops what waits in a queue.

use celeriac_core::QueueName;
use clap::Args;
use serde_json::json;

use super::ask::agreed;
use super::exit::{Exit, Failure};
use super::output::{Output, print_line};
use super::{GlobalArgs, connect};

#[derive(Debug, Args)]
pub(super) struct PurgeArgs {
    /// The queue
    queue: String,
    /// Does not ask
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(
    args: PurgeArgs,
    global: &GlobalArgs,
    output: Output,
) -> Result<Exit, Failure> {
    let name = QueueName::new(&args.queue)?;
    let broker = connect::open(global).await?;
    let queues = broker.queues().await?;
    let Some(queue) = queues.iter().find(|queue| queue.name == name) else {
        let names: Vec<_> = queues.iter().map(|queue| queue.name.as_str()).collect();
        let message = format!("there is no queue `{name}`");
        let help = match &names[..] {
            [] => "there is none at all yet".to_owned(),
            names => format!("there are: {}", names.join(", ")),
        };
        return Err(Failure::new(Exit::Usage, message).help(help));
    };
    let waiting = queue.ready + queue.delayed;
    let question = format!("drop {waiting} messages of queue `{name}` for good?");
    if !agreed(&question, args.yes)? {
        print_line("nothing was dropped")?;
        return Ok(Exit::Done);
    }
    let dropped = broker.purge(&name).await?;
    output.print(&json!({"queue": name.as_str(), "dropped": dropped}), || {
        format!("dropped {dropped} messages of queue `{name}`")
    })?;
    Ok(Exit::Done)
}
