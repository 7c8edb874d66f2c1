//! 100 deposits of 1 into one account, with a pause between reading the balance and writing it: first
//! without a lock, and then with one.
//!
//! ```text
//! cargo run --release --example bank -- --scope processes
//! ```
//!
//! Coming from Python: `held = lock.lock()` is `with lock:`, up to the end of the block. What is inside
//! `each_scope!` is compiled for threads, for processes and for machines; `main` shows what differs
//! between them, which is how `Value` and `Lock` are made.

use std::thread::sleep;
use std::time::Duration;

use celeriac::sync::{SyncError, cluster, process, thread};
use celeriac_examples::{Result, Scope, Sharing, Team, each_scope};
use clap::Parser;

const DEPOSITS: i64 = 100;

/// Stands for the work between reading and writing.
const PAUSE: Duration = Duration::from_millis(1);

each_scope! {
    use scope::{Lock, Value};

    /// Each of the two calls is safe by itself, and still another deposit can come between them.
    task fn deposit(balance: Value<i64>, lock: Option<Lock>) -> Result<(), SyncError> {
        let _held = lock.as_ref().map(Lock::lock).transpose()?;
        let before = balance.get()?;
        sleep(PAUSE);
        balance.set(before + 1)?;
        Ok(())
    }

    pub(super) fn bank(team: &Team, balance: &Value<i64>, lock: &Lock) -> Result {
        for (how, lock) in [("without a lock", None), ("with a lock", Some(lock))] {
            balance.set(0)?;
            team.run((0..DEPOSITS).map(|_| deposit::call(balance.clone(), lock.cloned())))?;
            let found = balance.get()?;
            println!("{how}: {found}, {} deposits are lost", DEPOSITS - found);
        }
        Ok(())
    }
}

/// Makes deposits side by side
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    sharing: Sharing,
}

#[celeriac::main]
fn main() -> Result {
    let team = Args::parse().sharing.team(10)?;
    match team.scope {
        Scope::Threads => threads::bank(&team, &thread::Value::new(0), &thread::Lock::new())?,
        Scope::Processes => {
            processes::bank(&team, &process::Value::new(0)?, &process::Lock::new()?)?;
        }
        Scope::Machines => {
            let at = team.place()?;
            let balance = cluster::Value::new_in(&at, 0)?;
            machines::bank(&team, &balance, &cluster::Lock::new_in(&at)?)?;
        }
    }
    team.finish(format_args!("made 2 × {DEPOSITS} deposits"));
    Ok(())
}
