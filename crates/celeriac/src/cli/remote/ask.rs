//! One question to workers, and their answers.

use std::collections::HashSet;
use std::time::{Duration, SystemTime};

use celeriac_core::{Address, BrokerError, Bus, Notice, TaskId, Topic};
use celeriac_wire::control::{Reply, ReplyTo, Request};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

/// How long it may take to leave nothing behind.
const LEAVE: Duration = Duration::from_secs(1);

/// Asks, and gathers answers for so long, or until so many workers have answered, or all who heard it.
pub(in crate::cli) async fn ask(
    bus: &dyn Bus,
    mut request: Request,
    wait: Duration,
    expected: Option<usize>,
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
    let heard = bus.send(Address::Workers, notice).await?;
    let most = expected.into_iter().chain(heard).min();
    let mut replies = Vec::new();
    let gathering = async {
        // Two workers of one name do not stand for another one.
        let mut answered = HashSet::new();
        while most.is_none_or(|most| answered.len() < most) {
            let notice = answers.next().await?;
            // Somebody else's answers are no concern of ours, nor what is none.
            if notice.headers.get("ticket").and_then(Value::as_str) == Some(&ticket) {
                let told = Reply::decode(&notice.body).unwrap_or_default();
                answered.extend(told.iter().map(|reply| reply.node.clone()));
                replies.extend(told);
            }
        }
        Ok(())
    };
    let gathered = timeout(wait, gathering).await;
    // The program may end now, and nobody else clears up after it.
    let _ = timeout(LEAVE, answers.close()).await;
    match gathered {
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
