//! Sending while the broker is away.

use std::time::Duration;

use celeriac::{App, Error, PublishRetry};
use celeriac_testkit::peers::{Fault, TcpProxy, redis_url, unique};

#[celeriac::task(name = "sending.double")]
fn double(n: u64) -> u64 {
    2 * n
}

/// An app on Redis, and the network before it.
async fn app(builder: celeriac::AppBuilder) -> (App, TcpProxy) {
    let (proxy, through) = TcpProxy::before_url(&redis_url()).await.unwrap();
    let prefix = unique("sending");
    let url = format!("{through}?global_keyprefix={prefix}&result_keyprefix={prefix}");
    (builder.on(url).await.unwrap(), proxy)
}

#[test]
fn a_call_is_sent_again_until_the_policy_is_used_up_and_the_error_says_so() {
    celeriac_testkit::block_on(async {
        let policy = PublishRetry {
            retries: 2,
            step: Duration::from_millis(10),
            ..PublishRetry::DEFAULT
        };
        let (app, proxy) = app(App::builder().publish_retry(policy)).await;
        proxy.strike(Fault::Refuse);
        let error = app.send(double::call(1)).await.unwrap_err();
        assert!(
            matches!(error, Error::Unsent { attempts: 3, .. }),
            "{error:?}"
        );
        assert_eq!(error.to_string(), "it could not be sent in 3 attempts");
        let never = double::call(1).publish_retry(PublishRetry::NEVER);
        let error = app.send(never).await.unwrap_err();
        assert!(matches!(error, Error::Broker(_)), "{error:?}");
        // A canvas follows the same rule.
        let chain = double::call(1).then(double::partial());
        let error = app.send(chain).await.unwrap_err();
        assert!(
            matches!(error, Error::Unsent { attempts: 3, .. }),
            "{error:?}"
        );
    });
}

#[test]
fn a_call_is_sent_as_soon_as_the_broker_is_back() {
    celeriac_testkit::block_on(async {
        let (app, proxy) = app(App::builder()).await;
        proxy.strike(Fault::Refuse);
        let patient = PublishRetry {
            retries: 1000,
            first: Duration::from_millis(20),
            step: Duration::ZERO,
            ..PublishRetry::DEFAULT
        };
        let sending = app.send(double::call(21).publish_retry(patient));
        let healing = async {
            let never = double::call(1).publish_retry(PublishRetry::NEVER);
            app.send(never).await.unwrap_err();
            proxy.heal();
        };
        let (sent, ()) = tokio::join!(sending, healing);
        let worker = app.start_worker("threads=1").await.unwrap();
        assert_eq!(sent.unwrap().get().await, Ok(42));
        worker.stop().await.unwrap();
    });
}
