//! A consumer that waits is told of each message, whatever it has claimed before.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use celeriac_core::{Broker, Settled};
use celeriac_testkit::{message, queue, within};

use super::Store;
use super::keys::{ack, consume};

/// How long a consumer has to begin to wait, which only makes the test stricter.
const SETTLED_DOWN: Duration = Duration::from_millis(30);

/// A consumer that hears nothing looks every five seconds, so it would take twice as long.
const ALL_HEARD: Duration = Duration::from_secs(60);

/// Each claim that follows a wait has to ask for the next message too, in all the lists.
#[tokio::test]
async fn each_message_is_heard_by_one_who_has_waited_before() {
    const MESSAGES: usize = 24;
    let place = Store::new("hearing", "");
    let (store, sender) = (place.store().await, place.store().await);
    let consumer = consume(&store, "c").await;
    let begun = Instant::now();
    for number in 0..MESSAGES {
        let priority = if number % 3 == 0 { 9 } else { 0 };
        let id = format!("call-{number}");
        let sent = message(id.as_str().into(), "t", number, priority);
        let receiving = consumer.receive(NonZeroUsize::new(8).unwrap());
        tokio::pin!(receiving);
        let early = tokio::time::timeout(SETTLED_DOWN, &mut receiving).await;
        assert!(early.is_err(), "nothing was sent yet");
        let sent = vec![(queue("jobs").into(), sent)];
        sender.publish(sent).await.unwrap();
        let got = within(receiving).await.unwrap();
        let ids: Vec<String> = got
            .iter()
            .map(|it| it.message.headers.id.to_string())
            .collect();
        assert_eq!(ids, [id]);
        let settled = within(consumer.settle(vec![ack(&got[0])])).await.unwrap();
        assert_eq!(settled, [Settled::Done]);
    }
    let took = begun.elapsed();
    assert!(took < ALL_HEARD, "{MESSAGES} messages took {took:?}");
}
