//! One program about sharing, compiled for threads, for processes and for machines.

use celeriac::sync::SyncError;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Compiles a program in three modules, `threads`, `processes` and `machines`.
///
/// In each of them `scope` is the module of [`celeriac::sync`] for those who share. A program of yours is
/// written for one scope, and says which in its imports: `use celeriac::sync::process::{Lock, Value}`.
///
/// A `task fn` is a `#[celeriac::task] fn`, whose arguments may be handles of threads too.
#[macro_export]
macro_rules! each_scope {
    ($($program:tt)*) => {
        mod threads {
            use super::*;
            use celeriac::sync::thread as scope;
            $crate::program! { local $($program)* }
        }
        mod processes {
            use super::*;
            use celeriac::sync::process as scope;
            $crate::program! { sent $($program)* }
        }
        mod machines {
            use super::*;
            use celeriac::sync::cluster as scope;
            $crate::program! { sent $($program)* }
        }
    };
}

/// Writes the items of a program, of which a `task fn` is made a task.
#[doc(hidden)]
#[macro_export]
macro_rules! program {
    ($way:ident) => {};
    (
        $way:ident
        $(#[$meta:meta])*
        task fn $name:ident($($arg:ident: $kind:ty),* $(,)?) -> $gives:ty $body:block
        $($rest:tt)*
    ) => {
        $crate::task! { $way $(#[$meta])* $name($($arg: $kind),*) -> $gives $body }
        $crate::program! { $way $($rest)* }
    };
    ($way:ident $item:item $($rest:tt)*) => {
        $item
        $crate::program! { $way $($rest)* }
    };
}

/// Writes a task.
#[doc(hidden)]
#[macro_export]
macro_rules! task {
    (
        sent $(#[$meta:meta])*
        $name:ident($($arg:ident: $kind:ty),*) -> $gives:ty $body:block
    ) => {
        #[celeriac::task]
        $(#[$meta])*
        fn $name($($arg: $kind),*) -> $gives $body
    };
    (
        local $(#[$meta:meta])*
        $name:ident($($arg:ident: $kind:ty),*) -> $gives:ty $body:block
    ) => {
        $(#[$meta])*
        fn $name($($arg: $kind),*) -> $gives $body

        mod $name {
            use super::*;

            #[celeriac::task]
            pub(super) fn run($($arg: $crate::Here<$kind>),*) -> $gives {
                super::$name($($arg.0),*)
            }

            pub(super) fn call($($arg: $kind),*) -> celeriac::Signature<run> {
                run::call($($crate::Here($arg)),*)
            }
        }
    };
}

/// An argument that stays in this process: a pool of threads takes it as it is.
#[doc(hidden)]
#[derive(Debug)]
pub struct Here<T>(pub T);

const STAYS: &str = "it is shared by the threads of one process, and cannot be sent to another";

impl<T> Serialize for Here<T> {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(S::Error::custom(STAYS))
    }
}

impl<'de, T> Deserialize<'de> for Here<T> {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom(STAYS))
    }
}

/// A call that fails in no scope but that of machines: it gives nothing, or whether it was done.
pub trait Done {
    /// Whether it was done.
    ///
    /// # Errors
    ///
    /// Between machines [`Unreachable`](SyncError::Unreachable).
    fn done(self) -> Result<(), SyncError>;
}

impl Done for () {
    fn done(self) -> Result<(), SyncError> {
        Ok(())
    }
}

impl Done for Result<(), SyncError> {
    fn done(self) -> Result<(), SyncError> {
        self
    }
}
