//! 10 runners wait for the starter, line up at a barrier, and pass a gate that admits 3 at a time.
//!
//! ```text
//! cargo run --release --example starter -- --scope processes
//! ```
//!
//! Coming from Python: `Event`, `Barrier` and `Semaphore` are those of `threading`, and a permit is given
//! back at the end of its block, as after `with semaphore:`. What happened is in a `List` that all share.

use std::thread::sleep;
use std::time::Duration;

use celeriac::sync::{SyncError, cluster, process, thread};
use celeriac_examples::{Done as _, Result, Scope, Sharing, Team, each_scope};
use clap::Parser;

const RUNNERS: usize = 10;
const ADMITTED: usize = 3;

const PAUSE: Duration = Duration::from_millis(50);

each_scope! {
    use scope::{Barrier, Event, List, Semaphore};

    task fn run(
        number: usize,
        go: Event,
        line: Barrier,
        gate: Semaphore,
        log: List<String>,
    ) -> Result<(), SyncError> {
        go.wait()?;
        log.push(format!("{number} hears it"))?;
        line.wait()?;
        log.push(format!("{number} leaves the line"))?;
        let _permit = gate.acquire()?;
        log.push(format!("{number} enters the gate"))?;
        sleep(PAUSE);
        log.push(format!("{number} is through the gate"))
    }

    pub(super) fn race(
        team: &Team,
        go: &Event,
        line: &Barrier,
        gate: &Semaphore,
        log: &List<String>,
    ) -> Result {
        let runners = (0..RUNNERS).map(|number| {
            let call = run::call(number, go.clone(), line.clone(), gate.clone(), log.clone());
            team.start(call)
        });
        let runners = runners.collect::<celeriac::Result<Vec<_>>>()?;
        sleep(PAUSE);
        log.push("the starter says go".to_owned())?;
        go.set().done()?;
        for mut runner in runners {
            runner.wait()?;
        }
        for entry in log.items()? {
            println!("{entry}");
        }
        Ok(())
    }
}

/// Starts runners
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    sharing: Sharing,
}

#[celeriac::main]
fn main() -> Result {
    let team = Args::parse().sharing.team(RUNNERS)?;
    match team.scope {
        Scope::Threads => {
            use thread::{Barrier, Event, List, Semaphore};
            let (go, line) = (Event::new(), Barrier::new(RUNNERS));
            let (gate, log) = (Semaphore::new(ADMITTED), List::new());
            threads::race(&team, &go, &line, &gate, &log)?;
        }
        Scope::Processes => {
            use process::{Barrier, Event, List, Semaphore};
            let (go, line) = (Event::new()?, Barrier::new(RUNNERS)?);
            let (gate, log) = (Semaphore::new(ADMITTED)?, List::new()?);
            processes::race(&team, &go, &line, &gate, &log)?;
        }
        Scope::Machines => {
            use cluster::{Barrier, Event, List, Semaphore};
            let at = team.place()?;
            let (go, line) = (Event::new_in(&at)?, Barrier::new_in(&at, RUNNERS)?);
            let (gate, log) = (Semaphore::new_in(&at, ADMITTED)?, List::new_in(&at)?);
            machines::race(&team, &go, &line, &gate, &log)?;
        }
    }
    team.finish(format_args!("{RUNNERS} runners were started"));
    Ok(())
}
