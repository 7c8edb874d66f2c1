//! rusty-celery, the crate `celery`, on RabbitMQ.
//!
//! It acknowledges a task before it runs it, which is its default and faster than after.

use std::env;

use celery::prelude::*;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use crate::{Drained, Result, span};

const REPETITIONS: u32 = 3;

const TASKS: u32 = 30_000;

/// How many deliveries it holds. With 50 and with 300 it was as fast within the noise.
const PREFETCH: u16 = 100;

/// How many sends are under way at once.
const WINDOW: usize = 1_000;

/// A queue that no other side declares, which might declare it otherwise.
const QUEUE: &str = "rusty-celery-bench";

#[celery::task]
fn tick() -> TaskResult<()> {
    span::count_task();
    Ok(())
}

/// Drains a backlog several times.
pub(crate) async fn drain() -> Result<Drained> {
    let mut took = Vec::new();
    for _ in 0..REPETITIONS {
        let app = celery::app!(
            broker = AMQPBroker { env::var("CELERIAC_TEST_AMQP")? },
            tasks = [tick],
            task_routes = ["*" => QUEUE],
            prefetch_count = PREFETCH,
            acks_late = false,
        )
        .await?;
        let sends = stream::iter(0..TASKS).map(|_| app.send_task(tick::new()));
        sends
            .buffer_unordered(WINDOW)
            .try_for_each(async |_| Ok(()))
            .await?;
        took.push(span::of(TASKS, app.consume_from(&[QUEUE])).await?);
        app.close().await?;
    }
    Ok(Drained { tasks: TASKS, took })
}
