//! 10 workers write into one dictionary: `d[i] = 2 * i`.
//!
//! ```text
//! cargo run --release --example shared_dict -- --scope processes
//! ```
//!
//! Coming from Python: it is `Manager().dict()`, which there is a server process. Here only machines need a
//! server; processes have it in memory that they share, and threads in their own.

use celeriac::sync::{SyncError, cluster, process, thread};
use celeriac_examples::{Result, Scope, Sharing, Team, each_scope};
use clap::Parser;

each_scope! {
    use scope::Dict;

    task fn set(d: Dict<u32, u32>, i: u32) -> Result<(), SyncError> {
        d.set(i, 2 * i)?;
        Ok(())
    }

    pub(super) fn fill(team: &Team, d: &Dict<u32, u32>, workers: u32) -> Result {
        team.run((0..workers).map(|i| set::call(d.clone(), i)))?;
        let mut items = d.items()?;
        items.sort_unstable();
        for (key, value) in items {
            println!("d[{key}] = {value}");
        }
        Ok(())
    }
}

/// Fills a dictionary side by side
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    sharing: Sharing,
    /// How many workers write
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100))]
    workers: u32,
}

#[celeriac::main]
fn main() -> Result {
    let Args { sharing, workers } = Args::parse();
    let team = sharing.team(workers as usize)?;
    match team.scope {
        Scope::Threads => threads::fill(&team, &thread::Dict::new(), workers)?,
        Scope::Processes => processes::fill(&team, &process::Dict::new()?, workers)?,
        Scope::Machines => {
            machines::fill(&team, &cluster::Dict::new_in(&team.place()?)?, workers)?;
        }
    }
    team.finish(format_args!("wrote {workers} items"));
    Ok(())
}
