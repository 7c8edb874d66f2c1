//! What a worker answers.

use serde_json::{Map, Value, json};

use super::ControlError;

/// The answer of one worker.
///
/// ```
/// use celeriac_wire::control::Reply;
///
/// let reply = Reply { node: "celery@box".to_owned(), value: serde_json::json!({"ok": "pong"}) };
/// assert_eq!(reply.encode(), br#"{"celery@box":{"ok":"pong"}}"#);
/// assert_eq!(Reply::decode(&reply.encode())?, [reply]);
/// # Ok::<(), celeriac_wire::control::ControlError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// Who answers.
    pub node: String,
    /// What the command returned.
    pub value: Value,
}

impl Reply {
    /// The body of the message.
    pub fn encode(&self) -> Vec<u8> {
        json!({&*self.node: self.value}).to_string().into_bytes()
    }

    /// The headers of the message: what the asker knows it by, and the clock of the worker.
    pub fn headers(ticket: Option<&str>, clock: u64) -> Map<String, Value> {
        Map::from_iter([
            ("ticket".to_owned(), json!(ticket)),
            ("clock".to_owned(), json!(clock)),
        ])
    }

    /// Reads a body: one answer, unless somebody gathered several.
    ///
    /// # Errors
    ///
    /// [`ControlError`].
    pub fn decode(body: &[u8]) -> Result<Vec<Self>, ControlError> {
        let answers: Map<String, Value> =
            serde_json::from_slice(body).map_err(|_| ControlError::Shape("answer"))?;
        let answers = answers.into_iter();
        Ok(answers.map(|(node, value)| Self { node, value }).collect())
    }
}
