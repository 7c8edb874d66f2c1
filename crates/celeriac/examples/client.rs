//! A program without tasks of its own: it asks a worker elsewhere, in Python for instance.
//!
//! ```sh
//! cargo run --example client --features redis -- redis://localhost
//! ```

#![allow(clippy::print_stdout, reason = "it prints what it was told")]

use celeriac::prelude::*;

/// Adds two numbers; it has no body, because it runs elsewhere.
#[celeriac::task(name = "py.add", queue = "to_python")]
fn add(a: i64, b: i64) -> i64;

#[celeriac::main]
async fn main() -> celeriac::Result<()> {
    let broker = std::env::args().nth(1).unwrap_or_default();
    let app = App::on(broker.as_str()).await?;
    let mut sum = app.send(add::call(2, 3)).await?;
    println!("{}", sum.get().await?);
    Ok(())
}
