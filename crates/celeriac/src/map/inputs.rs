//! Where a map takes its inputs from.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::Stream;

/// An iterator or a stream of inputs, taken one by one.
pub(crate) enum Inputs<'a, I> {
    Iterator(Box<dyn Iterator<Item = I> + Send + 'a>),
    Stream(Pin<Box<dyn Stream<Item = I> + Send + 'a>>),
    Ended,
}

impl<I> Inputs<'_, I> {
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<I>> {
        let next = match self {
            Self::Iterator(iterator) => Poll::Ready(iterator.next()),
            Self::Stream(stream) => stream.as_mut().poll_next(context),
            Self::Ended => Poll::Ready(None),
        };
        if matches!(next, Poll::Ready(None)) {
            *self = Self::Ended;
        }
        next
    }

    /// How many inputs are left, if that is known.
    pub(super) fn left(&self) -> Option<usize> {
        match self {
            Self::Iterator(iterator) => iterator.size_hint().1,
            Self::Stream(stream) => stream.size_hint().1,
            Self::Ended => Some(0),
        }
    }

    pub(super) fn have_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }
}
