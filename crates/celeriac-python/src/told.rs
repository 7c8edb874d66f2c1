//! What a process says of a call: results to store, and how it ended.

use std::time::Duration;

use bytes::Bytes;
use celeriac_core::runtime::{Conclusion, EncodedResult, End, Told};
use celeriac_core::{ContentType, Payload};
use serde::Deserialize;
use serde_json::Value;

use crate::packet::{Junk, split_head};

/// How a call ended, by the child that ran it.
#[derive(Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) how: How,
    /// Whether the child exits now.
    pub(crate) recycle: bool,
}

#[derive(Debug, PartialEq)]
pub(crate) enum How {
    /// It came to an end of its own; results and time are still to be filled in.
    Concluded(Conclusion),
    /// The task took its child with it.
    Lost(String),
}

#[derive(Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
enum Said {
    Succeeded {
        runtime: Option<f64>,
        result: Option<String>,
    },
    Failed {
        exception: Option<String>,
        traceback: Option<String>,
    },
    Retried {
        exception: Option<String>,
        traceback: Option<String>,
    },
    Ignored,
    Rejected {
        #[serde(default)]
        requeue: bool,
        exception: Option<String>,
    },
    Lost {
        reason: String,
    },
}

#[derive(Deserialize)]
struct Beside {
    #[serde(default)]
    recycle: bool,
}

impl Ended {
    pub(crate) fn read(payload: &[u8]) -> Result<Self, Junk> {
        let junk = |error| Junk::new(format!("a conclusion does not decode: {error}"));
        let said: Said = serde_json::from_slice(payload).map_err(junk)?;
        // Few conclusions say it, and most are short, so it is cheaper to look first.
        let recycle = contains(payload, b"recycle")
            && serde_json::from_slice::<Beside>(payload)
                .map_err(junk)?
                .recycle;
        Ok(Self {
            how: said.into(),
            recycle,
        })
    }
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|part| part == word)
}

impl From<Said> for How {
    fn from(said: Said) -> Self {
        let (end, busy, text, traceback) = match said {
            Said::Succeeded { runtime, result } => (End::Succeeded, runtime, result, None),
            Said::Failed {
                exception,
                traceback,
            } => (End::Failed, None, exception, traceback),
            Said::Retried {
                exception,
                traceback,
            } => (End::Retried, None, exception, traceback),
            Said::Ignored => (End::Ignored, None, None, None),
            Said::Rejected { requeue, exception } => {
                (End::Rejected { requeue }, None, exception, None)
            }
            Said::Lost { reason } => return Self::Lost(reason),
        };
        Self::Concluded(Conclusion {
            end,
            results: Vec::new(),
            busy: busy.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
            told: Told { text, traceback },
        })
    }
}

#[derive(Deserialize)]
struct StoreHead {
    id: String,
    state: String,
    content_type: String,
    ttl: Option<f64>,
    reply_to: Option<String>,
    correlation_id: Option<String>,
}

/// A result as a STORE record has it.
pub(crate) fn read_result(payload: &[u8]) -> Result<EncodedResult, Junk> {
    let (head, bytes) = split_head(payload)?;
    let head: StoreHead = serde_json::from_slice(head)
        .map_err(|error| Junk::new(format!("the head of a result does not decode: {error}")))?;
    let content_type = ContentType::from_mime(&head.content_type)
        .ok_or_else(|| Junk::new("the content type of a result is none"))?;
    Ok(EncodedResult {
        id: head.id.as_str().into(),
        state: head.state,
        payload: Payload {
            content_type,
            bytes: Bytes::copy_from_slice(bytes),
        },
        keep: head
            .ttl
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
        reply_to: head.reply_to,
        correlation_id: head.correlation_id,
    })
}

/// What the service answered.
pub(crate) fn read_answer(payload: &[u8]) -> Result<Result<Value, String>, Junk> {
    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Answer {
        Ok(Value),
        Error(String),
    }
    match serde_json::from_slice(payload) {
        Ok(Answer::Ok(value)) => Ok(Ok(value)),
        Ok(Answer::Error(text)) => Ok(Err(text)),
        Err(error) => Err(Junk::new(format!("an answer does not decode: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(text: &str) -> Ended {
        Ended::read(text.as_bytes()).unwrap()
    }

    #[test]
    fn every_end_is_read() {
        for (text, end) in [
            (
                r#"{"end": "succeeded", "runtime": 0.5, "result": "4"}"#,
                End::Succeeded,
            ),
            (
                r#"{"end": "failed", "exception": "E()", "traceback": "T"}"#,
                End::Failed,
            ),
            (
                r#"{"end": "retried", "exception": "E()", "traceback": null}"#,
                End::Retried,
            ),
            (r#"{"end": "ignored", "news": 1}"#, End::Ignored),
            (
                r#"{"end": "rejected", "requeue": true}"#,
                End::Rejected { requeue: true },
            ),
        ] {
            match ended(text).how {
                How::Concluded(conclusion) => assert_eq!(conclusion.end, end),
                How::Lost(reason) => panic!("lost: {reason}"),
            }
        }
        let lost = ended(r#"{"end": "lost", "reason": "SystemExit", "recycle": true}"#);
        assert_eq!(lost.how, How::Lost("SystemExit".to_owned()));
        assert!(lost.recycle);
    }

    #[test]
    fn what_is_said_of_an_end_is_kept() {
        let How::Concluded(conclusion) =
            ended(r#"{"end": "succeeded", "runtime": 0.5, "result": "a \"recycle\" word"}"#).how
        else {
            panic!("it is a conclusion");
        };
        assert_eq!(conclusion.busy, Some(Duration::from_millis(500)));
        assert_eq!(conclusion.told.text.as_deref(), Some("a \"recycle\" word"));
        assert!(!ended(r#"{"end": "succeeded", "result": "recycle"}"#).recycle);
    }

    #[test]
    fn junk_is_no_end_and_no_result() {
        for text in ["", "{}", r#"{"end": "exploded"}"#, "\u{1}\u{2}"] {
            assert!(Ended::read(text.as_bytes()).is_err(), "{text}");
        }
        assert!(read_result(b"\x02\0\0\0{}body").is_err());
    }

    #[test]
    fn a_result_is_what_follows_its_head() {
        let head = br#"{"id": "x", "state": "SUCCESS", "content_type": "application/json", "ttl": 60, "reply_to": null, "correlation_id": null}"#;
        let mut payload = u32::try_from(head.len()).unwrap().to_le_bytes().to_vec();
        payload.extend_from_slice(head);
        payload.extend_from_slice(b"{\"result\": 4}");
        let result = read_result(&payload).unwrap();
        assert_eq!(&*result.payload.bytes, b"{\"result\": 4}");
        assert_eq!(result.keep, Some(Duration::from_secs(60)));
        assert!(result.is_final());
    }
}
