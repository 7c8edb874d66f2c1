//! Stored headers and bodies, and the messages they make.

use celeriac_core::{ContentType, Headers, Message, Payload};

/// Appends the headers as they are stored: JSON under Celery's names.
pub(crate) fn encode_into(headers: &Headers, out: &mut Vec<u8>) {
    serde_json::to_writer(out, headers)
        .expect("headers have text keys only, so they have a form in JSON");
}

/// The message these bytes make, or why they make none.
pub(crate) fn decode(
    headers: &[u8],
    content_type: &str,
    body: Vec<u8>,
    priority: u8,
) -> Result<Message, String> {
    let headers = serde_json::from_slice(headers).map_err(|error| format!("headers: {error}"))?;
    let content_type = ContentType::from_mime(content_type).ok_or_else(|| {
        format!(
            "content type `{}` is not known",
            content_type.escape_debug()
        )
    })?;
    Ok(Message {
        headers,
        priority,
        reply_to: None,
        correlation_id: None,
        exchange: None,
        body: Payload {
            content_type,
            bytes: body.into(),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Headers, String> {
        let message = decode(text.as_bytes(), "application/json", Vec::new(), 3)?;
        Ok(message.headers)
    }

    #[test]
    fn headers_are_read_alike_whether_all_are_known_or_not() {
        let known = r#""lang":"py","task":"add","id":"x","eta":"2026-01-02T03:04:05Z","expires":null,
            "group":"g","retries":2,"timelimit":[null,1.5],"root_id":"r","parent_id":null,
            "origin":"me","ignore_result":true"#;
        let all_known = read(&format!("{{{known}}}")).unwrap();
        let mut with_more = read(&format!(r#"{{{known},"stamps":{{"a":[1]}}}}"#)).unwrap();
        assert_eq!(with_more.extra["stamps"]["a"][0], 1);
        with_more.extra.clear();
        assert_eq!(all_known, with_more);

        let mut again = Vec::new();
        encode_into(&all_known, &mut again);
        assert_eq!(read(&String::from_utf8(again).unwrap()).unwrap(), all_known);
    }

    #[test]
    fn headers_without_a_task_are_refused_with_the_reason() {
        let reason = read(r#"{"id":"x"}"#).unwrap_err();
        assert!(reason.contains("missing field `task`"), "{reason}");
    }
}
