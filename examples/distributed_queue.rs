//! One program serves a queue of work to other machines, which take from it and put results back.
//!
//! ```text
//! (umask 077; head -c 48 /dev/urandom | base64 > key)
//! cargo run --release --example distributed_queue -- serve --bind 0.0.0.0:7420 --key-file key
//! cargo run --release --example distributed_queue -- take --at HOST:7420 --key-file key
//! ```
//!
//! Coming from Python: it is a `BaseManager` with an `authkey` and two registered queues. What Python loses
//! is not lost here: an item whose taker dies is given to another taker, as soon as its lease has run out.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::thread;
use std::thread::sleep;
use std::time::Duration;

use celeriac::sync::SyncError;
use celeriac::sync::cluster::{Cluster, Manager, ManagerKey, Options, Queue, Semaphore};
use celeriac_examples::Result;
use clap::{Parser, Subcommand};
use serde::{Deserialize, Serialize};

/// How many takers there can be at a time.
const SEATS: usize = 16;

/// How many items wait in a queue at most.
const ROOM: usize = 100;

#[derive(Serialize, Deserialize)]
struct Squared {
    number: u64,
    square: u64,
    by: String,
}

/// What all programs find by its name where the manager is.
struct Shop {
    work: Queue<u64>,
    results: Queue<Squared>,
    /// Each taker has one, until it has heard that nothing more comes.
    seats: Semaphore,
}

impl Shop {
    fn find(place: &Cluster) -> Result<Self> {
        Ok(Self {
            work: Queue::named(place, "work", ROOM)?,
            results: Queue::named(place, "results", ROOM)?,
            seats: Semaphore::named(place, "seats", SEATS)?,
        })
    }
}

/// Squares numbers on other machines
#[derive(Parser)]
struct Args {
    /// The file with the secret that all know: 32 bytes or more that only its owner can read
    #[arg(long, value_name = "FILE", global = true, default_value = "key")]
    key_file: PathBuf,
    #[command(subcommand)]
    role: Role,
}

#[derive(Subcommand)]
enum Role {
    /// Serves the queues, fills one, and prints what comes back
    Serve {
        /// Where to listen
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7420")]
        bind: String,
        /// How many numbers
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=ROOM as u64))]
        items: u64,
    },
    /// Takes work until nothing more comes
    Take {
        /// Where the queues are served
        #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:7420")]
        at: String,
        /// What the results are signed with
        #[arg(long, default_value = "a taker")]
        name: String,
        /// How long the work on one number takes, in milliseconds
        #[arg(long, value_name = "MS", default_value_t = 10)]
        pause: u64,
        /// How long the rest waits for what this taker has, if it dies, in milliseconds
        #[arg(long, value_name = "MS", default_value_t = 5000)]
        lease: u64,
    },
}

#[celeriac::main]
fn main() -> Result {
    let Args { key_file, role } = Args::parse();
    let connect = |at: &str| Options::new(&format!("manager://{at}")).key_file(&key_file);
    match role {
        Role::Serve { bind, items } => {
            let manager = Manager::bind(&bind, Some(ManagerKey::read(&key_file)?))?;
            let address = manager.address();
            println!("serving at {address}");
            thread::spawn(|| manager.run());
            serve(&connect(&address.to_string()).connect()?, items)
        }
        Role::Take {
            at,
            name,
            pause,
            lease,
        } => {
            let options = connect(&at).lease(Duration::from_millis(lease));
            take(&options.connect()?, &name, Duration::from_millis(pause))
        }
    }
}

fn serve(place: &Cluster, items: u64) -> Result {
    let Shop {
        work,
        results,
        seats,
    } = Shop::find(place)?;
    for number in 1..=items {
        work.put(number)?;
    }
    // A number whose taker dies after it has put the result is given out again, and its result comes twice.
    let mut squares = BTreeMap::new();
    while (squares.len() as u64) < items {
        let result = results.get()?.into_inner();
        squares.insert(result.number, result);
    }
    for Squared { number, square, by } in squares.values() {
        println!("{number} squared is {square}, says {by}");
    }
    work.close()?;
    // Whoever has all seats is alone: the queues end with this program.
    for _ in 0..SEATS {
        seats.acquire()?.forget();
    }
    println!("{items} numbers were squared");
    Ok(())
}

fn take(place: &Cluster, name: &str, pause: Duration) -> Result {
    let shop = Shop::find(place)?;
    let _seat = shop.seats.acquire()?;
    loop {
        let number = match shop.work.get() {
            Ok(number) => number,
            Err(SyncError::Closed) => break,
            Err(error) => return Err(error.into()),
        };
        println!("took {}", *number);
        sleep(pause);
        shop.results.put(Squared {
            number: *number,
            square: *number * *number,
            by: name.to_owned(),
        })?;
        // Not before: who dies without a result has its number given to another.
        number.task_done();
    }
    println!("nothing more comes");
    Ok(())
}
