//! What became of one execution of a task.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::BoxError;
use crate::canvas::Replacement;
use crate::context::{Interrupt, Interrupted};

/// The value a task returned, or why there is none.
///
/// An executor always ends in an outcome: a panic, a time-out and a lost child are outcomes too.
pub type Outcome<V> = Result<V, TaskError>;

/// Why a task has no value.
///
/// It crosses processes and machines, so it holds text: the error's type, its message and the
/// messages of its sources.
///
/// ```
/// # use celeriac_core::{ErrorKind, TaskError};
/// let error = TaskError::failed("shop::ChargeError", "card refused");
/// assert_eq!(error.kind(), ErrorKind::Failed);
/// assert_eq!(error.to_string(), "card refused");
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TaskError(
    // Boxed, so that the outcomes of small values stay small.
    Box<Particulars>,
);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Particulars {
    kind: ErrorKind,
    #[serde(default)]
    type_name: Cow<'static, str>,
    message: Cow<'static, str>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    #[serde(default, skip_serializing_if = "RetryAdvice::is_default")]
    advice: RetryAdvice,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    raised: Option<Raised>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    replacement: Option<Box<Replacement>>,
}

/// What another language says of an error beyond its type and message.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Raised {
    /// Where the type is defined, such as `builtins`.
    pub module: Option<String>,
    /// What it was made with: usually the message, often more.
    pub arguments: Vec<serde_json::Value>,
    /// The stack it was raised from, for people.
    pub traceback: Option<String>,
}

/// The sort of a [`TaskError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The task returned an error.
    Failed,
    /// The task panicked.
    Panicked,
    /// The hard time limit ended it.
    TimeLimit,
    /// It was cancelled (revoked), before or while it ran.
    Cancelled,
    /// It was not started before it expired.
    Expired,
    /// What ran it died: a signal, an exit, memory. The message names the cause.
    Lost,
    /// The arguments do not fit the task's parameters.
    BadArguments,
    /// The result cannot be encoded, or is too large.
    BadResult,
    /// No such task is registered where it should have run.
    Unregistered,
    /// The worker or pool was shut down before it could run or finish.
    Shutdown,
    /// It was delivered too often without ever being finished.
    DeliveryLimit,
    /// The result is gone: it expired, or was never kept.
    NoResult,
    /// The broker or result backend could not be reached.
    Unavailable,
    /// The task was replaced by other calls. Seen only where nobody carries these out.
    Replaced,
}

impl ErrorKind {
    /// A fixed word for logs and machines, such as `time_limit`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Panicked => "panicked",
            Self::TimeLimit => "time_limit",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Lost => "lost",
            Self::BadArguments => "bad_arguments",
            Self::BadResult => "bad_result",
            Self::Unregistered => "unregistered",
            Self::Shutdown => "shutdown",
            Self::DeliveryLimit => "delivery_limit",
            Self::NoResult => "no_result",
            Self::Unavailable => "unavailable",
            Self::Replaced => "replaced",
        }
    }
}

/// What the failed attempt itself says about another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RetryAdvice {
    /// Nothing: the task's policy decides.
    #[default]
    Policy,
    /// Try again after this long, if the policy has retries left.
    After(Duration),
    /// Never try again, whatever the policy.
    Never,
}

impl RetryAdvice {
    fn is_default(&self) -> bool {
        *self == Self::Policy
    }
}

/// An error a task returns to be run again, or to be given up at once.
///
/// It overrides the task's back-off and its choice of errors; the number of retries still holds.
///
/// ```
/// # use celeriac_core::Retry;
/// # use std::time::Duration;
/// fn poll(ready: bool) -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
///     if !ready {
///         return Err(Retry::after(Duration::from_secs(5)).because("not ready yet").into());
///     }
///     Ok(1)
/// }
/// assert!(poll(false).is_err());
/// ```
#[derive(Debug)]
pub struct Retry {
    advice: RetryAdvice,
    reason: Option<BoxError>,
}

impl Retry {
    /// Asks for another attempt after `delay`.
    pub fn after(delay: Duration) -> Self {
        Self {
            advice: RetryAdvice::After(delay),
            reason: None,
        }
    }

    /// Asks never to be attempted again.
    pub fn never() -> Self {
        Self {
            advice: RetryAdvice::Never,
            reason: None,
        }
    }

    /// Adds the reason, which becomes the error's message and cause.
    #[must_use]
    pub fn because(mut self, reason: impl Into<BoxError>) -> Self {
        self.reason = Some(reason.into());
        self
    }
}

impl fmt::Display for Retry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.reason, self.advice) {
            (Some(reason), _) => reason.fmt(formatter),
            (None, RetryAdvice::Never) => formatter.write_str("gave up"),
            (None, _) => formatter.write_str("asked to be run again"),
        }
    }
}

impl std::error::Error for Retry {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.reason.as_deref().and_then(std::error::Error::source)
    }
}

impl TaskError {
    /// An error of `kind` with a message.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Particulars {
            kind,
            type_name: Cow::Borrowed(""),
            message: message.into(),
            causes: Vec::new(),
            advice: RetryAdvice::Policy,
            raised: None,
            replacement: None,
        }))
    }

    /// The task returned an error of the type `type_name`.
    pub fn failed(type_name: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::Failed, message.into());
        error.0.type_name = type_name.into();
        error
    }

    /// Another language raised an exception, or stored one in the place of a task.
    pub fn raised(
        kind: ErrorKind,
        type_name: impl Into<Cow<'static, str>>,
        message: impl Into<Cow<'static, str>>,
        raised: Raised,
    ) -> Self {
        let mut error = Self::new(kind, message);
        error.0.type_name = type_name.into();
        error.0.raised = Some(raised);
        error
    }

    /// Names the type of the error.
    #[must_use]
    pub fn with_type_name(mut self, type_name: impl Into<Cow<'static, str>>) -> Self {
        self.0.type_name = type_name.into();
        self
    }

    /// Adds the messages of the error's sources, nearest first.
    #[must_use]
    pub fn with_causes(mut self, causes: Vec<String>) -> Self {
        self.0.causes = causes;
        self
    }

    /// Takes the text of an error a task returned, and of its sources.
    ///
    /// A [`Retry`] gives its advice, an [`Interrupted`] its kind, and a `TaskError` is kept as it is.
    pub fn from_error<E: Into<BoxError>>(error: E) -> Self {
        let error: BoxError = match error.into().downcast::<Self>() {
            Ok(own) => return *own,
            Err(other) => other,
        };
        let mut own = Self::failed(short_type_name::<E>(), error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            own.0.causes.push(cause.to_string());
            source = cause.source();
        }
        if let Some(retry) = error.downcast_ref::<Retry>() {
            own.0.advice = retry.advice;
        }
        if let Some(interrupted) = error.downcast_ref::<Interrupted>() {
            own.0.kind = interrupted.kind();
        }
        own
    }

    /// Takes the message of a caught panic.
    pub fn from_panic(panic: &(dyn std::any::Any + Send)) -> Self {
        let message = panic
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "a panic whose payload is no text".to_owned());
        Self::new(ErrorKind::Panicked, message)
    }

    /// What ran the task died; `cause` says of what.
    pub fn lost(cause: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Lost, cause)
    }

    /// The hard time limit of `limit` ended the task.
    pub fn time_limit(limit: Duration) -> Self {
        let mut error = Self::new(
            ErrorKind::TimeLimit,
            format!("the hard time limit of {limit:?} ended it"),
        );
        error.0.raised = Some(Raised {
            arguments: vec![seconds(limit)],
            ..Raised::default()
        });
        error
    }

    /// It was delivered `deliveries` times, as often as is allowed, and nobody lived to finish it.
    pub fn delivery_limit(deliveries: u32) -> Self {
        let text = format!("it was delivered {deliveries} times without ever being finished");
        Self::new(ErrorKind::DeliveryLimit, text)
    }

    /// The task is to be replaced; what [`Context::replace`](crate::Context::replace) returns.
    pub fn replaced(by: Replacement) -> Self {
        let text = "it was replaced by other calls, which nobody carries out where it was called";
        let mut error = Self::new(ErrorKind::Replaced, text);
        error.0.replacement = Some(Box::new(by));
        error
    }

    /// What the task is to be replaced by, if it is.
    pub fn replacement(&self) -> Option<&Replacement> {
        self.0.replacement.as_deref()
    }

    /// The same error without what would replace the task, for whoever cannot carry that out.
    #[must_use]
    pub fn without_replacement(mut self) -> Self {
        if self.0.replacement.take().is_some() {
            self.0.kind = ErrorKind::Failed;
        }
        self
    }

    /// The task was cancelled.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "it was cancelled")
    }

    /// The pool or worker was shut down before the task could run.
    pub fn shutdown() -> Self {
        Self::new(
            ErrorKind::Shutdown,
            "it was shut down before the task could finish",
        )
    }

    /// The task was stopped from outside, before it started or while it ran.
    pub fn interrupted(interrupt: Interrupt) -> Self {
        match interrupt {
            Interrupt::Cancelled => Self::cancelled(),
            Interrupt::Shutdown => Self::shutdown(),
            Interrupt::SoftTimeLimit => Self::from_error(Interrupted(interrupt)),
        }
    }

    /// Sets what the attempt says about another one.
    #[must_use]
    pub fn with_advice(mut self, advice: RetryAdvice) -> Self {
        self.0.advice = advice;
        self
    }

    /// The sort of failure.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The type of the error the task returned, such as `io::Error`; empty for other kinds.
    pub fn type_name(&self) -> &str {
        &self.0.type_name
    }

    /// The message of the error or panic.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The messages of the error's sources, nearest first.
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }

    /// What another language said of it, if it came from one.
    pub fn as_raised(&self) -> Option<&Raised> {
        self.0.raised.as_ref()
    }

    /// What the attempt said about another one.
    pub fn advice(&self) -> RetryAdvice {
        self.0.advice
    }
}

impl fmt::Display for TaskError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.kind {
            ErrorKind::Panicked => write!(formatter, "panicked: {}", self.0.message),
            _ => formatter.write_str(&self.0.message),
        }
    }
}

impl fmt::Debug for TaskError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl std::error::Error for TaskError {}

/// A whole number of seconds where it is one, as people write limits.
fn seconds(limit: Duration) -> serde_json::Value {
    if limit.subsec_nanos() == 0 {
        limit.as_secs().into()
    } else {
        limit.as_secs_f64().into()
    }
}

/// The last segment of each path in the type's name: `alloc::string::String` becomes `String`.
fn short_type_name<E>() -> &'static str {
    let full = std::any::type_name::<E>();
    let head = full.split('<').next().unwrap_or(full);
    if head.len() < full.len() {
        // Generic: keep it whole rather than cut a name in two.
        return full;
    }
    full.rsplit("::").next().unwrap_or(full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot charge")]
    struct ChargeError(#[source] io::Error);

    #[test]
    fn an_error_keeps_its_type_message_and_causes() {
        let error = TaskError::from_error(ChargeError(io::Error::other("card refused")));
        assert_eq!(error.type_name(), "ChargeError");
        assert_eq!(error.message(), "cannot charge");
        assert_eq!(error.causes(), ["card refused"]);
    }

    #[test]
    fn a_task_error_passes_through_unchanged() {
        let error = TaskError::lost("signal 9");
        assert_eq!(TaskError::from_error(error.clone()), error);
    }

    #[test]
    fn a_retry_gives_its_advice() {
        let error = TaskError::from_error(Retry::after(Duration::from_secs(2)).because("busy"));
        assert_eq!(error.advice(), RetryAdvice::After(Duration::from_secs(2)));
        assert_eq!(error.message(), "busy");
    }

    #[test]
    fn an_error_survives_both_content_types() {
        let error = TaskError::from_error(ChargeError(io::Error::other("x")))
            .with_advice(RetryAdvice::Never);
        for content_type in [crate::ContentType::Json, crate::ContentType::Msgpack] {
            let payload = crate::Payload::encode(content_type, &error).unwrap();
            assert_eq!(payload.decode::<TaskError>().unwrap(), error);
        }
    }
}
