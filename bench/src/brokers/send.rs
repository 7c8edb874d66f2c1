//! Sending to a broker where no worker is: many calls at once, and many one by one.

use celeriac::blocking::{App, block_on};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Result, empty, open};
use crate::repetitions::Report;
use crate::tasks;

/// Sent in one call, in so many batches that filling the first and storing the last do not count.
const IN_BULK: u32 = 100_000;

const SINGLY: u32 = 20_000;

/// How many single sends are under way at once, at most.
const WINDOW: usize = 1_000;

pub(super) fn in_bulk(url: &str) -> Result<Report> {
    let app = open(url)?;
    let send = || -> Result<()> {
        let calls = (0..IN_BULK).map(|number| tasks::empty::call(number).ignore_result());
        assert_eq!(app.send_many(calls)?.len(), IN_BULK as usize);
        Ok(())
    };
    Report::of_each(IN_BULK, send, || clear(&app, IN_BULK))
}

pub(super) fn singly(url: &str) -> Result<Report> {
    let server = open(url)?;
    let app = server.clone().into_async();
    let send = || -> Result<()> {
        let sends = (0..SINGLY).map(|number| app.send(tasks::empty::call(number).ignore_result()));
        let sends = stream::iter(sends).buffer_unordered(WINDOW);
        Ok(block_on(sends.try_for_each(async |_| Ok(())))?)
    };
    Report::of_each(SINGLY, send, || clear(&server, SINGLY))
}

/// Empties the queue, which has to hold all that were sent.
fn clear(app: &App, sent: u32) -> Result<()> {
    let purged = empty(app)?;
    if purged == u64::from(sent) {
        Ok(())
    } else {
        Err(format!("{purged} messages were in the queue, not {sent}").into())
    }
}
