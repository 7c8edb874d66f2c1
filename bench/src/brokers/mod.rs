//! Redis and RabbitMQ as the broker, with a worker in a process of its own.
//!
//! The servers are told by the variables by which tests are told them too.

mod backlog;
mod drain;
mod flood;
mod footprint;
mod idle;
mod punctuality;
mod revoked;
mod send;
mod telling;

use std::env;
use std::error::Error;

use celeriac::QueueName;
use celeriac::blocking::{App, block_on};

use crate::latency;
use crate::worker::{Events, Worker};

/// The variable that tells where Redis is.
pub(crate) const REDIS: &str = "CELERIAC_TEST_REDIS";
/// The variable that tells where RabbitMQ is.
pub(crate) const AMQP: &str = "CELERIAC_TEST_AMQP";

/// What our workers run tasks on: as many slots as the peer has processes.
const POOL: &str = "threads=2";

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// Runs what `measure` names, if it is about a broker that is a server; gives its report.
pub(crate) fn run(measure: &str) -> Result<Option<String>> {
    let report = match measure {
        "redis-drain" => drain::without_results(&url(REDIS)?, Events::Off)?,
        "redis-results" => drain::with_results(&url(REDIS)?)?,
        "redis-send" => send::in_bulk(&url(REDIS)?)?,
        "redis-send-1" => send::singly(&url(REDIS)?)?,
        "redis-latency" => through_idle_worker(&url(REDIS)?)?,
        "amqp-send" => send::in_bulk(&url(AMQP)?)?,
        "amqp-drain" => drain::without_results(&url(AMQP)?, Events::Off)?,
        "amqp-latency" => through_idle_worker(&url(AMQP)?)?,
        "redis-events" => telling::drained(&url(REDIS)?)?,
        "amqp-events" => telling::drained(&url(AMQP)?)?,
        "redis-eta" => punctuality::of_a_crowd(&url(REDIS)?)?,
        "amqp-eta" => punctuality::of_a_crowd(&url(AMQP)?)?,
        "redis-eta-single" => punctuality::of_singles(&url(REDIS)?)?,
        "amqp-eta-single" => punctuality::of_singles(&url(AMQP)?)?,
        "redis-idle" => idle::processor(&url(REDIS)?)?,
        "amqp-idle" => idle::processor(&url(AMQP)?)?,
        "redis-revoked" => return Ok(Some(revoked::run(&url(REDIS)?)?.to_string())),
        "amqp-revoked" => return Ok(Some(revoked::run(&url(AMQP)?)?.to_string())),
        "redis-flood" => flood::of_requests(&url(REDIS)?)?,
        "amqp-flood" => flood::of_requests(&url(AMQP)?)?,
        "worker-start" => footprint::start(&url(REDIS)?)?,
        "worker-memory" => return Ok(Some(footprint::memory(&url(REDIS)?)?.to_string())),
        _ => return Ok(None),
    };
    Ok(Some(report.to_string()))
}

/// The same work as a measure's, by a worker that tells monitors nothing.
pub(crate) fn silent(measure: &str) -> Result<Option<String>> {
    let report = match measure {
        "redis-events" => drain::without_results(&url(REDIS)?, Events::Off)?,
        "amqp-events" => drain::without_results(&url(AMQP)?, Events::Off)?,
        _ => return Ok(None),
    };
    Ok(Some(report.to_string()))
}

/// The same work as a measure's, while nobody asks the worker anything.
pub(crate) fn quiet(measure: &str) -> Result<Option<String>> {
    let report = match measure {
        "redis-flood" => flood::of_news(&url(REDIS)?)?,
        "amqp-flood" => flood::of_news(&url(AMQP)?)?,
        _ => return Ok(None),
    };
    Ok(Some(report.to_string()))
}

/// An app on a server whose queue is empty: what an aborted run left there is no part of this one.
fn open(url: &str) -> Result<App> {
    let app = App::on(url)?;
    empty(&app)?;
    Ok(app)
}

/// Drops what waits in the queue; how much that was.
fn empty(app: &App) -> Result<u64> {
    let app = app.clone().into_async();
    let broker = app.broker().ok_or("the place is no broker")?;
    Ok(block_on(broker.purge(&QueueName::default()))?)
}

fn through_idle_worker(url: &str) -> Result<crate::repetitions::Report> {
    let app = open(url)?;
    let _worker = Worker::start_ready(url, POOL)?;
    latency::measure(&app)
}

/// What `variable` says.
pub(crate) fn url(variable: &str) -> Result<String> {
    env::var(variable).map_err(|_| {
        format!("{variable} is not set; `cargo xtask bench` starts the server and sets it").into()
    })
}
