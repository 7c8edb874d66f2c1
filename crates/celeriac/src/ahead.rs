//! One call that is followed while it is being published.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use celeriac_core::Reply;
use futures_util::future::{Either, select};

use crate::broker_client::BrokerClient;
use crate::call::Call;
use crate::error::Result;

/// Has a call published, and its outcome brought to it meanwhile: an idle worker may be done before the
/// broker confirms the message, as RabbitMQ does when that is on disk or was acknowledged.
///
/// The message is stored once `confirmed` says so, or its own result proves it. The id of the call was
/// never used before. If this fails or is dropped, the call is followed no more.
pub(crate) async fn publish<V: Send + 'static>(
    broker: &BrokerClient,
    call: Arc<Call<V>>,
    confirmed: impl Future<Output = Result<()>>,
) -> Result<Arc<Call<V>>> {
    let mut confirmed = pin!(confirmed);
    // The message goes first, because that is what others wait for.
    let begun = poll_fn(|context| Poll::Ready(confirmed.as_mut().poll(context))).await;
    if let Poll::Ready(published) = begun {
        published?;
        let (reply, control) = (call.reply(1), call.control.clone());
        broker.follow(call.id.clone(), reply, 0, control, false);
        return Ok(call);
    }
    let followed = Followed::ahead(broker, &call);
    match select(confirmed, pin!(call.slot.finished())).await {
        Either::Left((published, _)) => published?,
        // Its end proves nothing if it is only that results cannot be read.
        Either::Right(((), confirmed)) if !call.has_started() => confirmed.await?,
        Either::Right(_) => {}
    }
    followed.keep();
    Ok(call)
}

/// A call that is followed as long as this is there, or for good if it is kept.
struct Followed<'a, V: Send + 'static> {
    broker: &'a BrokerClient,
    call: Arc<Call<V>>,
    reply: Option<Arc<dyn Reply>>,
}

impl<'a, V: Send + 'static> Followed<'a, V> {
    fn ahead(broker: &'a BrokerClient, call: &Arc<Call<V>>) -> Self {
        let (reply, control) = (call.reply(1), call.control.clone());
        broker.follow_ahead(call.id.clone(), reply.clone(), control);
        Self {
            broker,
            call: call.clone(),
            reply: Some(reply),
        }
    }

    fn keep(mut self) {
        self.reply = None;
    }
}

impl<V: Send + 'static> Drop for Followed<'_, V> {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            self.broker.forget(self.call.id.clone(), reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::{PublishRetry, ResultState, TaskId};
    use celeriac_drivers::DriverOptions;
    use celeriac_drivers::memory::MemoryBroker;
    use celeriac_testkit::{result, within};

    use crate::error::Error;
    use crate::format::BodyFormat;
    use crate::outlet::Outlet;

    fn client(name: &str) -> Arc<BrokerClient> {
        let broker = MemoryBroker::named(name, &DriverOptions::default());
        let (format, retry) = (BodyFormat::default(), PublishRetry::NEVER);
        let outlet = Outlet::new(broker, false).unwrap();
        BrokerClient::new(outlet, Arc::default(), format, retry).unwrap()
    }

    async fn store(client: &BrokerClient, call: &Call<u32>) {
        let results = client.broker().results().unwrap();
        let stored = result(&call.id, ResultState::Success, 1);
        results.store(vec![stored]).await.unwrap();
    }

    #[tokio::test]
    async fn a_result_is_as_good_as_a_confirm() {
        let client = client("ahead-of-confirms");
        let call = Call::<u32>::elsewhere(TaskId::new());
        store(&client, &call).await;
        let sent = publish(&client, call, std::future::pending());
        let sent = within(sent).await.unwrap();
        assert_eq!(sent.slot.wait_take(None), Some(Ok(1)));
    }

    #[tokio::test]
    async fn what_was_not_sent_is_followed_no_more() {
        let client = client("ahead-of-failures");
        let [lost, dropped, last] = [(); 3].map(|()| Call::<u32>::elsewhere(TaskId::new()));
        let failing = async {
            tokio::task::yield_now().await;
            Err(Error::Closed)
        };
        let failed = publish(&client, lost.clone(), failing);
        assert!(within(failed).await.is_err());
        let mut begun = Box::pin(publish(&client, dropped.clone(), std::future::pending()));
        assert!(futures_util::poll!(&mut begun).is_pending());
        drop(begun);
        for call in [&lost, &dropped] {
            store(&client, call).await;
        }
        // Its news comes after theirs.
        store(&client, &last).await;
        let followed = publish(&client, last, std::future::pending());
        within(followed).await.unwrap();
        assert!(!lost.slot.is_filled() && !dropped.slot.is_filled());
    }
}
