//! A producer fills a queue, and closes it; three consumers empty it.
//!
//! ```text
//! cargo run --release --example producer_consumer -- --scope processes
//! ```
//!
//! Coming from Python: it is a `queue.Queue`, or a `multiprocessing.JoinableQueue`. An item is a guard:
//! dropping it is `task_done()`, so none is forgotten, and what a consumer had that dies is given to another.
//! No `None` is put to say that nothing more comes: `close` says so to all consumers at once.

use celeriac::sync::{SyncError, cluster, process, thread};
use celeriac_examples::{Done as _, Result, Scope, Sharing, Team, each_scope};
use clap::Parser;

const CONSUMERS: u32 = 3;

/// How many items wait at most. The producer waits for room.
const ROOM: usize = 4;

each_scope! {
    use scope::Queue;

    task fn produce(queue: Queue<u32>, items: u32) -> Result<(), SyncError> {
        for item in 1..=items {
            queue.put(item)?;
        }
        queue.close().done()?;
        Ok(())
    }

    /// Says what it got, when nothing more comes.
    task fn consume(queue: Queue<u32>) -> Result<Vec<u32>, SyncError> {
        let mut got = Vec::new();
        loop {
            match queue.get() {
                Ok(item) => got.push(*item),
                Err(SyncError::Closed) => return Ok(got),
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) fn chain(team: &Team, queue: &Queue<u32>, items: u32) -> Result {
        let consumers = (0..CONSUMERS).map(|_| team.start(consume::call(queue.clone())));
        let consumers = consumers.collect::<celeriac::Result<Vec<_>>>()?;
        team.run([produce::call(queue.clone(), items)])?;
        // All is put; this waits until all is done.
        queue.join()?;
        println!("joined");
        for mut consumer in consumers {
            println!("consumed {:?}", consumer.wait()?);
        }
        Ok(())
    }
}

/// Hands items from a producer to consumers
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    sharing: Sharing,
    /// How many items
    #[arg(long, default_value_t = 100)]
    items: u32,
}

#[celeriac::main]
fn main() -> Result {
    let Args { sharing, items } = Args::parse();
    let team = sharing.team(1 + CONSUMERS as usize)?;
    match team.scope {
        Scope::Threads => threads::chain(&team, &thread::Queue::bounded(ROOM), items)?,
        Scope::Processes => processes::chain(&team, &process::Queue::bounded(ROOM)?, items)?,
        Scope::Machines => {
            let queue = cluster::Queue::bounded_in(&team.place()?, ROOM)?;
            machines::chain(&team, &queue, items)?;
        }
    }
    team.finish(format_args!("handed over {items} items"));
    Ok(())
}
