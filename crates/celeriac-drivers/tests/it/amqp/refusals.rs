//! What a server refuses is one clear sentence with the remedy.

use celeriac_core::BrokerError;
use celeriac_drivers::amqp;
use celeriac_testkit::peers::amqp_url;
use celeriac_testkit::{Fixture as _, block_on, call, queue, within};
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
        let subscription = celeriac_core::broker::Subscription::new("c", vec![jobs]);
        let consumer = broker.consume(subscription).await.unwrap();
        let got = within(consumer.receive(std::num::NonZeroUsize::MIN)).await;
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
