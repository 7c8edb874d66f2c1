//! A function that takes a lock calls itself, 5 deep; meanwhile nobody else gets the lock.
//!
//! ```text
//! cargo run --release --example recursive_lock -- --scope processes
//! ```
//!
//! Coming from Python: `threading.RLock`. A `Lock` would wait for itself at the second step, for ever. An
//! `RLock` is its owner's as often as it is taken, and free when it was given back as often.

use celeriac::sync::{SyncError, cluster, process, thread};
use celeriac_examples::{Done as _, Result, Scope, Sharing, Team, each_scope};
use clap::Parser;

each_scope! {
    use scope::{Event, RLock};

    /// Takes the lock so often, tells that it has it, and waits for the word to give it back.
    task fn descend(
        lock: RLock,
        steps: usize,
        deep: Event,
        back: Event,
    ) -> Result<usize, SyncError> {
        let _held = lock.lock()?;
        if lock.depth() < steps {
            return descend(lock.clone(), steps, deep, back);
        }
        deep.set().done()?;
        back.wait()?;
        Ok(lock.depth())
    }

    pub(super) fn dive(
        team: &Team,
        lock: &RLock,
        steps: usize,
        deep: &Event,
        back: &Event,
    ) -> Result {
        let call = descend::call(lock.clone(), steps, deep.clone(), back.clone());
        let mut owner = team.start(call)?;
        deep.wait()?;
        // This is another thread, so another owner.
        match lock.try_lock() {
            Err(SyncError::Busy) => println!("another owner is refused"),
            other => println!("unexpected: {other:?}"),
        }
        back.set().done()?;
        println!("taken {} deep", owner.wait()?);
        drop(lock.lock()?);
        println!("another owner has it");
        Ok(())
    }
}

/// Takes a lock many times
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    sharing: Sharing,
    /// How deep
    #[arg(long, default_value_t = 5)]
    depth: usize,
}

#[celeriac::main]
fn main() -> Result {
    let Args { sharing, depth } = Args::parse();
    let team = sharing.team(1)?;
    match team.scope {
        Scope::Threads => {
            use thread::{Event, RLock};
            threads::dive(&team, &RLock::new(), depth, &Event::new(), &Event::new())?;
        }
        Scope::Processes => {
            use process::{Event, RLock};
            processes::dive(&team, &RLock::new()?, depth, &Event::new()?, &Event::new()?)?;
        }
        Scope::Machines => {
            use cluster::{Event, RLock};
            let at = team.place()?;
            let (deep, back) = (Event::new_in(&at)?, Event::new_in(&at)?);
            machines::dive(&team, &RLock::new_in(&at)?, depth, &deep, &back)?;
        }
    }
    team.finish(format_args!("took a lock {depth} deep"));
    Ok(())
}
