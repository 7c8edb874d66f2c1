//! A RabbitMQ for what would disturb those who share one.

use std::fs::File;

use rustix::fs::{FlockOperation, flock};

use super::variable;
use super::virtual_host::control;

/// The variable that tells its `rabbitmqctl`.
const CONTROL: &str = "CELERIAC_TEST_RABBITMQCTL_SPARE";

/// A RabbitMQ that a test may bring to a halt; others wait until this is dropped.
#[derive(Debug)]
pub struct SpareRabbitMq {
    _lock: File,
}

impl SpareRabbitMq {
    /// Waits until no other test has it.
    ///
    /// # Panics
    ///
    /// If the test was started without it.
    pub fn take() -> Self {
        let lock = File::create(format!("{}.lock", variable(CONTROL)));
        let lock = lock.expect("its folder is the tests'");
        flock(&lock, FlockOperation::LockExclusive).expect("files can be locked");
        Self { _lock: lock }
    }

    /// Its URL; its virtual host is `/`.
    ///
    /// # Panics
    ///
    /// If the test was started without it.
    pub fn url(&self) -> String {
        variable("CELERIAC_TEST_AMQP_SPARE")
    }

    /// Has `rabbitmqctl` do something to it.
    ///
    /// # Panics
    ///
    /// If that fails.
    pub fn control(&self, arguments: &[&str]) {
        control(CONTROL, arguments);
    }
}
