//! `dead …`: messages that will not be delivered any more.

use celeriac_core::{Broker, DeadMessage, DeadReason, Headers};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::agreed;
use super::exit::{Exit, Failure};
use super::output::{Output, Table, print_line, printable};
use super::{GlobalArgs, connect};

/// More than any store holds.
const ALL: usize = u32::MAX as usize;

#[derive(Debug, Subcommand)]
pub(super) enum DeadCommand {
    /// Lists them, newest first
    List {
        /// The most to list
        #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 100)]
        limit: usize,
    },
    /// Prints one with its headers and body
    Show {
        /// Its number, as `dead list` has it
        number: i64,
    },
    /// Puts some back in their queues, as if they had never been delivered
    Retry(ChosenArgs),
    /// Deletes some for good
    Drop {
        #[command(flatten)]
        chosen: ChosenArgs,
        /// Does not ask
        #[arg(long, short)]
        yes: bool,
    },
}

/// Which dead messages are meant.
#[derive(Debug, Args)]
pub(super) struct ChosenArgs {
    /// Their numbers, as `dead list` has them
    #[arg(
        value_name = "NUMBER",
        required_unless_present = "all",
        conflicts_with = "all"
    )]
    numbers: Vec<i64>,
    /// All there are
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(
    command: DeadCommand,
    global: &GlobalArgs,
    output: Output,
) -> Result<Exit, Failure> {
    let broker = &*connect::open(global).await?;
    match command {
        DeadCommand::List { limit } => list(&broker.dead(limit).await?, output),
        DeadCommand::Show { number } => show(broker, number, output).await,
        DeadCommand::Retry(chosen) => {
            let numbers = chosen.numbers(broker).await?;
            let retried = broker.retry_dead(&numbers).await?;
            tell("retried", retried, numbers.len(), output)
        }
        DeadCommand::Drop { chosen, yes } => {
            let numbers = chosen.numbers(broker).await?;
            if !agreed(&format!("delete {} messages for good?", numbers.len()), yes)? {
                print_line("nothing was dropped")?;
                return Ok(Exit::Done);
            }
            let dropped = broker.drop_dead(&numbers).await?;
            tell("dropped", dropped, numbers.len(), output)
        }
    }
}

impl ChosenArgs {
    async fn numbers(self, broker: &dyn Broker) -> Result<Vec<i64>, Failure> {
        if !self.all {
            return Ok(self.numbers);
        }
        let dead = broker.dead(ALL).await?;
        Ok(dead.iter().map(|message| message.number).collect())
    }
}

fn tell(done: &str, count: u64, asked: usize, output: Output) -> Result<Exit, Failure> {
    let all = count == asked as u64;
    output.print(&json!({done: count, "asked": asked}), || {
        if all {
            format!("{done} {count}")
        } else {
            format!(
                "{done} {count} of {asked}; the others are not there, or cannot be read as messages"
            )
        }
    })?;
    Ok(if all { Exit::Done } else { Exit::Unexpected })
}

fn list(dead: &[DeadMessage], output: Output) -> Result<Exit, Failure> {
    let document = dead.iter().map(summary).collect();
    output.print(&document, || {
        let mut table = Table::new(&[
            "#NUMBER",
            "QUEUE",
            "TASK",
            "REASON",
            "#DELIVERIES",
            "DIED",
            "DETAIL",
        ]);
        for message in dead {
            table.row([
                message.number.to_string(),
                message.queue.to_string(),
                headers(message).map_or_else(|| "?".to_owned(), |headers| headers.task),
                message.reason.as_str().to_owned(),
                message.deliveries.to_string(),
                format!("{:.0}", message.died_at),
                message.detail.clone(),
            ]);
        }
        table.text("no message is dead")
    })?;
    Ok(Exit::Done)
}

async fn show(broker: &dyn Broker, number: i64, output: Output) -> Result<Exit, Failure> {
    let dead = broker.dead(ALL).await?;
    let Some(message) = dead.iter().find(|message| message.number == number) else {
        let failure = Failure::new(
            Exit::Usage,
            format!("no dead message has the number {number}"),
        );
        return Err(failure.help("`dead list` has those there are"));
    };
    let mut document = summary(message);
    document["content_type"] = json!(message.content_type);
    document["headers"] = bytes(&message.headers);
    document["body"] = bytes(&message.body);
    output.print(&document, || {
        let mut lines = vec![
            format!("number      {}", message.number),
            format!("queue       {}", message.queue),
            format!("reason      {}", message.reason.as_str()),
            format!("detail      {}", printable(&message.detail)),
            format!("died        {:.0}", message.died_at),
            format!("deliveries  {}", message.deliveries),
            format!("content     {}", printable(&message.content_type)),
        ];
        for (name, value) in [
            ("headers", &document["headers"]),
            ("body", &document["body"]),
        ] {
            lines.push(format!("{name}\n{value:#}"));
        }
        if message.reason == DeadReason::Malformed {
            lines.push("it cannot be read as a message, so it cannot be retried".to_owned());
        }
        lines.join("\n")
    })?;
    Ok(Exit::Done)
}

fn summary(message: &DeadMessage) -> Value {
    let headers = headers(message);
    json!({
        "number": message.number,
        "queue": message.queue.as_str(),
        "id": headers.as_ref().map(|headers| headers.id.to_string()),
        "task": headers.map(|headers| headers.task),
        "reason": message.reason.as_str(),
        "detail": message.detail,
        "died_at": message.died_at,
        "deliveries": message.deliveries,
    })
}

fn headers(message: &DeadMessage) -> Option<Headers> {
    serde_json::from_slice(&message.headers).ok()
}

/// Bytes as JSON if they are any, else as text with what is no text replaced.
fn bytes(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(bytes).into_owned()))
}
