//! The broker of an app, waited for as its settings say.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Broker, BrokerError};
use celeriac_drivers::DriverOptions;
use celeriac_python::AppReport;
use serde_json::Value;

use super::failure::Failure;
use super::settings::Plan;
use super::url::Stores;

/// How often a connection is tried again at start, if the app does not say.
const MOST_TRIES: u64 = 100;

/// Connects, and tries again as the app's settings say while the server is away, which it tells.
pub(super) async fn connect(
    stores: &Stores,
    plan: &Plan,
    report: &AppReport,
    shown: &str,
    mut tell: impl FnMut(&str),
) -> Result<Arc<dyn Broker>, Failure> {
    let options = DriverOptions {
        topology: plan.topology.clone(),
        ..DriverOptions::default()
    };
    let setting = |name| report.setting(name).and_then(Value::as_bool);
    let retry = setting("broker_connection_retry_on_startup");
    let retry = retry.or(setting("broker_connection_retry")) != Some(false);
    let most = report.setting("broker_connection_max_retries");
    let most = most.and_then(Value::as_u64).unwrap_or(MOST_TRIES);
    let mut tries = 0;
    loop {
        let (url, results) = (&stores.broker, stores.results.as_ref());
        let error = match celeriac_drivers::open_with_results(url, results, &options).await {
            Ok(broker) => return Ok(broker),
            Err(error) => error,
        };
        tries += 1;
        if !retry || !error.is_transient() || (most > 0 && tries > most) {
            return Err(error.into());
        }
        // Celery's waits: two seconds more each time, up to 32.
        let wait = Duration::from_secs((2 * tries).min(32));
        let times = match most {
            0 => tries.to_string(),
            most => format!("{tries}/{most}"),
        };
        tell(&format!(
            "consumer: Cannot connect to {shown}: {}.\nTrying again in {:.2} seconds... ({times})\n",
            chain(&error),
            wait.as_secs_f64()
        ));
        tokio::time::sleep(wait).await;
    }
}

/// An error with its causes in one line.
fn chain(error: &BrokerError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
