//! Two workers print `Ping` and `Pong` in turn, ten lines in all.
//!
//! ```text
//! cargo run --release --example pingpong -- --scope processes
//! ```
//!
//! Coming from Python: the counter is a `multiprocessing.Value`, and whose turn it is is a question to the
//! counter, asked under its lock. A condition lets the other worker look again.

use celeriac::sync::{SyncError, cluster, process, thread};
use celeriac_examples::{Done as _, Result, Scope, Sharing, Team, each_scope};
use clap::Parser;

/// How many lines are printed.
const LINES: u32 = 10;

each_scope! {
    use scope::{Condition, Value};

    /// Prints `word` whenever the rest of the count by two is `turn`.
    task fn play(
        word: String,
        turn: u32,
        count: Value<u32>,
        counted: Condition,
    ) -> Result<(), SyncError> {
        loop {
            let of_other = |count: u32| count < LINES && count % 2 != turn;
            let mut lines = counted.wait_while(count.lock()?, |lines| of_other(**lines))?;
            if *lines == LINES {
                return Ok(());
            }
            println!("{word}");
            *lines += 1;
            // The lock is given back here: what was counted is seen by who is told next.
            drop(lines);
            counted.notify_all().done()?;
        }
    }

    pub(super) fn game(team: &Team, count: &Value<u32>, counted: &Condition) -> Result {
        // Pong comes first, and waits.
        let players = [("Pong", 1), ("Ping", 0)];
        team.run(players.map(|(word, turn)| {
            play::call(word.to_owned(), turn, count.clone(), counted.clone())
        }))?;
        Ok(())
    }
}

/// Prints Ping and Pong in turn
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    sharing: Sharing,
}

#[celeriac::main]
fn main() -> Result {
    let team = Args::parse().sharing.team(2)?;
    match team.scope {
        Scope::Threads => {
            threads::game(&team, &thread::Value::new(0), &thread::Condition::new())?;
        }
        Scope::Processes => {
            processes::game(&team, &process::Value::new(0)?, &process::Condition::new()?)?;
        }
        Scope::Machines => {
            let at = team.place()?;
            let count = cluster::Value::new_in(&at, 0)?;
            machines::game(&team, &count, &cluster::Condition::new_in(&at)?)?;
        }
    }
    team.finish(format_args!("printed {LINES} lines"));
    Ok(())
}
