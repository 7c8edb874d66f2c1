//! Stored headers and bodies, and the messages they make.

use celeriac_core::{BrokerError, ContentType, Headers, Message, Payload};

/// Refuses a message whose body is over `limit_bytes`.
pub(crate) fn check_size(message: &Message, limit_bytes: usize) -> Result<(), BrokerError> {
    message
        .body
        .check_size(limit_bytes)
        .map_err(|_| BrokerError::TooLarge {
            task: message.headers.task.clone(),
            size_bytes: message.body.bytes.len(),
            limit_bytes,
        })
}

/// The headers as they are stored: JSON under Celery's names.
pub(crate) fn encode(headers: &Headers) -> Vec<u8> {
    serde_json::to_vec(headers).expect("headers have text keys only, so they have a form in JSON")
}

/// The message these bytes make, or why they make none.
pub(crate) fn decode(
    headers: &[u8],
    content_type: &str,
    body: Vec<u8>,
    priority: u8,
) -> Result<Message, String> {
    let headers: Headers =
        serde_json::from_slice(headers).map_err(|error| format!("headers: {error}"))?;
    let content_type = ContentType::from_mime(content_type).ok_or_else(|| {
        format!(
            "content type `{}` is not known",
            content_type.escape_debug()
        )
    })?;
    Ok(Message {
        headers,
        priority,
        body: Payload {
            content_type,
            bytes: body.into(),
        },
    })
}

/// What waiters are told of a message that died of its deliveries.
pub(crate) fn delivery_limit_text(deliveries: u32) -> String {
    format!("it was delivered {deliveries} times without ever being finished")
}
