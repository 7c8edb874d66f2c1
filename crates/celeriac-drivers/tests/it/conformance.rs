//! Every driver passes the suite of the ports.

use std::path::PathBuf;
use std::sync::Arc;

use celeriac_core::{BoxFuture, Broker, QueueName};
use celeriac_drivers::DriverOptions;
use celeriac_drivers::memory::MemoryBroker;
use celeriac_testkit::Fixture;

celeriac_testkit::broker_conformance! { mod memory = super::connect_memory }
celeriac_testkit::broker_conformance! { mod redis = crate::redis::connect }
celeriac_testkit::broker_conformance! { mod redis_62 = crate::redis::connect_62 }
celeriac_testkit::broker_conformance! { mod sqlite = super::connect_sqlite }

celeriac_testkit::routing_conformance! { mod redis_routing = crate::redis::connect }

pub(crate) fn options() -> DriverOptions {
    DriverOptions {
        body_limit_bytes: 1 << 20,
        ..DriverOptions::default()
    }
}

struct Memory(Arc<MemoryBroker>);

async fn connect_memory(test: &str) -> Memory {
    Memory(MemoryBroker::named(test, &options()))
}

impl Fixture for Memory {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Broker>> {
        let broker = self.0.clone();
        Box::pin(async move { broker as Arc<dyn Broker> })
    }

    fn insert_raw<'a>(
        &'a self,
        queue: &'a QueueName,
        headers: &'a [u8],
        content_type: &'a str,
        body: &'a [u8],
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.0.insert_raw(queue, headers, content_type, body) })
    }

    fn kill<'a>(&'a self, consumer: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.0.expire(consumer) })
    }
}

struct Sqlite {
    directory: tempfile::TempDir,
}

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.directory.path().join("jobs.db")
    }

    fn connection(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).unwrap()
    }
}

async fn connect_sqlite(_: &str) -> Sqlite {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Sqlite { directory };
    drop(fixture.open().await);
    fixture
}

impl Fixture for Sqlite {
    fn open(&self) -> BoxFuture<'_, Arc<dyn Broker>> {
        Box::pin(async move {
            let store = celeriac_drivers::sqlite::open(&self.path(), &options()).await;
            store.unwrap() as Arc<dyn Broker>
        })
    }

    fn insert_raw<'a>(
        &'a self,
        queue: &'a QueueName,
        headers: &'a [u8],
        content_type: &'a str,
        body: &'a [u8],
    ) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let mut connection = self.connection();
            let transaction = connection.transaction().unwrap();
            let sql = include_str!("sql/raw_message.sql");
            transaction
                .execute_batch(include_str!("sql/next_number.sql"))
                .unwrap();
            transaction
                .execute(include_str!("sql/add_queue.sql"), [queue.as_str()])
                .unwrap();
            transaction
                .execute(sql, (content_type, headers, body))
                .unwrap();
            transaction
                .execute(include_str!("sql/raw_ready.sql"), [queue.as_str()])
                .unwrap();
            transaction.commit().unwrap();
        })
    }

    fn kill<'a>(&'a self, consumer: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let killed = self
                .connection()
                .execute(include_str!("sql/kill_holder.sql"), [consumer])
                .unwrap();
            assert_eq!(killed, 1);
        })
    }
}
