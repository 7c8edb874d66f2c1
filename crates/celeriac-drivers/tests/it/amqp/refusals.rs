//! What a server refuses is one clear sentence with the remedy.

use std::num::NonZeroUsize;

use celeriac_core::broker::Subscription;
use celeriac_core::{
    Broker as _, BrokerError, ContentType, Payload, ResultState, Settled, Settlement, Verdict,
};
use celeriac_drivers::amqp;
use celeriac_testkit::peers::{SpareRabbitMq, amqp_url};
use celeriac_testkit::{Fixture as _, block_on, call, queue, result, within};
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable};

use super::fixture::{Amqp, driver_options, url};

async fn refused(text: &str) -> BrokerError {
    let opened = within(amqp::open(&url(text), &driver_options())).await;
    opened.expect_err("it is refused")
}

/// The shared server's address, with these credentials and this virtual host.
fn server(credentials: &str, vhost: &str) -> String {
    let url = amqp_url();
    let address = url.rsplit_once('@').unwrap().1;
    let address = address.split('/').next().unwrap();
    format!("amqp://{credentials}@{address}/{vhost}")
}

#[test]
fn a_wrong_virtual_host_is_named_with_the_remedy() {
    block_on(async {
        let error = refused(&server("guest:guest", "nowhere")).await;
        assert!(matches!(error, BrokerError::Unusable { .. }), "{error}");
        assert!(error.to_string().contains("nowhere"), "{error}");
        assert!(
            error
                .help()
                .unwrap()
                .contains("rabbitmqctl add_vhost nowhere")
        );
    });
}

#[test]
fn a_wrong_password_is_refused_and_not_shown() {
    block_on(async {
        let error = refused(&server("guest:sesame", "/")).await;
        assert!(matches!(error, BrokerError::Unusable { .. }), "{error:?}");
        let shown = format!("{error} {error:?} {:?}", error.help());
        assert!(
            shown.contains("`guest`") && !shown.contains("sesame"),
            "{shown}"
        );
    });
}

#[test]
fn a_server_that_is_not_there_is_one_that_may_come() {
    block_on(async {
        let error = refused("amqp://127.0.0.1:1//").await;
        assert!(error.is_transient(), "{error:?}");
        assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    });
}

#[test]
fn the_next_server_is_tried_if_the_first_is_not_there() {
    block_on(async {
        let both = format!("amqp://127.0.0.1:1//;{}", amqp_url());
        within(amqp::open(&url(&both), &driver_options()))
            .await
            .unwrap();
    });
}

#[test]
fn a_queue_that_others_declared_otherwise_is_used_as_it_is() {
    block_on(async {
        let amqp = Amqp::with("");
        let stranger = amqp.stranger().await;
        let name = amqp.full_name(&queue("jobs"));
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(1000));
        arguments.insert("x-expires".into(), AMQPValue::LongInt(60_000));
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declare = stranger.queue_declare(name.as_str().into(), durable, arguments);
        declare.await.unwrap();
        let broker = amqp.open().await;
        let jobs = queue("jobs");
        broker
            .publish(vec![(jobs.clone().into(), call("t", 1))])
            .await
            .unwrap();
        let subscription = Subscription::new("c", vec![jobs]);
        let consumer = broker.consume(subscription).await.unwrap();
        let got = within(consumer.receive(NonZeroUsize::MIN)).await;
        assert_eq!(got.unwrap().len(), 1);
    });
}

#[test]
fn a_full_queue_is_an_error_of_the_sender_who_is_told_what_it_took() {
    block_on(async {
        let amqp = Amqp::with("");
        let stranger = amqp.stranger().await;
        let name = amqp.full_name(&queue("jobs"));
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(2));
        arguments.insert("x-expires".into(), AMQPValue::LongInt(60_000));
        arguments.insert(
            "x-overflow".into(),
            AMQPValue::LongString("reject-publish".into()),
        );
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declare = stranger.queue_declare(name.as_str().into(), durable, arguments);
        declare.await.unwrap();
        let broker = amqp.open().await;
        let calls: Vec<_> = (0..5)
            .map(|n| (queue("jobs").into(), call("t", n)))
            .collect();
        let error = within(broker.publish(calls.clone())).await.unwrap_err();
        let (taken, refused) = error.part(calls);
        assert!(!refused.is_empty());
        assert!(error.is_transient(), "{error:?}");
        let reason = error.into_reason();
        assert!(matches!(reason, BrokerError::Full { .. }), "{reason:?}");
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let look = stranger.queue_declare(name.as_str().into(), passive, FieldTable::default());
        assert_eq!(look.await.unwrap().message_count() as usize, taken.len());
    });
}

/// Servers before 4.0 take 128 MiB, and those from then on 16 MiB, unless somebody says otherwise.
#[test]
fn what_is_too_large_for_the_server_is_refused_and_nothing_else() {
    block_on(async {
        let server = SpareRabbitMq::take();
        let amqp = Amqp::spare(&server, "");
        let limit = |bytes: &str| {
            let set = format!("application:set_env(rabbit, max_message_size, {bytes}).");
            server.control(&["eval", &set]);
        };
        let jobs = queue("jobs");
        let text = |size| Payload::encode(ContentType::Json, &"x".repeat(size)).unwrap();
        let sent = |size| {
            let mut message = call("t", 1);
            message.body = text(size);
            vec![(jobs.clone().into(), message)]
        };
        let is_refused = |error: BrokerError| {
            assert!(error.is_refusal(), "{error:?}");
            assert!(error.to_string().contains("max_message_size"), "{error}");
        };
        limit("100000");
        let broker = amqp.handle().await;
        is_refused(within(broker.publish(sent(200_000))).await.unwrap_err());
        within(broker.publish(sent(1))).await.unwrap();

        // A result: its call is settled without it.
        let subscription = Subscription::new("c", vec![jobs.clone()]);
        let consumer = broker.consume(subscription).await.unwrap();
        let got = within(consumer.receive(NonZeroUsize::MIN)).await.unwrap();
        let message = &got[0].message;
        let mut large = result(&message.headers.id, ResultState::Success, 1);
        large.value = Some(text(200_000));
        large.trail.reply_to = message.reply_to.clone();
        let settle = |result| Settlement {
            tag: got[0].tag,
            verdict: Verdict::Ack,
            result,
            follow_ups: Vec::new(),
        };
        is_refused(
            within(consumer.settle(vec![settle(Some(large))]))
                .await
                .unwrap_err(),
        );
        let settled = within(consumer.settle(vec![settle(None)])).await.unwrap();
        assert_eq!(settled, [Settled::Done]);
        limit("134217728");
    });
}
