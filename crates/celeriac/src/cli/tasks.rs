//! `tasks`: what this program serves.

use celeriac_core::{AckProfile, Registry, ResultPolicy, TaskOptions};
use serde_json::{Value, json};

use super::duration::show;
use super::exit::{Exit, Failure};
use super::output::{Output, Table};

pub(super) fn run(output: Output) -> Result<Exit, Failure> {
    let registry = Registry::collect()?;
    let document = registry.iter().map(|task| {
        json!({
            "task": task.name,
            "signature": task.signature,
            "parameters": task.parameters,
            "async": task.is_async,
            "options": options_document(&task.options),
        })
    });
    output.print(&document.collect(), || {
        let mut table = Table::new(&["TASK", "SIGNATURE", "OPTIONS"]);
        for task in registry.iter() {
            table.row([
                task.name.to_owned(),
                task.signature.to_owned(),
                options_text(&task.options),
            ]);
        }
        table.text("this program has no task")
    })?;
    Ok(Exit::Done)
}

fn options_document(options: &TaskOptions) -> Value {
    let keep = match options.results {
        ResultPolicy::Keep(keep) => Some(keep.as_secs_f64()),
        _ => None,
    };
    json!({
        "queue": options.queue,
        "retries": options.retry.retries,
        "soft_time_limit_s": options.limits.soft.map(|limit| limit.as_secs_f64()),
        "time_limit_s": options.limits.hard.map(|limit| limit.as_secs_f64()),
        "ack": ack(options.ack),
        "rate_limit": options.rate_limit.map(|limit| limit.to_string()),
        "priority": options.priority,
        "expires_s": options.expires.map(|expires| expires.as_secs_f64()),
        "results_kept_s": keep,
    })
}

/// The options that are not the default, as the attribute has them.
fn options_text(options: &TaskOptions) -> String {
    let set = [
        options.queue.map(|queue| format!("queue={queue}")),
        (options.retry.retries > 0).then(|| format!("retries={}", options.retry.retries)),
        options
            .limits
            .soft
            .map(|limit| format!("soft_time_limit={}", show(limit))),
        options
            .limits
            .hard
            .map(|limit| format!("time_limit={}", show(limit))),
        (options.ack != AckProfile::Reliable).then(|| format!("ack={}", ack(options.ack))),
        options
            .rate_limit
            .map(|limit| format!("rate_limit={limit}")),
        (options.priority > 0).then(|| format!("priority={}", options.priority)),
        options
            .expires
            .map(|expires| format!("expires={}", show(expires))),
        (options.results == ResultPolicy::Ignore).then(|| "results=ignored".to_owned()),
    ];
    set.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

fn ack(profile: AckProfile) -> &'static str {
    if profile.is_early() {
        "early"
    } else {
        "reliable"
    }
}
