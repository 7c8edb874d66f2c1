//! Over TLS, to a server whose certificate is trusted and to no other.

use celeriac_core::broker::Subscription;
use celeriac_core::{Broker as _, BrokerError};
use celeriac_drivers::amqp;
use celeriac_testkit::peers::{EncryptedRabbitMq, VirtualHost, certify};
use celeriac_testkit::{call, queue};

use super::fixture::{driver_options, url};

#[test]
fn tls_is_spoken_to_a_server_with_a_certificate_and_to_no_other() {
    let folder = tempfile::tempdir().unwrap();
    certify(folder.path());
    let server = EncryptedRabbitMq::listen(folder.path());
    let host = VirtualHost::create();
    let plain = host.url();
    let (who, vhost) = plain.trim_start_matches("amqp://").split_once('@').unwrap();
    let vhost = vhost.split_once('/').unwrap().1;
    let at = |name: &str, options: &str| {
        url(&format!(
            "amqps://{who}@{name}:{}/{vhost}?{options}",
            server.port()
        ))
    };
    let trusted = format!("ssl_ca_certs={}", folder.path().join("ca.pem").display());
    celeriac_testkit::block_on(async {
        let broker = amqp::open(&at("localhost", &trusted), &driver_options())
            .await
            .unwrap();
        let mut large = call("t", 1);
        large.body.bytes = vec![b' '; 300_000].into();
        let sent = vec![(queue("jobs").into(), large.clone())];
        broker.publish(sent).await.unwrap();
        let subscription = Subscription::new("c", vec![queue("jobs")]);
        let consumer = broker.consume(subscription).await.unwrap();
        let came = consumer.receive(std::num::NonZeroUsize::MIN).await.unwrap();
        assert_eq!(came[0].message.body, large.body);

        let missing = "ssl_ca_certs=/nowhere.pem";
        for (strange, says) in [
            (at("localhost", ""), "UnknownIssuer"),
            (at("127.0.0.1", &trusted), "certificate"),
            (at("localhost", missing), "/nowhere.pem"),
        ] {
            let error = amqp::open(&strange, &driver_options()).await.unwrap_err();
            assert!(
                matches!(&error, BrokerError::Unusable { reason, .. } if reason.contains(says)),
                "{error:?}"
            );
            assert!(error.help().unwrap().contains("ssl_ca_certs"));
        }
    });
}
