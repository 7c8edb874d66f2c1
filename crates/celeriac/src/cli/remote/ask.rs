//! One question to workers, and their answers.

use std::time::{Duration, SystemTime};

use celeriac_core::{Address, BrokerError, Bus, Notice, TaskId, Topic};
use celeriac_wire::control::{Reply, ReplyTo, Request};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

/// Asks, and gathers answers for so long, or until there are so many.
pub(in crate::cli) async fn ask(
    bus: &dyn Bus,
    mut request: Request,
    wait: Duration,
    limit: Option<usize>,
) -> Result<Vec<Reply>, BrokerError> {
    let key = TaskId::new().to_string();
    let ticket = TaskId::new().to_string();
    let mut answers = bus.listen(Topic::Answers(key.clone())).await?;
    request.ticket = Some(ticket.clone());
    request.reply_to = Some(ReplyTo {
        exchange: bus.answers(),
        routing_key: key,
    });
    let notice = Notice::json(headers(wait), request.encode());
    bus.send(Address::Workers, notice).await?;
    let mut replies = Vec::new();
    let gathering = async {
        while limit.is_none_or(|limit| replies.len() < limit) {
            let notice = answers.next().await?;
            // Somebody else's answers are no concern of ours, nor what is none.
            if notice.headers.get("ticket").and_then(Value::as_str) == Some(&ticket) {
                replies.extend(Reply::decode(&notice.body).unwrap_or_default());
            }
        }
        Ok(())
    };
    match timeout(wait, gathering).await {
        Ok(Err(error)) => Err(error),
        Ok(Ok(())) | Err(_) => Ok(replies),
    }
}

fn headers(wait: Duration) -> Map<String, Value> {
    let end = SystemTime::now() + wait;
    let end = end.duration_since(SystemTime::UNIX_EPOCH);
    Map::from_iter([
        ("clock".to_owned(), json!(1)),
        (
            "expires".to_owned(),
            json!(end.map_or(0.0, |end| end.as_secs_f64())),
        ),
    ])
}
