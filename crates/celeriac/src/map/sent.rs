//! The calls of a map that are given to an executor in invocations of their own.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use celeriac_core::chunk::ChunkBuilder;
use celeriac_core::task::{call_typed, push_body};
use celeriac_core::{
    Chunk, ContentType, Control, ErrorKind, Invocation, OutcomeChunk, PayloadError, Reply, Task,
    TaskError, Work,
};

use super::Map;
use super::arrivals::{Arrival, Arrivals, Part};
use super::window::{Again, Sent, Ticket};
use crate::chunker::MOST_BYTES;

impl<T: Task> Map<'_, T> {
    /// Takes at most `wanted` inputs and sends them encoded, and says how many there were.
    pub(super) fn send_encoded(
        &mut self,
        content_type: ContentType,
        keep_for_retry: bool,
        wanted: usize,
        context: &mut Context<'_>,
    ) -> usize {
        let mut builder = ChunkBuilder::new(content_type);
        let mut refused = Vec::new();
        let mut taken = 0;
        while taken < wanted
            && builder.size_bytes() < MOST_BYTES
            && let Poll::Ready(Some(input)) = self.inputs.poll_next(context)
        {
            let args = T::args(input);
            if let Err(error) = push_checked(&mut builder, &args, self.body_limit_bytes) {
                refused.push((taken, error));
            }
            taken += 1;
        }
        if taken == 0 {
            return 0;
        }
        let chunk = builder.finish();
        // Retries find their arguments by number, which no longer fits if some were refused.
        let kept = (keep_for_retry && refused.is_empty()).then(|| chunk.clone());
        let ticket = self.open(taken, kept);
        if refused.is_empty() {
            self.launch(ticket, 0, taken, 1, Work::Encoded(chunk), Duration::ZERO);
        } else {
            self.send_around(ticket, &chunk, taken, refused);
        }
        taken
    }

    /// Takes one input and sends it as a value, and says whether there was one.
    pub(super) fn send_alone(&mut self, context: &mut Context<'_>) -> usize {
        let Poll::Ready(Some(input)) = self.inputs.poll_next(context) else {
            return 0;
        };
        let args = T::args(input);
        let ticket = self.open(1, None);
        let arrivals = self.arrivals.clone();
        let work = Work::Local(Box::new(move |context| {
            call_typed::<T>(args, context).map(move |outcome| {
                arrivals.push(Arrival {
                    ticket,
                    first: 0,
                    attempt: 1,
                    part: Part::Values([outcome].into(), Duration::ZERO),
                });
            })
        }));
        self.launch(ticket, 0, 1, 1, work, Duration::ZERO);
        1
    }

    /// Runs one call again.
    pub(super) fn send_again(&mut self, ticket: Ticket, again: &Again) {
        let chunk = self
            .window
            .flight(ticket)
            .and_then(|flight| flight.sent.as_ref()?.chunk.as_ref())
            .map(|chunk| chunk.nth(again.index));
        if let Some(chunk) = chunk {
            let work = Work::Encoded(chunk);
            self.launch(ticket, again.index, 1, again.attempt, work, again.delay);
        }
    }

    /// Sends the calls of a chunk some of whose arguments could not be encoded: those get their
    /// error, the others go one by one.
    fn send_around(
        &mut self,
        ticket: Ticket,
        chunk: &Chunk,
        taken: usize,
        refused: Vec<(usize, PayloadError)>,
    ) {
        let mut refused = refused.into_iter().peekable();
        let mut encoded = 0;
        for index in 0..taken {
            if let Some((_, error)) = refused.next_if(|(refused, _)| *refused == index) {
                let reason = format!(
                    "the arguments of `{}` cannot be sent: {error}",
                    T::DEFINITION.name
                );
                let error = TaskError::new(ErrorKind::BadArguments, reason);
                self.arrivals.push(Arrival {
                    ticket,
                    first: index,
                    attempt: 1,
                    part: Part::Failed(1, error),
                });
            } else {
                let work = Work::Encoded(chunk.nth(encoded));
                encoded += 1;
                self.launch(ticket, index, 1, 1, work, Duration::ZERO);
            }
        }
    }

    /// Opens a flight of calls that are not in the line.
    fn open(&mut self, count: usize, chunk: Option<Chunk>) -> Ticket {
        let sent = Sent {
            first: self.count(count),
            controls: Vec::with_capacity(1),
            chunk,
        };
        self.window.open(count, Some(Box::new(sent)))
    }

    fn launch(
        &mut self,
        ticket: Ticket,
        first: usize,
        count: usize,
        attempt: u32,
        work: Work,
        delay: Duration,
    ) {
        let flight = self.window.flight(ticket);
        let Some(sent) = flight.and_then(|flight| flight.sent.as_mut()) else {
            return;
        };
        let control = Control::new();
        sent.controls.push(control.clone());
        let id = self.id.nth(sent.first.wrapping_add(first));
        let reply = Arc::new(FlightReply {
            arrivals: self.arrivals.clone(),
            ticket,
            first,
            count,
            attempt,
        });
        let invocation = Invocation {
            id,
            task: T::DEFINITION,
            attempt,
            limits: T::DEFINITION.options.limits,
            control,
            work,
            reply,
        };
        self.launcher.launch(invocation, delay);
    }
}

/// Appends the body of one call, unless it is over the limit.
fn push_checked<A: serde::Serialize>(
    chunk: &mut ChunkBuilder,
    args: &A,
    limit_bytes: usize,
) -> Result<(), PayloadError> {
    let before = chunk.size_bytes();
    push_body(chunk, args)?;
    let size_bytes = chunk.size_bytes() - before;
    if size_bytes > limit_bytes {
        chunk.pop(before);
        return Err(PayloadError::TooLarge {
            size_bytes,
            limit_bytes,
        });
    }
    Ok(())
}

/// Brings the outcomes of one invocation back to its map.
struct FlightReply<V> {
    arrivals: Arc<Arrivals<V>>,
    ticket: Ticket,
    first: usize,
    count: usize,
    attempt: u32,
}

impl<V> FlightReply<V> {
    fn arrive(&self, part: Part<V>) {
        self.arrivals.push(Arrival {
            ticket: self.ticket,
            first: self.first,
            attempt: self.attempt,
            part,
        });
    }
}

impl<V: Send> Reply for FlightReply<V> {
    fn outcomes(&self, outcomes: OutcomeChunk) {
        self.arrive(Part::Encoded(outcomes));
    }

    fn failed(&self, error: TaskError) {
        self.arrive(Part::Failed(self.count, error));
    }
}
