//! Commands that somebody else carries out.

use std::fmt;

use celeriac_core::BoxFuture;
use serde_json::{Map, Value};

/// Carries out commands of remote control that the worker does not know, such as those of a Celery app's
/// own.
pub trait ForeignCommands: fmt::Debug + Send + Sync {
    /// Carries out a command and gives its reply, or an exception as Python shows it.
    ///
    /// # Errors
    ///
    /// What is told to whoever asked, as the command's error: `KeyError('no_such_command')`.
    ///
    /// # Cancel safety
    ///
    /// The command goes on, and nobody hears how it ended.
    fn run(
        &self,
        name: String,
        arguments: Map<String, Value>,
    ) -> BoxFuture<'_, Result<Value, String>>;
}
