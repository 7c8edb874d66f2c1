//! 5 depositors and 10 withdrawers at one account: who finds too little there waits for a deposit.
//!
//! ```text
//! cargo run --release --example bank_condition -- --scope processes
//! ```
//!
//! Coming from Python: `deposited.wait_while(held, …)` is `Condition.wait_for` with the predicate the
//! other way round. It gives the lock back while it waits, and has it again when it returns. A `Value` has
//! its own lock, so the condition needs none.

use std::thread::sleep;
use std::time::Duration;

use celeriac::sync::{SyncError, cluster, process, thread};
use celeriac_examples::{Done as _, Result, Scope, Sharing, Team, each_scope};
use clap::Parser;

const DEPOSITORS: i64 = 5;
const WITHDRAWERS: i64 = 10;

/// How often each depositor comes: all of them bring 300 at least, and no more is wanted.
const VISITS: i64 = 12;

const PAUSE: Duration = Duration::from_millis(2);

each_scope! {
    use scope::{Condition, Value};

    /// Brings 5 to 10 at a time, and says how much in all.
    task fn deposit(
        balance: Value<i64>,
        deposited: Condition,
        depositor: i64,
    ) -> Result<i64, SyncError> {
        let mut brought = 0;
        for visit in 0..VISITS {
            let amount = 5 + (depositor + visit) % 6;
            *balance.lock()? += amount;
            deposited.notify_all().done()?;
            brought += amount;
            sleep(PAUSE);
        }
        Ok(brought)
    }

    /// Takes an amount as soon as it is there, and says what is left.
    task fn withdraw(
        balance: Value<i64>,
        deposited: Condition,
        amount: i64,
    ) -> Result<i64, SyncError> {
        let mut balance = deposited.wait_while(balance.lock()?, |balance| **balance < amount)?;
        *balance -= amount;
        Ok(*balance)
    }

    pub(super) fn bank(team: &Team, balance: &Value<i64>, deposited: &Condition) -> Result {
        // 10 to 30 each. They come first, and find nothing.
        let amounts = (0..WITHDRAWERS).map(|withdrawer| 10 + withdrawer * 7 % 21);
        let waiting = amounts.map(|amount| {
            let call = withdraw::call(balance.clone(), deposited.clone(), amount);
            Ok((amount, team.start(call)?))
        });
        let waiting = waiting.collect::<Result<Vec<_>>>()?;
        let calls = (0..DEPOSITORS)
            .map(|depositor| deposit::call(balance.clone(), deposited.clone(), depositor));
        let brought: i64 = team.run(calls)?.iter().sum();
        let mut taken = 0;
        for (amount, mut withdrawer) in waiting {
            println!("withdrew {amount}, {} left", withdrawer.wait()?);
            taken += amount;
        }
        let rest = balance.get()?;
        println!("{brought} deposited - {taken} withdrawn = {rest} in the account");
        Ok(())
    }
}

/// Deposits and withdraws side by side
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    sharing: Sharing,
}

#[celeriac::main]
fn main() -> Result {
    // All at once: whoever waits for a deposit must not keep the depositors out.
    let team = Args::parse().sharing.team(15)?;
    match team.scope {
        Scope::Threads => {
            threads::bank(&team, &thread::Value::new(0), &thread::Condition::new())?;
        }
        Scope::Processes => {
            processes::bank(&team, &process::Value::new(0)?, &process::Condition::new()?)?;
        }
        Scope::Machines => {
            let at = team.place()?;
            let balance = cluster::Value::new_in(&at, 0)?;
            machines::bank(&team, &balance, &cluster::Condition::new_in(&at)?)?;
        }
    }
    team.finish(format_args!("served {WITHDRAWERS} withdrawers"));
    Ok(())
}
