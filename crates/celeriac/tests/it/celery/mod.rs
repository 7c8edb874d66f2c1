//! Rust and Python in one fleet, over Redis and RabbitMQ: neither can tell the other apart.
//!
//! To start Python takes a second or two, so each test asks many things of one fleet.

mod builtins;
mod client;
mod control;
mod fleet;
mod lookup;
mod mixed;
mod python_to_rust;
mod routing;
mod rust_to_python;
mod sent_events;
mod tagged;
mod tasks;
mod workflows;

/// Makes tests of a function of a [`Fleet`](fleet::Fleet), one for each that is named.
macro_rules! in_fleets {
    ($check:ident: $($name:ident = $broker:ident, $version:ident;)*) => {
        $(#[test]
        fn $name() {
            use celeriac_testkit::peers::CeleryVersion;
            use crate::celery::fleet::{Fleet, Kind};
            celeriac_testkit::block_on(async {
                let fleet = Fleet::assemble(Kind::$broker, CeleryVersion::$version).await;
                // What is still there when this panics shows what it printed.
                let mut test = std::pin::pin!($check(&fleet));
                crate::support::in_time(test.as_mut()).await;
            });
        })*
    };
}
use in_fleets;
