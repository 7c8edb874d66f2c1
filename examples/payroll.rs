//! The month's pay of managers, programmers and salesmen, each computed by a task.
//!
//! ```text
//! cargo run --release --example payroll -- M P:120 P:85 S:123000 --on processes
//! ```
//!
//! Coming from Python: a trait is an abstract base class, and `Box<dyn Employee>` is a variable that
//! holds any class that implements it. The factory runs inside the task, so what travels to the
//! task is a short text, not an object: no pickle, and other languages can send it too.

use std::fmt;

use celeriac_examples::{Common, Result, Site};
use clap::Parser;

/// Money in cents: whole numbers add up, binary fractions do not.
type Cents = u64;

/// One unit of money.
const UNIT: Cents = 100;

trait Employee {
    fn pay(&self) -> Cents;
}

struct Manager;
struct Programmer {
    hours: u32,
}
struct Salesman {
    sales: u32,
}

impl Employee for Manager {
    fn pay(&self) -> Cents {
        15_000 * UNIT
    }
}

impl Employee for Programmer {
    fn pay(&self) -> Cents {
        200 * UNIT * Cents::from(self.hours)
    }
}

impl Employee for Salesman {
    /// 5 % of whole units are 5 cents for each.
    fn pay(&self) -> Cents {
        1_800 * UNIT + 5 * Cents::from(self.sales)
    }
}

/// The factory: an employee from `M`, `P:hours` or `S:sales`.
fn employee(line: &str) -> Result<Box<dyn Employee>, String> {
    let (code, amount) = line.split_once(':').unwrap_or((line, "0"));
    let amount = amount.parse();
    let amount = amount.map_err(|error| format!("`{line}` has no amount: {error}"))?;
    match code {
        "M" => Ok(Box::new(Manager)),
        "P" => Ok(Box::new(Programmer { hours: amount })),
        "S" => Ok(Box::new(Salesman { sales: amount })),
        _ => Err(format!("`{code}` is no code of an employee; use M, P or S")),
    }
}

#[celeriac::task(name = "payroll.pay")]
fn pay(line: &str) -> Result<Cents, String> {
    Ok(employee(line)?.pay())
}

/// Shows cents as 15,000.00.
struct Money(Cents);

impl fmt::Display for Money {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, cents) = ((self.0 / 100).to_string(), self.0 % 100);
        for (position, digit) in units.chars().enumerate() {
            if position > 0 && (units.len() - position) % 3 == 0 {
                formatter.write_str(",")?;
            }
            write!(formatter, "{digit}")?;
        }
        write!(formatter, ".{cents:02}")
    }
}

/// Computes what employees are paid
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    common: Common,
    /// The staff: M (manager), P:HOURS (programmer), S:SALES (salesman)
    #[arg(default_values = ["M", "P:120", "P:85", "S:123000"])]
    staff: Vec<String>,
}

#[celeriac::main]
async fn main() -> Result {
    let args = Args::parse();
    let site = Site::open(&args.common, "threads").await?;
    // All or nothing: one unknown code, and nobody is told a number.
    let pays: Vec<Cents> = site.app.map::<pay>(args.staff.clone()).collect().await?;
    for (line, &pay) in args.staff.iter().zip(&pays) {
        println!("{line} is paid {}", Money(pay));
    }
    println!("in all: {}", Money(pays.iter().sum()));
    site.finish(format_args!("paid {} employees", pays.len()))
        .await?;
    Ok(())
}
