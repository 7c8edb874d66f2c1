//! 4 workers count in one number and in one array.
//!
//! ```text
//! cargo run --release --example shared_values -- --scope processes
//! ```
//!
//! Coming from Python: `Value('q')` and `Array('q', 5)`, and `*total.lock()? += 1` is
//! `with total.get_lock(): total.value += 1`. Without the lock there is no way to the number, so it cannot
//! be forgotten.

use celeriac::sync::{SyncError, cluster, process, thread};
use celeriac_examples::{Result, Scope, Sharing, Team, each_scope};
use clap::Parser;

const WORKERS: usize = 4;

each_scope! {
    use scope::{Array, Value};

    /// Adds 1 to the total, and to each item, so often.
    task fn count(total: Value<i64>, items: Array<i64>, rounds: u32) -> Result<(), SyncError> {
        for _ in 0..rounds {
            *total.lock()? += 1;
            for item in items.lock()?.iter_mut() {
                *item += 1;
            }
        }
        Ok(())
    }

    pub(super) fn count_all(
        team: &Team,
        total: &Value<i64>,
        items: &Array<i64>,
        rounds: u32,
    ) -> Result {
        team.run((0..WORKERS).map(|_| count::call(total.clone(), items.clone(), rounds)))?;
        println!("total {}", total.get()?);
        println!("items {:?}", &*items.lock()?);
        Ok(())
    }
}

/// Counts side by side
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    sharing: Sharing,
    /// How often each worker counts
    #[arg(long, default_value_t = 250)]
    rounds: u32,
}

#[celeriac::main]
fn main() -> Result {
    let Args { sharing, rounds } = Args::parse();
    let team = sharing.team(WORKERS)?;
    // The array begins with other numbers than 0, to be told apart.
    let start = [0, 10, 20, 30, 40];
    match team.scope {
        Scope::Threads => {
            let (total, items) = (thread::Value::new(0), thread::Array::new(start));
            threads::count_all(&team, &total, &items, rounds)?;
        }
        Scope::Processes => {
            let (total, items) = (process::Value::new(0)?, process::Array::new(start)?);
            processes::count_all(&team, &total, &items, rounds)?;
        }
        Scope::Machines => {
            let at = team.place()?;
            let total = cluster::Value::new_in(&at, 0)?;
            let items = cluster::Array::new_in(&at, start)?;
            machines::count_all(&team, &total, &items, rounds)?;
        }
    }
    team.finish(format_args!("counted {WORKERS} × {rounds} times"));
    Ok(())
}
