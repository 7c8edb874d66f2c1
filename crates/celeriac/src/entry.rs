//! How a program's `main` is run and ended.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use celeriac_core::BoxError;
use tokio::runtime::{Builder, Runtime};

use crate::report::{Exit, exit};

/// The sort of runtime for an `async fn main`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    /// Everything on the thread of `main`.
    CurrentThread,
    /// This many worker threads, or one per core.
    MultiThread(Option<usize>),
}

/// The runtime could not be started.
#[derive(Debug, thiserror::Error)]
#[error("cannot start the runtime of `async fn main`")]
pub struct NoRuntime(#[source] io::Error);

/// Runs `main` to its end on a new runtime.
///
/// # Errors
///
/// `NoRuntime` if the system refuses what a runtime needs.
pub fn block_on<F: Future>(flavor: Flavor, main: F) -> Result<F::Output, NoRuntime> {
    Ok(runtime(flavor).map_err(NoRuntime)?.block_on(main))
}

fn runtime(flavor: Flavor) -> io::Result<Runtime> {
    let mut builder = match flavor {
        Flavor::CurrentThread => Builder::new_current_thread(),
        Flavor::MultiThread(_) => Builder::new_multi_thread(),
    };
    if let Flavor::MultiThread(Some(threads)) = flavor {
        builder.worker_threads(threads);
    }
    builder.enable_all().build()
}

/// Two ways to a boxed error, tried in this order where the type that `main` returns is known.
///
/// No one bound takes both `Box<dyn Error>` and `Box<dyn Error + Send + Sync>`.
pub mod kind {
    use super::{BoxError, Error, Exit, ExitCode, exit};

    /// A result whose error converts into one that can be sent.
    #[derive(Debug)]
    pub struct Sendable;

    /// Anything else.
    #[derive(Debug)]
    pub struct Other;

    /// Chosen first, because it needs no reference more.
    pub trait IsSendable {
        /// The tag that says so.
        fn __exit_kind(&self) -> Sendable {
            Sendable
        }
    }

    impl<V, E: Into<BoxError>> IsSendable for Result<V, E> {}

    /// Chosen if the first does not fit.
    pub trait IsOther {
        /// The tag that says so.
        fn __exit_kind(&self) -> Other {
            Other
        }
    }

    impl<R> IsOther for &R {}

    impl Sendable {
        /// Ends `main` with what it returned.
        pub fn exit<V: Exit, E: Into<BoxError>>(self, returned: Result<V, E>) -> ExitCode {
            exit(returned.map_err(|error| -> Box<dyn Error> { error.into() }))
        }
    }

    impl Other {
        /// Ends `main` with what it returned.
        pub fn exit(self, returned: impl Exit) -> ExitCode {
            exit(returned)
        }
    }
}
