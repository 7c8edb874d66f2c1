//! A URL picks the driver.

use celeriac_core::{BrokerError, BrokerUrl, Place};
use celeriac_drivers::{DriverOptions, open};

fn url(text: &str) -> BrokerUrl {
    match text.parse().unwrap() {
        Place::Broker(url) => url,
        place => panic!("{place} is no broker"),
    }
}

#[tokio::test]
async fn a_broker_this_build_does_not_speak_is_named_as_such() {
    let refused = open(
        &url("postgres://user:secret@host/0"),
        &DriverOptions::default(),
    )
    .await;
    let error = refused.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("its driver is not part of this build"),
        "{text}"
    );
    assert!(!text.contains("secret"), "{text}");
    assert!(error.help().unwrap().contains("sqlite:PATH"));
}

#[tokio::test]
async fn a_memory_broker_is_shared_by_its_name_only() {
    let options = DriverOptions::default();
    let one = open(&url("memory:one"), &options).await.unwrap();
    let same = open(&url("memory:one"), &options).await.unwrap();
    let other = open(&url("memory:other"), &options).await.unwrap();
    let jobs = celeriac_testkit::queue("jobs");
    let sent = vec![(jobs.into(), celeriac_testkit::call("t", 1))];
    one.publish(sent).await.unwrap();
    assert_eq!(same.queues().await.unwrap()[0].ready, 1);
    assert!(other.queues().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_sqlite_broker_is_opened_by_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a b.db");
    let place = url(&format!("sqlite:{}", path.display()));
    let missing = DriverOptions {
        create: false,
        ..DriverOptions::default()
    };
    let refused = open(&place, &missing).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Unusable { .. }));
    assert!(!path.exists());
    drop(open(&place, &DriverOptions::default()).await.unwrap());
    open(&place, &missing).await.unwrap();
}
