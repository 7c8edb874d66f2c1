//! The two ends of a pipe exchange messages, until one is closed.
//!
//! ```text
//! cargo run --release --example pipe -- --scope processes
//! ```
//!
//! Coming from Python: `here, there = multiprocessing.Pipe()`. What `recv` gives at the end is an error to
//! match, where Python raises `EOFError`. As there, an end that was sent to a worker is kept here too until
//! the worker has it, because an end that nobody has any more is closed.

use celeriac::sync::{SyncError, cluster, process, thread};
use celeriac_examples::{Result, Scope, Sharing, Team, each_scope};
use clap::Parser;

each_scope! {
    use scope::Pipe;

    /// Answers messages until the other end is closed, and says how many.
    task fn answer(end: Pipe<String>) -> Result<u32, SyncError> {
        let mut answered = 0;
        loop {
            match end.recv() {
                Ok(message) => end.send(message.to_uppercase())?,
                Err(SyncError::Closed) => return Ok(answered),
                Err(error) => return Err(error),
            }
            answered += 1;
        }
    }

    pub(super) fn talk(
        team: &Team,
        (here, there): (Pipe<String>, Pipe<String>),
        messages: &[String],
    ) -> Result {
        // The pipe stays open from here until the worker has its end.
        let mut worker = team.start(answer::call(there.clone()))?;
        for message in messages {
            here.send(message.clone())?;
            println!("{message}: {}", here.recv()?);
        }
        drop(here);
        println!("closed after {} answers", worker.wait()?);
        Ok(())
    }
}

/// Sends messages through a pipe, and prints the answers
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    sharing: Sharing,
    /// The messages
    #[arg(default_values = ["good morning", "how are you", "goodbye"])]
    messages: Vec<String>,
}

#[celeriac::main]
fn main() -> Result {
    let Args { sharing, messages } = Args::parse();
    let team = sharing.team(1)?;
    match team.scope {
        Scope::Threads => threads::talk(&team, thread::pipe(), &messages)?,
        Scope::Processes => processes::talk(&team, process::pipe()?, &messages)?,
        Scope::Machines => machines::talk(&team, cluster::pipe_in(&team.place()?)?, &messages)?,
    }
    team.finish(format_args!("exchanged {} messages", 2 * messages.len()));
    Ok(())
}
