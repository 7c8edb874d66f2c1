//! `queues`: how full they are.

use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::{Output, Table};
use super::{GlobalArgs, connect};

pub(super) async fn run(global: &GlobalArgs, output: Output) -> Result<Exit, Failure> {
    let queues = connect::open(global).await?.queues().await?;
    let document = queues.iter().map(|queue| {
        json!({
            "queue": queue.name.as_str(),
            "ready": queue.ready,
            "delayed": queue.delayed,
            "held": queue.held,
            "dead": queue.dead,
        })
    });
    output.print(&document.collect(), || {
        let mut table = Table::new(&["QUEUE", "#READY", "#DELAYED", "#HELD", "#DEAD"]);
        for queue in &queues {
            let counts = [queue.ready, queue.delayed, queue.held, queue.dead];
            let name = std::iter::once(queue.name.to_string());
            table.row(name.chain(counts.map(|count| count.to_string())));
        }
        table.text("there is no queue yet; sending a call makes one")
    })?;
    Ok(Exit::Done)
}
