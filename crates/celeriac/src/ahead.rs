//! One call that is followed while it is being published.

use std::pin::pin;
use std::sync::Arc;

use celeriac_core::Reply;
use futures_util::future::{Either, select};

use crate::broker_client::BrokerClient;
use crate::call::Call;
use crate::error::Result;

/// Has the outcome of a call brought to it before the call is published: an idle worker may be done
/// before the broker confirms the message, as RabbitMQ does when that is on disk or was acknowledged.
///
/// If it is dropped before [`publish`](Self::publish) succeeds, the call is followed no more.
pub(crate) struct FollowedAhead<'a, V: Send + 'static> {
    broker: &'a BrokerClient,
    call: Arc<Call<V>>,
    reply: Option<Arc<dyn Reply>>,
}

impl<'a, V: Send + 'static> FollowedAhead<'a, V> {
    /// Begins to follow a call of an id that was never used before.
    pub(crate) fn new(broker: &'a BrokerClient, call: Arc<Call<V>>) -> Self {
        let (reply, control) = (call.reply(1), call.control.clone());
        broker.follow(call.id.clone(), reply.clone(), 0, control, false);
        Self {
            broker,
            call,
            reply: Some(reply),
        }
    }

    /// Waits until the message is stored: until `confirmed` says so, or its own result proves it.
    pub(crate) async fn publish(
        mut self,
        confirmed: impl Future<Output = Result<()>>,
    ) -> Result<Arc<Call<V>>> {
        let ended = self.call.slot.finished();
        match select(pin!(confirmed), pin!(ended)).await {
            Either::Left((published, _)) => published?,
            // Its end proves nothing if it is only that results cannot be read.
            Either::Right(((), confirmed)) if !self.call.has_started() => confirmed.await?,
            Either::Right(_) => {}
        }
        self.reply = None;
        Ok(self.call.clone())
    }
}

impl<V: Send + 'static> Drop for FollowedAhead<'_, V> {
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

    fn client(name: &str) -> Arc<BrokerClient> {
        let broker = MemoryBroker::named(name, &DriverOptions::default());
        let (format, retry) = (BodyFormat::default(), PublishRetry::NEVER);
        BrokerClient::new(broker, Arc::default(), format, retry).unwrap()
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
        let ahead = FollowedAhead::new(&client, call.clone());
        store(&client, &call).await;
        let sent = within(ahead.publish(std::future::pending())).await.unwrap();
        assert_eq!(sent.slot.wait_take(None), Some(Ok(1)));
    }

    #[tokio::test]
    async fn what_was_not_sent_is_followed_no_more() {
        let client = client("ahead-of-failures");
        let [lost, dropped, last] = [(); 3].map(|()| Call::<u32>::elsewhere(TaskId::new()));
        let ahead = FollowedAhead::new(&client, lost.clone());
        let failed = ahead.publish(std::future::ready(Err(Error::Closed)));
        assert!(within(failed).await.is_err());
        drop(FollowedAhead::new(&client, dropped.clone()));
        for call in [&lost, &dropped] {
            store(&client, call).await;
        }
        // Its news comes after theirs.
        let ahead = FollowedAhead::new(&client, last.clone());
        store(&client, &last).await;
        within(ahead.publish(std::future::pending())).await.unwrap();
        assert!(!lost.slot.is_filled() && !dropped.slot.is_filled());
    }
}
