//! A pipe.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::codec::Shareable;
use super::forms::{after, forms};
use super::handle::Address;
use super::place::Cluster;
use super::queue::{item_of, kept, put_op};
use super::session::{Answered, Shared};
use super::stake::Stake;
use super::state::{Kind, Op, Plan};
use crate::{PutError, SyncError};

/// How many items are on their way in each direction at most.
const ROOM: u64 = 1024;

/// One end of a pipe: what is sent here is received at the other end, in its order.
///
/// An end that is dropped, or whose process dies, closes the pipe: the other one receives what was sent,
/// and then that nothing comes any more. Whoever sends an end to another process keeps a clone of it until
/// it has arrived; both are at this end then.
pub struct Pipe<T> {
    sends: Shared,
    shared: Shared,
    place: Cluster,
    side: u8,
    /// Tells both directions that somebody is at this end.
    ends: Arc<[Stake; 2]>,
    items: PhantomData<fn(T) -> T>,
}

/// The two ends of a pipe, at the place that the variable `CELERIAC_CLUSTER` names.
///
/// # Errors
///
/// As [`pipe_in`].
pub fn pipe<T: Shareable>() -> Result<(Pipe<T>, Pipe<T>), SyncError> {
    pipe_in(&Cluster::of_program()?)
}

/// The two ends of a pipe at this place.
///
/// ```
/// use celeriac_sync::cluster::{Cluster, pipe_in};
///
/// let shop = Cluster::connect("memory:shop")?;
/// let (here, there) = pipe_in(&shop)?;
/// here.send("ping".to_owned()).unwrap();
/// assert_eq!(there.recv()?, "ping");
/// there.send("pong".to_owned()).unwrap();
/// drop(there);
/// assert_eq!(here.recv()?, "pong");
/// assert!(here.recv().is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Unreachable`](SyncError::Unreachable).
pub fn pipe_in<T: Shareable>(place: &Cluster) -> Result<(Pipe<T>, Pipe<T>), SyncError> {
    let name = Uuid::new_v4().to_string();
    let way = |way: &str| place.open_as(&format!("{name}-{way}"), plan::<T>());
    let (there, back) = (way("there")?, way("back")?);
    let here = Pipe::join(place.clone(), there.clone(), back.clone(), 0)?;
    Ok((here, Pipe::join(place.clone(), back, there, 1)?))
}

fn plan<T>() -> Plan {
    Plan {
        kind: Kind::Pipe,
        size: ROOM,
        shape: std::any::type_name::<T>().to_owned(),
        named: false,
    }
}

impl<T> Pipe<T> {
    fn join(place: Cluster, sends: Shared, shared: Shared, side: u8) -> Result<Self, SyncError> {
        let attach = |way: &Shared| {
            let mut answered = way.ask_now(Op::Attach { side })?;
            // An end may be dropped by a coroutine.
            answered.lazy = true;
            Ok::<_, SyncError>(Stake::of(way, answered)?.0)
        };
        let ends = [attach(&sends)?, attach(&shared)?];
        Ok(Self {
            sends,
            shared,
            place,
            side,
            ends: Arc::new(ends),
            items: PhantomData,
        })
    }
}

impl<T: Shareable> Pipe<T> {
    /// Sends an item, and waits while too many are on their way.
    ///
    /// # Errors
    ///
    /// With the item: [`Closed`](SyncError::Closed) if the other end is gone,
    /// [`Encoding`](SyncError::Encoding), and [`Unreachable`](SyncError::Unreachable), after which
    /// it is sent or it is not.
    pub fn send(&self, item: T) -> Result<(), PutError<T>> {
        self.send_until(item, None)
    }

    /// [`send`](Self::send), but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`Timeout`](SyncError::Timeout), and as there.
    pub fn send_for(&self, item: T, timeout: Duration) -> Result<(), PutError<T>> {
        self.send_until(item, after(timeout))
    }

    fn send_until(&self, item: T, deadline: Option<Instant>) -> Result<(), PutError<T>> {
        let op = put_op(&item, Bytes::new());
        kept(op.and_then(|op| self.sends.ask(op, deadline)), item)
    }

    /// [`send`](Self::send), but without waiting for room.
    ///
    /// # Errors
    ///
    /// [`Busy`](SyncError::Busy) if too many are on their way, and as there.
    pub fn try_send(&self, item: T) -> Result<(), PutError<T>> {
        let op = put_op(&item, Bytes::new());
        kept(op.and_then(|op| self.sends.ask_now(op)), item)
    }

    /// [`send`](Self::send), as a coroutine.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// A dropped call has sent the whole item or nothing: nothing if it was waiting for room.
    pub async fn send_async(&self, item: T) -> Result<(), PutError<T>> {
        match put_op(&item, Bytes::new()) {
            Ok(op) => kept(self.sends.ask_async(op).await, item),
            Err(why) => Err(PutError { item, why }),
        }
    }

    forms! {
        /// Receives an item, and waits for one.
        ///
        /// # Errors
        ///
        /// [`Closed`](crate::SyncError::Closed) if the other end is gone and all it sent was received, and
        /// [`Unreachable`](crate::SyncError::Unreachable).
        recv, recv_for, try_recv, recv_async -> T,
        Op::Get => item
    }

    fn item(&self, answered: Answered) -> Result<T, SyncError> {
        Ok(item_of::<T>(&self.shared, answered)?.into_inner())
    }
}

impl<T> Clone for Pipe<T> {
    fn clone(&self) -> Self {
        Self {
            sends: self.sends.clone(),
            shared: self.shared.clone(),
            place: self.place.clone(),
            side: self.side,
            ends: self.ends.clone(),
            items: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Pipe<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pipe = &mut formatter.debug_struct("Pipe");
        pipe.field("place", &self.place.address())
            .field("side", &self.side)
            .finish_non_exhaustive()
    }
}

impl<T> Serialize for Pipe<T> {
    /// As a place and two names. This end must be kept until it has arrived.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let address = |way| Address::of(way, &self.place);
        (address(&self.sends), address(&self.shared), self.side).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Pipe<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let (sends, receives, side) = <(Address, Address, u8)>::deserialize(deserializer)?;
        let fits = |other: &Plan| *other == plan::<T>();
        let (sends, _) = sends.open(fits).map_err(D::Error::custom)?;
        let (receives, place) = receives.open(fits).map_err(D::Error::custom)?;
        Self::join(place, sends, receives, side).map_err(D::Error::custom)
    }
}
