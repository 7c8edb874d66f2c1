//! Remote control and events of the worker, as flags and settings of the app have them.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{BoxFuture, Topology};
use celeriac_python::{AppReport, PythonPool, ServiceError};
use celeriac_worker::{About, ControlSettings, ForeignCommands, broker_stats};
use serde_json::{Map, Value};

use super::flags::Flags;
use super::url::Stores;

/// The app's own commands, and those that only Celery knows the answer to.
#[derive(Debug)]
struct AppCommands(Arc<PythonPool>);

impl ForeignCommands for AppCommands {
    fn run(
        &self,
        name: String,
        arguments: Map<String, Value>,
    ) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(async move {
            let done = self.0.control(&name, Value::Object(arguments)).await;
            done.map_err(|error| match error {
                ServiceError::Raised(exception) => exception,
                other => other.to_string(),
            })
        })
    }
}

/// What the worker answers and tells.
pub(crate) fn settings(
    flags: &Flags,
    report: &AppReport,
    stores: &Stores,
    topology: Arc<Topology>,
    pool: &Arc<PythonPool>,
) -> ControlSettings {
    let truth = |name| report.setting(name).and_then(Value::as_bool);
    let features = &flags.features;
    let mut about = About::default();
    about.broker = broker_stats(&stores.broker);
    about.topology = topology;
    let mut settings = ControlSettings::default();
    settings.answers = truth("worker_enable_remote_control") != Some(false);
    settings.task_events = flags.pool.task_events || truth("worker_send_task_events") == Some(true);
    let every = features.heartbeat_interval.filter(|every| *every > 0);
    let every = Duration::from_secs(every.unwrap_or(2));
    settings.heartbeat = (!features.without_heartbeat).then_some(every);
    settings.mingle = !features.without_mingle;
    settings.shares_name = features.allow_duplicate_name;
    settings.pool_restarts = truth("worker_pool_restarts") == Some(true);
    settings.about = about;
    settings.foreign = Some(Arc::new(AppCommands(pool.clone())));
    settings
}
