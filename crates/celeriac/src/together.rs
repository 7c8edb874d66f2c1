//! Waiting for several handles of one type.

use std::pin::Pin;
use std::task::{Context, Poll};

use celeriac_core::TaskError;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt as _};

use crate::handle::Handle;

/// Waits for all handles, and gives their values in the handles' order.
///
/// # Errors
///
/// The first error in that order; the other calls go on.
///
/// ```
/// # use celeriac::prelude::*;
/// # #[celeriac::task] fn double(n: u32) -> u32 { 2 * n }
/// # celeriac::blocking::block_on(async {
/// let app = App::on("threads=2").await?;
/// let handles = [app.send(double::call(1)).await?, app.send(double::call(2)).await?];
/// assert_eq!(gather(handles).await?, [2, 4]);
/// # Ok::<(), celeriac::Error>(()) }).unwrap();
/// ```
pub async fn gather<V: Send + 'static>(
    handles: impl IntoIterator<Item = Handle<V>>,
) -> Result<Vec<V>, TaskError> {
    let mut values = Vec::new();
    for mut handle in handles {
        values.push(handle.get().await?);
    }
    Ok(values)
}

/// A stream of the handles' outcomes as they complete, each with the handle's position.
pub fn as_completed<V: Send + 'static>(
    handles: impl IntoIterator<Item = Handle<V>>,
) -> AsCompleted<V> {
    let waits = handles
        .into_iter()
        .enumerate()
        .map(|(position, handle)| Wait { position, handle });
    AsCompleted {
        waits: waits.collect(),
    }
}

/// The stream of [`as_completed`].
#[derive(Debug)]
pub struct AsCompleted<V: Send + 'static> {
    waits: FuturesUnordered<Wait<V>>,
}

impl<V: Send + 'static> AsCompleted<V> {
    /// Waits for the next outcome; `None` when there is none left. Cancel safe.
    pub async fn next(&mut self) -> Option<(usize, Result<V, TaskError>)> {
        self.waits.next().await
    }
}

impl<V: Send + 'static> Stream for AsCompleted<V> {
    type Item = (usize, Result<V, TaskError>);

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waits.poll_next_unpin(context)
    }
}

/// One handle waited for.
#[derive(Debug)]
struct Wait<V> {
    position: usize,
    handle: Handle<V>,
}

impl<V: Send + 'static> Future for Wait<V> {
    type Output = (usize, Result<V, TaskError>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let position = self.position;
        self.handle
            .poll_get(context)
            .map(|outcome| (position, outcome))
    }
}
