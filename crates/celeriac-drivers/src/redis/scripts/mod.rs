//! The scripts, each one step for everybody who looks.
//!
//! The server builds all that stands in a script anew each time it runs, so each is made of the parts
//! that it uses and no more.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($(#[$doc:meta])* $name:ident, [$($part:literal),*], $file:literal) => {
        $(#[$doc])*
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(
                $(include_str!(concat!("parts/", $part, ".lua")), "\n",)*
                include_str!($file)
            ))
        });
    };
}

script!(
    /// Acknowledges messages.
    ACK,
    ["keys", "clock", "held", "counts"],
    "ack.lua"
);
script!(
    /// Renews a lease.
    BEAT,
    ["keys", "clock", "many"],
    "beat.lua"
);
script!(
    /// Ends leases that have lapsed.
    BURY_HOLDERS,
    ["keys", "clock"],
    "bury_holders.lua"
);
script!(
    /// Takes messages and books them.
    CLAIM,
    ["keys", "clock", "many", "held", "tags", "counts", "parked", "dead"],
    "claim.lua"
);
script!(
    /// Ends a chord.
    CLOSE_CHORD,
    [],
    "close_chord.lua"
);
script!(
    /// Broadcasts a command.
    COMMAND,
    [],
    "command.lua"
);
script!(
    /// Counts parts of a chord.
    COUNT_PARTS,
    [],
    "count_parts.lua"
);
script!(
    /// How full queues are.
    DEPTH,
    ["keys", "clock"],
    "depth.lua"
);
script!(
    /// Deletes dead messages.
    DROP_DEAD,
    ["keys"],
    "drop_dead.lua"
);
script!(
    /// Lets claimed messages wait for their time.
    PARK,
    ["keys", "held", "parked"],
    "park.lua"
);
script!(
    /// Drops what nobody holds.
    PURGE,
    ["keys", "parked"],
    "purge.lua"
);
script!(
    /// Registers a consumer.
    REGISTER,
    ["keys", "clock"],
    "register.lua"
);
script!(
    /// Gives back what a worker of another kind has held for too long.
    RESTORE,
    ["keys", "redelivered"],
    "restore.lua"
);
script!(
    /// Puts dead messages back.
    RETRY_DEAD,
    ["keys", "tags", "results"],
    "retry_dead.lua"
);
script!(
    /// Remembers revoked calls.
    REVOKE,
    ["keys", "clock", "parked"],
    "revoke.lua"
);
script!(
    /// Carries out settlements.
    SETTLE,
    ["keys", "clock", "many", "held", "counts", "redelivered", "lists", "parked", "dead", "results"],
    "settle.lua"
);
script!(
    /// Stores results.
    STORE,
    ["results"],
    "store.lua"
);
script!(
    /// Gives held messages back.
    TAKE_BACK,
    ["keys", "clock", "held", "counts", "redelivered", "lists"],
    "take_back.lua"
);
script!(
    /// Gives up a lock.
    UNLOCK,
    [],
    "unlock.lua"
);
script!(
    /// Gives waiting messages back.
    UNPARK,
    ["keys", "clock", "counts", "parked"],
    "unpark.lua"
);
