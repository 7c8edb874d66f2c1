//! Runs the tasks of Celery apps in Python child processes, by Celery's own tracer.
//!
//! One Python process, the fork server, imports the app and reports it; it forks children that run
//! tasks, and a service process that does what Celery's main process does. `spec/child.md` is the
//! contract between the two languages.
#![forbid(unsafe_code)]

mod channel;
mod head;
mod import;
mod interpreter;
mod packet;
mod pool;
mod report;
mod server;
mod sources;
mod told;

pub use import::ImportRequest;
pub use interpreter::{Interpreter, NoInterpreter};
pub use pool::{PoolKind, PoolSettings, PythonApp, PythonPool, ServiceError, StartError, Stray};
pub use report::{
    AppName, AppReport, BindingReport, BrokerReport, ExchangeReport, LogReport, QueueReport,
    ResultsReport, TaskReport, Versions,
};
