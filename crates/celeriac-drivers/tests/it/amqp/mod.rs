//! RabbitMQ: the suite of the ports, and what is its own.

mod bindings;
mod celery;
mod faults;
pub(crate) mod fixture;
mod refusals;
mod tls;

celeriac_testkit::broker_conformance! {
    mod classic = super::fixture::connect_classic, results to the sender
}

celeriac_testkit::routing_conformance! { mod routing = super::fixture::connect_classic }

celeriac_testkit::routing_conformance! { mod quorum_routing = super::fixture::connect_quorum }

celeriac_testkit::broker_conformance! {
    mod quorum = super::fixture::connect_quorum, results to the sender
}
