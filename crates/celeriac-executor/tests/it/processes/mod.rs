//! What the process pool promises, against real children that really die.

mod daemons;
mod deaths;
mod entries;
mod harness;
mod helper;
mod limits;
mod lives;
mod soft_limits;
mod tasks;
mod work;
