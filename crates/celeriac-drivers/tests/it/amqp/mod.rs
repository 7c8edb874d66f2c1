//! RabbitMQ: the suite of the ports, and what is its own.

mod fixture;

celeriac_testkit::broker_conformance! {
    mod classic = super::fixture::connect_classic, results to the sender
}
