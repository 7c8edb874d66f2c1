//! One channel as its connection sees it: who waits for what.

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use celeriac_core::ExchangeKey;
use tokio::sync::{mpsc, oneshot};

use super::confirms::Confirms;
use super::method::{Id, id};
use super::reader::Reader;
use super::{Incoming, LinkError, Properties};

/// The largest body that room is made for before it has arrived, in bytes.
const ROOM: u64 = 1 << 20;

/// What is told to the consumer of a queue.
pub(super) type Arrival = Result<Incoming, LinkError>;

/// The numbers in the answer to a question.
pub(super) type Answer = Result<[u32; 2], LinkError>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Who asked, and what the answer must be; the server answers in the order of the questions.
    questions: VecDeque<(Id, oneshot::Sender<Answer>)>,
    consumers: HashMap<Box<[u8]>, mpsc::UnboundedSender<Arrival>>,
    /// What is published here, if the server confirms it.
    pub(super) confirms: Option<Confirms>,
    content: Option<Content>,
    /// We have ended it, and the server has not heard of it yet.
    leaving: bool,
    over: Option<LinkError>,
}

/// Where a message goes of which parts are still to come.
#[derive(Debug)]
enum Target {
    Consumer {
        tell: mpsc::UnboundedSender<Arrival>,
        tag: u64,
        redelivered: bool,
        /// The exchange that it came through, if that has a name.
        exchange: Option<Box<ExchangeKey>>,
    },
    /// Back to who published it to this exchange under this routing key.
    Sender([Box<[u8]>; 2]),
    /// Nobody is there any more who would take it.
    Nobody,
}

/// A message that is arriving.
#[derive(Debug)]
struct Content {
    target: Target,
    /// Its properties, once they are there, and how much of the body is to come.
    header: Option<(Properties, u64)>,
    body: BytesMut,
}

impl Lane {
    /// Why the channel has ended, if it has.
    pub(super) fn check(&self) -> Result<(), LinkError> {
        self.over
            .as_ref()
            .map_or(Ok(()), |error| Err(error.afterwards()))
    }

    /// Takes note of a question that is asked now.
    pub(super) fn ask(&mut self, question: Id) -> oneshot::Receiver<Answer> {
        let (tell, told) = oneshot::channel();
        self.questions.push_back((id::answer(question), tell));
        told
    }

    /// Takes note of a consumer, before it is asked for: the first delivery may come at once.
    pub(super) fn listen(&mut self, consumer: &str) -> mpsc::UnboundedReceiver<Arrival> {
        let (tell, told) = mpsc::unbounded_channel();
        self.consumers.insert(consumer.as_bytes().into(), tell);
        told
    }

    /// Nobody needs it any more: what still comes is dropped.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
        self.end(&LinkError::Lost("the channel is closed".to_owned()));
        self.over = None;
    }

    /// The channel has ended: tells all who wait.
    pub(super) fn end(&mut self, error: &LinkError) {
        for (_, tell) in std::mem::take(&mut self.questions) {
            let _ = tell.send(Err(error.clone()));
        }
        for (_, tell) in std::mem::take(&mut self.consumers) {
            let _ = tell.send(Err(error.clone()));
        }
        if let Some(confirms) = &mut self.confirms {
            confirms.end(error);
        }
        self.content = None;
        self.over.get_or_insert_with(|| error.clone());
    }

    /// The answer to the oldest question; nothing if it is none.
    pub(super) fn answer(&mut self, id: Id, numbers: [u32; 2]) -> Option<()> {
        if self.leaving {
            return Some(());
        }
        if self.questions.front()?.0 != id {
            return None;
        }
        let (_, tell) = self.questions.pop_front()?;
        // Whoever asked may have stopped waiting.
        let _ = tell.send(Ok(numbers));
        Some(())
    }

    /// A consumer has ended, of our own accord or not.
    pub(super) fn cancelled(&mut self, consumer: &[u8]) {
        self.consumers.remove(consumer);
    }

    /// A message of ours was answered to.
    pub(super) fn answered(&mut self, tag: u64, multiple: bool, taken: bool) {
        if let Some(confirms) = &mut self.confirms {
            confirms.answered(tag, multiple, taken);
        }
    }

    /// A message for a consumer begins.
    pub(super) fn deliver(
        &mut self,
        consumer: &[u8],
        tag: u64,
        redelivered: bool,
        [exchange, routing_key]: [&[u8]; 2],
    ) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let by_exchange = (!exchange.is_empty()).then(|| ExchangeKey {
            exchange: text(exchange),
            routing_key: text(routing_key),
        });
        let consumer = self.consumers.get(consumer).cloned();
        self.begin(match consumer {
            Some(tell) => Target::Consumer {
                tell,
                tag,
                redelivered,
                exchange: by_exchange.map(Box::new),
            },
            None => Target::Nobody,
        });
    }

    /// A message of ours that no queue took begins.
    pub(super) fn returned(&mut self, address: [&[u8]; 2]) {
        self.begin(Target::Sender(address.map(Into::into)));
    }

    fn begin(&mut self, target: Target) {
        self.content = Some(Content {
            target,
            header: None,
            body: BytesMut::new(),
        });
    }

    /// The properties of the message that is arriving. Nothing is given if they are none.
    pub(super) fn header(&mut self, payload: &[u8]) -> Option<()> {
        let Some(content) = &mut self.content else {
            // Of a channel that we have left nothing is remembered.
            return self.leaving.then_some(());
        };
        let mut reader = Reader(payload);
        // The class, and a weight that means nothing.
        reader.u32()?;
        let size = reader.u64()?;
        content.header = Some((Properties::read(reader.0)?, size));
        content
            .body
            .reserve(usize::try_from(size.min(ROOM)).unwrap_or_default());
        self.complete()
    }

    /// A part of its body. Nothing is given if it is none.
    pub(super) fn body(&mut self, payload: &[u8]) -> Option<()> {
        let Some(content) = &mut self.content else {
            return self.leaving.then_some(());
        };
        let (_, left) = content.header.as_mut()?;
        *left = left.checked_sub(payload.len() as u64)?;
        content.body.extend_from_slice(payload);
        self.complete()
    }

    fn complete(&mut self) -> Option<()> {
        if !matches!(
            self.content,
            Some(Content {
                header: Some((_, 0)),
                ..
            })
        ) {
            return Some(());
        }
        let content = self.content.take()?;
        let (properties, _) = content.header?;
        let body: Bytes = content.body.freeze();
        match content.target {
            Target::Consumer {
                tell,
                tag,
                redelivered,
                exchange,
            } => {
                // A consumer that was dropped leaves what it got to the end of its channel.
                let _ = tell.send(Ok(Incoming {
                    tag,
                    redelivered,
                    exchange,
                    properties,
                    body,
                }));
            }
            Target::Sender([exchange, routing_key]) => {
                if let Some(confirms) = &mut self.confirms {
                    confirms.returned([&exchange, &routing_key], &properties, &body);
                }
            }
            Target::Nobody => {}
        }
        Some(())
    }
}
