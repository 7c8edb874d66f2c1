//! apalis, with its storage on Redis.
//!
//! It takes tasks in batches, and settles them in batches too. What it calls persisting a result is
//! also how it acknowledges a task, so that stays on, with nothing as the result.

use std::env;

use apalis::prelude::*;
use apalis_redis::{Config, RedisStorage};

use crate::{Drained, Result, span};

/// How often the backlog is drained; it takes a fraction of a second.
const REPETITIONS: u32 = 10;

/// Its script that finds what is due fails on a backlog of 8,000 and more.
const TASKS: u32 = 6_000;

/// How many it takes at once. With 10, its default, it is slower; with 500 it was as fast within the noise.
const BATCH: usize = 100;

async fn tick(_number: u32) -> Result<(), BoxDynError> {
    span::count_task();
    Ok(())
}

/// Drains a backlog several times; each task is locked by its worker if `lock` says so.
///
/// A lock is for tasks that run for longer than a worker may be silent. A task whose worker dies comes
/// back without one too.
pub(crate) async fn drain(lock: bool) -> Result<Drained> {
    let connection = apalis_redis::connect(env::var("CELERIAC_TEST_REDIS")?).await?;
    let config = Config::default()
        .queue("apalis-bench")
        .batch_size(BATCH)
        .lock_tasks(lock)
        .emit_events(false);
    let mut took = Vec::new();
    for repetition in 0..REPETITIONS {
        let mut storage = RedisStorage::new(connection.clone()).with_config(config.clone());
        for start in (0..TASKS).step_by(500) {
            storage.push_bulk((start..start + 500).collect()).await?;
        }
        let worker = WorkerBuilder::new(format!("bench-{repetition}")).backend(storage);
        // Spawned on threads each by itself, empty tasks take longer than here, one after another.
        took.push(span::of(TASKS, worker.build(tick).run()).await?);
    }
    Ok(Drained { tasks: TASKS, took })
}
