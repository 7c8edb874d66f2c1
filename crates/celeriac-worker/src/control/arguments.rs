//! The arguments of a command, and what is said of them if they do not fit.

use celeriac_wire::repr;
use serde_json::{Map, Value, json};

/// The arguments of one command.
#[derive(Debug)]
pub(super) struct Arguments {
    command: String,
    given: Map<String, Value>,
}

/// Why a command is not carried out: its answer.
#[derive(Debug, PartialEq)]
pub(super) struct Refusal(pub(super) Value);

impl Refusal {
    /// In these words.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(json!({"error": text.into()}))
    }

    /// As an exception of Python's.
    pub(super) fn exception(class: &str, message: &str) -> Self {
        Self::new(format!("{class}({})", repr::value(&message.into())))
    }
}

/// That it was done, in these words.
pub(super) fn ok(text: impl Into<String>) -> Value {
    json!({"ok": text.into()})
}

impl Arguments {
    pub(super) fn new(command: &str, given: Map<String, Value>) -> Self {
        Self {
            command: command.to_owned(),
            given,
        }
    }

    /// What was given, unless it is null.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.given.get(name).filter(|value| !value.is_null())
    }

    /// What has to be given.
    pub(super) fn need(&self, name: &str) -> Result<&Value, Refusal> {
        self.given.get(name).ok_or_else(|| {
            let command = &self.command;
            let text = format!("{command}() missing 1 required positional argument: '{name}'");
            Refusal::exception("TypeError", &text)
        })
    }

    fn unfit(&self, name: &str, wanted: &str) -> Refusal {
        let text = format!("{}(): '{name}' must be {wanted}", self.command);
        Refusal::exception("TypeError", &text)
    }

    pub(super) fn text(&self, name: &str) -> Result<&str, Refusal> {
        let value = self.need(name)?;
        value.as_str().ok_or_else(|| self.unfit(name, "a text"))
    }

    /// One text or several.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>, Refusal> {
        let texts = match self.need(name)? {
            Value::Array(items) => items.iter().map(text_of).collect(),
            single => text_of(single).map(|text| vec![text]),
        };
        texts.ok_or_else(|| self.unfit(name, "a text or a list of texts"))
    }

    pub(super) fn flag(&self, name: &str) -> bool {
        match self.get(name) {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::Number(number)) => number.as_f64() != Some(0.0),
            Some(Value::String(text)) => !text.is_empty(),
            _ => false,
        }
    }

    /// A count, which may be written as a text; `default` if none is given.
    pub(super) fn count(&self, name: &str, default: usize) -> Result<usize, Refusal> {
        let Some(value) = self.get(name) else {
            return Ok(default);
        };
        let number = match value {
            Value::String(text) => text.trim().parse().ok(),
            value => value.as_u64().and_then(|it| usize::try_from(it).ok()),
        };
        number.ok_or_else(|| self.unfit(name, "a whole number"))
    }

    /// What was given, for somebody else.
    pub(super) fn into_given(self) -> Map<String, Value> {
        self.given
    }
}

/// An id as it is sent; some producers send numbers.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
