//! What the fork server is asked to import: the command line of a worker, as `spec/child.md` has it.

use serde::Serialize;
use serde_json::{Map, Value};

/// What the command line says. What it does not say is `None` or empty, and the app's settings decide.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ImportRequest {
    /// The version of the contract.
    pub version: u32,
    /// The app, as `-A` names it.
    pub app: String,
    /// Where to work.
    pub workdir: Option<String>,
    /// The name of the worker: `celery@host`.
    pub node: String,
    /// The words of the command line.
    pub argv: Vec<String>,
    /// The pool by Celery's name: `prefork`.
    pub pool: Option<String>,
    /// How many calls run at once.
    pub concurrency: Option<usize>,
    /// The least that is logged: `INFO`.
    pub loglevel: Option<String>,
    /// Where logs go, before its parts are filled in.
    pub logfile: Option<String>,
    /// `json` if each line of logs shall be a JSON object.
    pub log_format: Option<&'static str>,
    /// The broker.
    pub broker: Option<String>,
    /// The result backend.
    pub result_backend: Option<String>,
    /// The class that loads the app's settings.
    pub loader: Option<String>,
    /// The module of the app's settings.
    pub config: Option<String>,
    /// Whether the checks of a Django project are left out.
    pub skip_checks: bool,
    /// Further modules to import.
    pub include: Vec<String>,
    /// The queues to take from, if they are named.
    pub queues: Option<Vec<String>>,
    /// Queues not to take from.
    pub exclude_queues: Vec<String>,
    /// The pattern of the worker's name, as it was given.
    pub hostname: Option<String>,
    /// Whether lines of logs have colours; by the terminal if it is not said.
    pub colour: Option<bool>,
    /// Settings of the app for this worker, `KEY=VALUE` as Celery takes them from its command line.
    pub settings: Vec<String>,
    /// What Celery's worker would pass to handlers of `celeryd_init` and `celeryd_after_setup`.
    pub options: Map<String, Value>,
}
