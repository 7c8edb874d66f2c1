//! Follows the results of calls, and brings each outcome to whoever waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::chunk::push_outcome;
use celeriac_core::results::ResultWatch;
use celeriac_core::{
    BrokerError, ContentType, Control, ErrorKind, Outcome, OutcomeChunk, Payload, Reply,
    ResultBackend, ResultState, StoredResult, TaskError, TaskId,
};
use tokio::sync::mpsc;

use crate::sent_calls::SentCalls;

/// How long to wait before asking a broker again that was away.
const PAUSE: Duration = Duration::from_millis(200);

/// A call whose result somebody waits for.
pub(crate) struct Followed {
    pub(crate) id: TaskId,
    pub(crate) reply: Arc<dyn Reply>,
    /// The number of the call in its invocation.
    pub(crate) index: usize,
    pub(crate) control: Arc<Control>,
    /// Whether it is only being sent.
    pub(crate) ahead: bool,
}

impl Followed {
    /// Tells whoever waits for the call that it failed.
    pub(crate) fn fail(self, error: &TaskError) {
        Run::start(self, &Err(error.clone())).deliver();
    }
}

/// What a follower is told.
pub(crate) enum Order {
    Follow(Followed),
    /// Nobody waits any more for what this reply would bring.
    Forget(TaskId, Arc<dyn Reply>),
}

/// The way to the follower.
#[derive(Debug, Clone)]
pub(crate) struct Following {
    orders: mpsc::UnboundedSender<Order>,
    /// The calls whose results come here, where results go to their sender alone.
    own: Option<Arc<SentCalls>>,
}

impl Following {
    pub(crate) fn new(orders: mpsc::UnboundedSender<Order>, goes_to_sender: bool) -> Self {
        Self {
            orders,
            own: goes_to_sender.then(Arc::default),
        }
    }

    /// Hands a call over that was sent, unless it leaves no result.
    pub(crate) fn follow(&self, call: Followed, ignored: bool) {
        if ignored {
            call.reply.failed(TaskError::new(
                ErrorKind::NoResult,
                "its task keeps no result",
            ));
            return;
        }
        self.sent(&call.id);
        if let Err(unsent) = self.orders.send(Order::Follow(call))
            && let Order::Follow(call) = unsent.0
        {
            let closed = TaskError::new(ErrorKind::Unavailable, "the app was closed");
            call.reply.failed(closed);
        }
    }

    /// Follows a call no more.
    pub(crate) fn forget(&self, id: TaskId, reply: Arc<dyn Reply>) {
        // Without a follower there is nothing to forget.
        let _ = self.orders.send(Order::Forget(id, reply));
    }

    /// Takes note of a call that was sent.
    pub(crate) fn sent(&self, id: &TaskId) {
        if let Some(own) = &self.own {
            own.remember(id);
        }
    }

    /// Whether the result of a call can be read here.
    pub(crate) fn hears_of(&self, id: &TaskId) -> bool {
        self.own.as_ref().is_none_or(|own| own.contains(id))
    }
}

/// Follows the results of calls until each has its outcome.
pub(crate) struct Follower {
    results: Arc<dyn ResultBackend>,
    calls: HashMap<TaskId, Vec<Followed>>,
}

impl Follower {
    pub(crate) fn new(results: Arc<dyn ResultBackend>) -> Self {
        Self {
            results,
            calls: HashMap::new(),
        }
    }

    /// Runs until nobody can hand calls over any more.
    pub(crate) async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Order>) {
        let Some(mut watch) = self.open(&mut inbox).await else {
            return;
        };
        let mut orders = Vec::new();
        loop {
            tokio::select! {
                count = inbox.recv_many(&mut orders, 4096) => {
                    if count == 0 {
                        return;
                    }
                    self.carry_out(&mut orders, &mut *watch);
                }
                news = watch.next(), if !self.calls.is_empty() => match news {
                    Ok(news) => self.deliver_all(&news),
                    Err(error) if error.is_transient() => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "results cannot be read, will try again");
                        tokio::time::sleep(PAUSE).await;
                    }
                    Err(error) => self.fail_all(&error),
                },
            }
        }
    }

    /// Opens the watch, however long that takes; `None` if nobody will need it any more.
    async fn open(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Order>,
    ) -> Option<Box<dyn ResultWatch>> {
        loop {
            match self.results.watch().await {
                Ok(watch) => return Some(watch),
                Err(error) if error.is_transient() && !inbox.is_closed() => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "results cannot be read, will try again"
                    );
                    tokio::time::sleep(PAUSE).await;
                }
                Err(error) => {
                    let reason = format!("its result cannot be read: {}", chain(&error));
                    while let Some(order) = inbox.recv().await {
                        if let Order::Follow(call) = order {
                            let failed = TaskError::new(ErrorKind::Unavailable, reason.clone());
                            call.reply.failed(failed);
                        }
                    }
                    return None;
                }
            }
        }
    }

    /// Takes over what is followed from now on, and drops what is not.
    fn carry_out(&mut self, orders: &mut Vec<Order>, watch: &mut dyn ResultWatch) {
        let (mut sent, mut ahead) = (Vec::with_capacity(orders.len()), Vec::new());
        for order in orders.drain(..) {
            match order {
                Order::Follow(call) => {
                    let fresh = if call.ahead { &mut ahead } else { &mut sent };
                    fresh.push(call.id.clone());
                    self.calls.entry(call.id.clone()).or_default().push(call);
                }
                Order::Forget(id, reply) => {
                    let Some(calls) = self.calls.get_mut(&id) else {
                        continue;
                    };
                    calls.retain(|call| !Arc::ptr_eq(&call.reply, &reply));
                    if calls.is_empty() {
                        self.calls.remove(&id);
                        // It must not be watched again by what was ordered before.
                        sent.retain(|one| *one != id);
                        ahead.retain(|one| *one != id);
                        watch.remove(std::slice::from_ref(&id));
                    }
                }
            }
        }
        if !ahead.is_empty() {
            watch.expect(&ahead);
        }
        if !sent.is_empty() {
            watch.add(&sent);
        }
    }

    /// Brings news to those who wait; outcomes of neighbouring calls go together.
    fn deliver_all(&mut self, news: &[StoredResult]) {
        let mut run: Option<Run> = None;
        for result in news {
            let Some(outcome) = self.tell(result) else {
                continue;
            };
            for call in self.calls.remove(&result.id).into_iter().flatten() {
                match &mut run {
                    Some(run) if run.goes_on_with(&call, &outcome) => run.push(&outcome),
                    _ => {
                        let new = Run::start(call, &outcome);
                        if let Some(done) = run.replace(new) {
                            done.deliver();
                        }
                    }
                }
            }
        }
        if let Some(run) = run {
            run.deliver();
        }
    }

    /// Tells those who wait for a call how far it has come, and says how it ended if it did.
    fn tell(&self, result: &StoredResult) -> Option<Outcome<Payload>> {
        let calls = self.calls.get(&result.id)?;
        if let ResultState::Progress(progress) = &result.state {
            for call in calls {
                call.control.report(progress.clone());
            }
        }
        for call in calls {
            call.reply.started();
        }
        result.outcome()
    }

    fn fail_all(&mut self, error: &BrokerError) {
        let reason = format!("its result cannot be read: {}", chain(error));
        for call in self.calls.drain().flat_map(|(_, calls)| calls) {
            call.fail(&TaskError::new(ErrorKind::Unavailable, reason.clone()));
        }
    }
}

/// Outcomes of neighbouring calls of one invocation, gathered for its reply.
struct Run {
    reply: Arc<dyn Reply>,
    content_type: ContentType,
    first: usize,
    bytes: Vec<u8>,
    count: usize,
}

impl Run {
    fn start(call: Followed, outcome: &Outcome<Payload>) -> Self {
        let mut run = Self {
            reply: call.reply,
            content_type: outcome
                .as_ref()
                .map_or(ContentType::Json, |value| value.content_type),
            first: call.index,
            bytes: Vec::new(),
            count: 0,
        };
        run.push(outcome);
        run
    }

    /// Whether `call` is the next one of the same invocation, and its value is encoded alike.
    fn goes_on_with(&self, call: &Followed, outcome: &Outcome<Payload>) -> bool {
        let alike = |value: &Payload| value.content_type == self.content_type;
        Arc::ptr_eq(&self.reply, &call.reply)
            && call.index == self.first + self.count
            && outcome.as_ref().map_or(true, alike)
    }

    fn push(&mut self, outcome: &Outcome<Payload>) {
        push_outcome(
            &mut self.bytes,
            outcome.as_ref().map(|value| &value.bytes[..]),
        );
        self.count += 1;
    }

    fn deliver(self) {
        let outcomes = OutcomeChunk::from_bytes(
            self.content_type,
            self.first,
            Duration::ZERO,
            self.bytes.into(),
        );
        self.reply
            .outcomes(outcomes.expect("they were just encoded"));
    }
}

/// An error and its sources on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// The number of each call that was answered, and whether it succeeded.
    #[derive(Default)]
    struct Answers(Mutex<Vec<(usize, bool)>>);

    impl Reply for Answers {
        fn outcomes(&self, outcomes: OutcomeChunk) {
            let numbered = (outcomes.first..).zip(outcomes.iter());
            let mut answers = self.0.lock().unwrap();
            answers.extend(numbered.map(|(index, outcome)| (index, outcome.is_ok())));
        }

        fn failed(&self, _: TaskError) {}
    }

    #[test]
    fn an_error_between_values_goes_to_its_own_call() {
        let replies = [(); 2].map(|()| Arc::new(Answers::default()));
        let value = Payload::encode(ContentType::Json, &1).unwrap();
        let error = Err(TaskError::failed("E", "no text"));
        let mut run: Option<Run> = None;
        // Call 1 failed last, and the other invocation's call 3 failed in between.
        for (of, index, outcome) in [
            (0, 0, Ok(value.clone())),
            (0, 2, Ok(value.clone())),
            (1, 3, error.clone()),
            (0, 3, Ok(value)),
            (0, 1, error),
        ] {
            let reply: Arc<dyn Reply> = replies[of].clone();
            let call = Followed {
                id: TaskId::new(),
                reply,
                index,
                control: Control::new(),
                ahead: false,
            };
            match &mut run {
                Some(run) if run.goes_on_with(&call, &outcome) => run.push(&outcome),
                _ => {
                    if let Some(done) = run.replace(Run::start(call, &outcome)) {
                        done.deliver();
                    }
                }
            }
        }
        run.unwrap().deliver();
        let answers = replies.map(|reply| reply.0.lock().unwrap().clone());
        assert_eq!(answers[0], [(0, true), (2, true), (3, true), (1, false)]);
        assert_eq!(answers[1], [(3, false)]);
    }
}
