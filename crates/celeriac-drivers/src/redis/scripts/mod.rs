//! The scripts, each one step for everybody who looks.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($(#[$doc:meta])* $name:ident, $file:literal) => {
        $(#[$doc])*
        pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            Script::new(concat!(include_str!("common.lua"), include_str!($file)))
        });
    };
}

script!(
    /// Acknowledges messages.
    ACK,
    "ack.lua"
);
script!(
    /// Renews a lease.
    BEAT,
    "beat.lua"
);
script!(
    /// Ends leases that have lapsed.
    BURY_HOLDERS,
    "bury_holders.lua"
);
script!(
    /// Takes messages and books them.
    CLAIM,
    "claim.lua"
);
script!(
    /// Ends a chord.
    CLOSE_CHORD,
    "close_chord.lua"
);
script!(
    /// Counts parts of a chord.
    COUNT_PARTS,
    "count_parts.lua"
);
script!(
    /// How full queues are.
    DEPTH,
    "depth.lua"
);
script!(
    /// Deletes dead messages.
    DROP_DEAD,
    "drop_dead.lua"
);
script!(
    /// Lets claimed messages wait for their time.
    PARK,
    "park.lua"
);
script!(
    /// Drops what nobody holds.
    PURGE,
    "purge.lua"
);
script!(
    /// Registers a consumer.
    REGISTER,
    "register.lua"
);
script!(
    /// Gives back what a worker of another kind has held for too long.
    RESTORE,
    "restore.lua"
);
script!(
    /// Puts dead messages back.
    RETRY_DEAD,
    "retry_dead.lua"
);
script!(
    /// Remembers revoked calls.
    REVOKE,
    "revoke.lua"
);
script!(
    /// Carries out settlements.
    SETTLE,
    "settle.lua"
);
script!(
    /// Stores results.
    STORE,
    "store.lua"
);
script!(
    /// Gives held messages back.
    TAKE_BACK,
    "take_back.lua"
);
script!(
    /// Gives up a lock.
    UNLOCK,
    "unlock.lua"
);
script!(
    /// Gives waiting messages back.
    UNPARK,
    "unpark.lua"
);
