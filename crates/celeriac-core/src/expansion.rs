//! What the expansion of `#[task]` names. No part of the interface.

use crate::BoxError;
use crate::outcome::{Outcome, RetryAdvice, TaskError};

/// A `Result`, whatever alias it was written by.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is named `Result` but is not `std::result::Result`",
    note = "a task whose return type is named `Result` gives the value of its `Ok`; give another \
            type another name"
)]
pub trait Returned {
    /// The type of its `Ok`.
    type Value;
}

impl<V, E> Returned for Result<V, E> {
    type Value = V;
}

/// The outcome of a task that returned `returned`.
///
/// # Errors
///
/// The task's own error, as text.
pub fn outcome<V, E: Into<BoxError>>(returned: Result<V, E>) -> Outcome<V> {
    returned.map_err(TaskError::from_error)
}

/// The outcome of a task that returned `returned` and is retried only on some errors.
///
/// # Errors
///
/// The task's own error, as text; final if `retry_if` says no to it.
pub fn outcome_retried_if<V, E: Into<BoxError>>(
    returned: Result<V, E>,
    retry_if: impl FnOnce(&E) -> bool,
) -> Outcome<V> {
    returned.map_err(|error| {
        if retry_if(&error) {
            TaskError::from_error(error)
        } else {
            TaskError::from_error(error).with_advice(RetryAdvice::Never)
        }
    })
}

/// How many bytes `path` has once each `::` is a dot.
pub const fn dotted_len(path: &str) -> usize {
    let path = path.as_bytes();
    let (mut from, mut len) = (0, 0);
    while from < path.len() {
        from += separator_or_byte(path, from);
        len += 1;
    }
    len
}

/// The bytes of `path` with a dot for each `::`; `N` is its [`dotted_len`].
pub const fn dotted<const N: usize>(path: &str) -> [u8; N] {
    let path = path.as_bytes();
    let mut dotted = [b'.'; N];
    let (mut from, mut to) = (0, 0);
    while from < path.len() {
        let step = separator_or_byte(path, from);
        if step == 1 {
            dotted[to] = path[from];
        }
        from += step;
        to += 1;
    }
    dotted
}

const fn separator_or_byte(path: &[u8], at: usize) -> usize {
    if path[at] == b':' && at + 1 < path.len() && path[at + 1] == b':' {
        2
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_dotted_name() {
        const PATH: &str = "shop::größe::charge";
        const NAME: [u8; dotted_len(PATH)] = dotted(PATH);
        assert_eq!(std::str::from_utf8(&NAME), Ok("shop.größe.charge"));
    }

    #[test]
    fn a_refused_error_is_final() {
        let refused = outcome_retried_if::<(), _>(Err("x"), |_| false).unwrap_err();
        assert_eq!(refused.advice(), RetryAdvice::Never);
        let taken = outcome_retried_if::<(), _>(Err("x"), |_| true).unwrap_err();
        assert_eq!(taken.advice(), RetryAdvice::Policy);
    }
}
