//! One suite, run against every place: the same semantics wherever a task runs.

mod calls;
mod ends;
mod failures;
mod limits;
mod maps;

use std::time::Duration;

#[celeriac::task]
fn double(n: u64) -> u64 {
    2 * n
}

#[celeriac::task]
async fn double_later(n: u64) -> u64 {
    tokio::time::sleep(Duration::from_millis(n % 3)).await;
    2 * n
}

#[derive(Debug, thiserror::Error)]
#[error("cannot charge order {0}")]
struct ChargeError(u64, #[source] std::io::Error);

#[celeriac::task]
fn charge(order: u64) -> Result<u64, ChargeError> {
    if order % 2 == 1 {
        return Err(ChargeError(order, std::io::Error::other("card refused")));
    }
    Ok(order)
}

crate::support::suite! {
    places {
        inline = "inline";
        threads = "threads=2";
        coroutines = "coroutines=8";
        processes = "processes=2";
        processes_of_coroutines = "processes=2*coroutines=4";
        sqlite = "sqlite:FOLDER/jobs.db";
    }
    maps {
        map_keeps_the_order_of_its_inputs;
        unordered_map_gives_each_outcome_once;
        a_map_over_nothing_ends_at_once;
        every_chunk_size_gives_the_same;
        a_stream_of_inputs_works_like_an_iterator;
        endless_inputs_are_taken_only_as_outcomes_are;
        collect_ends_at_the_first_error;
        a_call_does_not_wait_for_the_end_of_a_map;
    }
    calls {
        send_and_get_carry_arguments_and_value;
        a_call_knows_its_id;
        many_calls_sent_together_have_a_handle_each;
        a_bad_call_among_many_is_an_error;
        gather_keeps_order_and_as_completed_gives_each;
        a_countdown_delays_the_start;
        progress_reaches_the_sender;
        a_handle_can_be_waited_for_without_async;
        a_body_over_the_limit_is_refused;
    }
    failures {
        an_error_keeps_its_type_message_and_cause;
        a_panic_costs_its_own_call_only;
        a_failed_call_is_retried_until_it_succeeds;
        retries_end_with_the_last_error;
    }
    limits {
        a_soft_time_limit_interrupts_the_context;
        a_hard_time_limit_ends_the_call;
        a_running_call_can_be_cancelled;
        a_call_that_waits_can_be_cancelled;
    }
    ends {
        shutdown_waits_for_what_was_sent;
        shutdown_can_cancel_what_is_queued;
        a_map_that_is_shut_down_answers_each_input_it_took;
    }
}
