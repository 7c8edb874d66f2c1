//! Why a value does not fit a type, and where.

use std::fmt;

use serde::de::{Expected, Unexpected};

/// A tree that does not fit a type.
///
/// It says where, what was expected and what sort of value was there, and never the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ReadError {
    path: Vec<Step>,
    problem: String,
}

/// One step from a value into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Item(usize),
    Field(&'static str),
}

impl ReadError {
    /// The same problem, one step further out.
    pub(super) fn within(mut self, step: Step) -> Self {
        self.path.push(step);
        self
    }

    /// The first step of the way to what does not fit, if that is an item of a list, and the rest.
    pub(crate) fn split_item(mut self) -> (Option<usize>, Self) {
        match self.path.last() {
            Some(Step::Item(index)) => {
                let index = *index;
                self.path.pop();
                (Some(index), self)
            }
            _ => (None, self),
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.path.iter().rev() {
            match step {
                Step::Item(index) => write!(formatter, "[{index}]")?,
                Step::Field(name) => write!(formatter, ".{name}")?,
            }
        }
        let separator = if self.path.is_empty() { "" } else { ": " };
        write!(formatter, "{separator}{}", self.problem)
    }
}

impl serde::de::Error for ReadError {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self {
            path: Vec::new(),
            problem: problem.to_string(),
        }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("expected {expected}, found {}", sort(found)))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!(
            "expected {expected}, found another value of {}",
            sort(found)
        ))
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("expected one of {}", expected.join(", ")))
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!(
            "there is a field other than {}",
            expected.join(", ")
        ))
    }
}

/// What was found, without its value.
fn sort(found: Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) => "an integer",
        Unexpected::Float(_) => "a float",
        Unexpected::Char(_) | Unexpected::Str(_) => "a text",
        Unexpected::Bytes(_) => "bytes",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a map",
        _ => "something else",
    }
}
