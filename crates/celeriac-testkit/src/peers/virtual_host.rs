//! A part of RabbitMQ for one test.

use std::process::Command;

use super::{amqp_url, unique, variable};

/// The variable that tells the `rabbitmqctl` of the shared server.
const SHARED: &str = "CELERIAC_TEST_RABBITMQCTL";

/// A virtual host of the shared RabbitMQ, deleted with all it holds when this is dropped.
///
/// Two virtual hosts have nothing in common, not even exchanges such as `celery.pidbox`.
#[derive(Debug)]
pub struct VirtualHost {
    name: String,
}

impl VirtualHost {
    /// Makes one, in about a second.
    ///
    /// # Panics
    ///
    /// If the test was started without a RabbitMQ, or that refuses.
    pub fn create() -> Self {
        let host = Self {
            name: unique("test"),
        };
        host.make("guest");
        host
    }

    /// Makes it, once more if it was deleted, and lets `user` do all in it.
    ///
    /// # Panics
    ///
    /// If RabbitMQ refuses.
    pub fn make(&self, user: &str) {
        rabbitmqctl(&["add_vhost", &self.name]);
        rabbitmqctl(&["set_permissions", "-p", &self.name, user, ".*", ".*", ".*"]);
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of RabbitMQ in this virtual host.
    ///
    /// # Panics
    ///
    /// If the test was started without it.
    pub fn url(&self) -> String {
        let server = amqp_url();
        // The shared one ends in `//`: a separator, and `/` as the name.
        format!(
            "{}{}",
            server.trim_end_matches('/'),
            format_args!("/{}", self.name)
        )
    }
}

impl Drop for VirtualHost {
    fn drop(&mut self) {
        // What is left of it ends with the server. A panic here could end the whole process.
        let _ = run(SHARED, &["delete_vhost", &self.name]);
    }
}

/// Has `rabbitmqctl` do something to the shared RabbitMQ, which tests may do to what is theirs alone.
///
/// # Panics
///
/// If it fails.
pub fn rabbitmqctl(arguments: &[&str]) {
    control(SHARED, arguments);
}

pub(super) fn control(program: &str, arguments: &[&str]) {
    if let Err(printed) = run(program, arguments) {
        panic!("rabbitmqctl {} failed:\n{printed}", arguments.join(" "));
    }
}

/// Runs the program that a variable names.
fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(variable(program))
        .args(arguments)
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}
