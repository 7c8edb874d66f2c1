//! Calls composed into chains, groups and chords: the same outcomes wherever they run.

mod chains;
mod ends;
mod groups;
mod links;
mod replaced;
mod steps;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use celeriac::prelude::*;

use crate::support::nap;

#[celeriac::task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[celeriac::task]
async fn times(a: u64, b: u64) -> u64 {
    tokio::task::yield_now().await;
    a * b
}

#[celeriac::task]
fn square(n: u64) -> u64 {
    n * n
}

#[celeriac::task]
fn sum(numbers: &[u64]) -> u64 {
    numbers.iter().sum()
}

#[celeriac::task]
fn total(sums: &[Vec<u64>]) -> u64 {
    sums.iter().flatten().sum()
}

#[celeriac::task]
fn report(text: &str) -> String {
    format!("report: {text}")
}

#[celeriac::task]
fn nothing() {}

#[celeriac::task]
fn even(n: u64) -> Result<u64, String> {
    if n % 2 == 1 {
        return Err(format!("{n} is odd"));
    }
    Ok(n)
}

/// Fails until its attempt number `good`.
#[celeriac::task(retries = 3, backoff = "fixed(1ms)")]
fn flaky(context: &Context, n: u64, good: u32) -> Result<u64, String> {
    if context.attempt() < good {
        return Err(format!("attempt {} is too early", context.attempt()));
    }
    Ok(n)
}

/// Values of every shape that JSON and MessagePack must carry from step to step.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Bag {
    text: String,
    big: u64,
    small: i64,
    ratio: f64,
    maybe: Option<()>,
    map: BTreeMap<String, Vec<bool>>,
}

#[celeriac::task]
fn pack(text: &str) -> Bag {
    Bag {
        text: text.to_owned(),
        big: u64::MAX,
        small: i64::MIN,
        ratio: 0.1,
        maybe: None,
        map: [("a".to_owned(), vec![true, false])].into(),
    }
}

#[celeriac::task]
fn unpack(bag: &Bag, text: &str) -> bool {
    *bag == pack(text)
}

#[celeriac::task]
fn identify(context: &Context, _: u64) -> String {
    context.id().to_string()
}

/// Says that it runs, then works until somebody stops it, or for a minute.
#[celeriac::task]
fn patient(context: &Context, mark: PathBuf) -> Result<u64, TaskError> {
    std::fs::write(mark, "").map_err(TaskError::from_error)?;
    for _ in 0..60_000 {
        context.check().map_err(TaskError::from_error)?;
        nap();
    }
    Ok(1)
}

#[celeriac::task]
fn napping(naps: u64) -> u64 {
    (0..naps).for_each(|_| nap());
    naps
}

/// Leaves `text` in a file, whole or not at all.
#[celeriac::task]
fn note(text: &str, file: PathBuf) -> std::io::Result<()> {
    let part = file.with_extension("part");
    std::fs::write(&part, text)?;
    std::fs::rename(part, file)
}

#[celeriac::task]
fn note_number(number: u64, file: PathBuf) -> std::io::Result<()> {
    note(&number.to_string(), file)
}

/// Waits until `file` is there, and reads it.
async fn read(file: &std::path::Path) -> String {
    loop {
        if let Ok(text) = std::fs::read_to_string(file) {
            return text;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn get<V: Send + 'static>(
    sent: celeriac::Result<celeriac::Handle<V>>,
) -> Result<V, TaskError> {
    sent.unwrap().get().await
}

crate::support::suite! {
    full {
        inline = "inline";
        threads = "threads=2";
        coroutines = "coroutines=8";
        processes = "processes=2";
        processes_of_coroutines = "processes=2*coroutines=4";
        sqlite = "sqlite:FOLDER/jobs.db";
        redis = "OWN_REDIS";
        amqp_and_redis = "OWN_AMQP with OWN_REDIS";
    }
    // Results in messages go to who sent the call, and nothing counts the parts of a chord.
    partial {
        amqp = "OWN_AMQP";
    }
    on_all {
        chains {
            a_chain_passes_each_value_on;
            a_chain_of_chains_is_one_chain;
            a_long_chain_needs_no_stack;
            steps_have_the_ids_they_were_sent_with;
            a_failed_step_fails_the_rest_with_its_error;
            a_step_is_retried_like_any_call;
        }
        groups {
            a_group_has_an_outcome_for_each_part;
        }
        links {
            what_is_linked_runs_beside_the_chain;
        }
        replaced {
            a_replaced_call_returns_what_takes_its_place;
            what_follows_a_call_follows_what_replaces_it;
            a_failed_replacement_fails_the_call_it_replaced;
        }
        steps {
            options_hold_for_the_steps_they_are_set_on;
            an_unknown_task_fails_its_chain;
            a_value_of_another_type_is_an_error_of_the_call_that_takes_it;
            arguments_over_the_limit_are_refused;
        }
        ends {
            a_cancelled_chain_stops_the_step_that_runs;
        }
    }
    on_full {
        groups {
            a_group_may_hold_chains_and_groups;
            a_chord_takes_the_values_of_its_header_in_order;
            chords_nest;
            a_group_at_the_end_of_a_chain_gives_the_list;
            an_empty_header_gives_its_body_an_empty_list;
            a_failed_part_fails_the_chord_by_name;
            many_inputs_go_in_few_messages;
        }
        links {
            what_is_linked_to_a_chain_runs_once;
        }
        replaced {
            a_call_is_replaced_again_and_again_within_reason;
            a_group_may_take_the_place_of_a_call;
            what_replaces_a_part_counts_for_its_chord;
            calls_of_a_map_are_replaced_by_workers_only;
        }
        steps {
            a_task_known_by_name_stands_among_typed_ones;
        }
        ends {
            shutdown_waits_for_a_chain_to_its_end;
            shutdown_can_refuse_the_rest_of_a_chain;
        }
    }
}
