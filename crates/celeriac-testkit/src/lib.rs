//! Conformance suites for the ports of celeriac.
//!
//! A driver passes [`broker_conformance!`] if it keeps every sentence of the docs of
//! [`Broker`](celeriac_core::Broker), [`Consumer`](celeriac_core::Consumer),
//! [`ResultBackend`](celeriac_core::ResultBackend) and [`ChordStore`](celeriac_core::ChordStore).
//! Each test has a store of its own.
//!
//! [`peers`] are the real systems that tests talk to, and a proxy with the faults of networks.
#![forbid(unsafe_code)]

pub mod broker;
mod fixture;
pub mod peers;

pub use fixture::{Fixture, block_on, call, message, queue, result, within};

/// Runs the tests of exchanges against a driver that has them; as [`broker_conformance!`].
#[macro_export]
macro_rules! routing_conformance {
    (mod $name:ident = $connect:path) => {
        $crate::broker_conformance! { @suite $name, $connect,
            routing => [
                a_topic_leads_to_the_queues_whose_patterns_fit
                copies_of_one_message_are_settled_one_by_one
                a_direct_exchange_compares_keys
                a_broadcast_reaches_every_consumer
                a_broadcast_is_given_back_to_one
                follow_ups_go_to_exchanges
                an_added_queue_is_bound
            ]
        }
    };
}

/// Runs the whole suite against a driver.
///
/// `connect` is a function from the test's name to a [`Fixture`] with an empty store of its own.
///
/// ```text
/// celeriac_testkit::broker_conformance! { mod sqlite = connect_sqlite }
/// ```
#[macro_export]
macro_rules! broker_conformance {
    (mod $name:ident = $connect:path) => {
        $crate::broker_conformance! { @common $name, $connect,
            results => [
                a_result_is_fetched_as_it_was_stored
                a_final_state_never_gives_way_to_a_passing_one
                a_watch_tells_what_is_held_and_what_comes
                a_watch_tells_every_change_until_the_end
                a_watch_tells_nothing_of_what_was_left
                a_dropped_watch_call_loses_nothing
                a_forgotten_result_is_gone
                an_expired_result_is_gone
            ],
            chords => [
                a_chord_is_joined_in_order_when_its_last_part_is_counted
                a_part_that_is_counted_twice_counts_once
                a_chord_may_be_opened_after_some_parts
                a_closed_chord_is_joined_no_more
                a_claim_that_nobody_makes_use_of_lapses
            ]
        }
    };
    // For a broker that sends results to the sender of the call, and shows them to nobody else.
    (mod $name:ident = $connect:path, results to the sender) => {
        $crate::broker_conformance! { @common $name, $connect,
            replies => [
                a_result_goes_to_the_sender_and_to_nobody_else
                a_final_state_is_the_last_that_is_told
                results_wait_for_whoever_looks_late
                a_watch_tells_nothing_of_what_was_left
                a_dropped_watch_call_loses_nothing
                a_forgotten_result_is_gone
            ]
        }
    };
    (@common $name:ident, $connect:path, $($results:ident => [$($of_results:ident)*]),*) => {
        $crate::broker_conformance! { @suite $name, $connect,
            publishing => [
                what_is_published_is_received_whole
                order_is_kept_within_a_priority
                urgent_messages_come_first
                urgent_messages_come_first_across_queues
                queues_take_turns
                a_delayed_message_comes_when_it_is_due_and_not_before
                an_expired_message_is_delivered_with_its_header
                publishing_is_all_or_none
                one_id_published_twice_is_delivered_twice
                odd_queue_names_are_kept_apart
                a_body_over_the_limit_is_refused
                a_waiting_consumer_is_woken_by_another_handle
                queue_depths_are_exact
                purge_drops_what_nobody_holds
            ],
            settling => [
                an_acked_message_is_gone
                a_settled_delivery_cannot_be_settled_again
                follow_ups_and_result_come_with_the_ack
                a_lost_lease_settles_nothing
                a_requeued_message_comes_back_counted_or_not
                a_requeued_message_waits_for_its_time
                a_message_past_the_delivery_limit_has_its_end_decided
                a_message_whose_end_nobody_decides_dies_and_its_waiters_end
                a_malformed_message_is_quarantined_with_its_bytes
                dead_messages_are_listed_retried_and_dropped
                a_retried_message_leaves_its_failure_behind
            ],
            consuming => [
                credit_is_never_exceeded
                two_consumers_never_share_a_message
                a_dropped_receive_loses_nothing
                a_closed_consumer_gives_back_uncounted
                a_dropped_consumer_gives_back
                a_dead_consumers_messages_come_back_counted
                consumers_are_listed_while_they_live
                suspects_are_held_a_few_at_a_time
                a_revoked_call_is_news_and_marked
                a_revoked_call_does_not_wait_for_its_time
                what_waits_for_its_time_takes_no_room
                a_dropped_call_for_revocations_loses_nothing
                a_queue_is_added_while_the_consumer_waits
                a_cancelled_queue_is_left_to_others
            ],
            $($results => [$($of_results)*]),*
        }
    };
    (@suite $name:ident, $connect:path, $($module:ident => [$($test:ident)*]),*) => {
        mod $name {
            $($(
                #[test]
                fn $test() {
                    $crate::block_on(async {
                        let fixture = $connect(stringify!($test)).await;
                        $crate::broker::$module::$test(&fixture).await;
                    });
                }
            )*)*
        }
    };
}
