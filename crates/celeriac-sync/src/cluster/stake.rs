//! Something that is held at a place until it is given back, or its lease runs out.

use std::sync::Arc;

use super::session::{Answered, Pending, Shared};
use super::slot::Hold;
use super::state::{Ask, Op, Reply, Ticket};
use crate::SyncError;

/// See the module. Dropped, it gives back; half done if its thread panics.
pub(super) struct Stake {
    shared: Shared,
    ticket: Ticket,
    hold: Arc<Hold>,
    pub(super) lazy: bool,
    pub(super) fence: u64,
    pub(super) recovered: bool,
    over: bool,
}

impl Stake {
    /// What was got with an answer, and the rest of it.
    pub(super) fn of(shared: &Shared, answered: Answered) -> Result<(Self, Reply), SyncError> {
        let (fence, recovered, reply) = match answered.reply {
            Reply::Held {
                fence,
                recovered,
                reply,
            } => (fence, recovered, reply.map_or(Reply::Done, |reply| *reply)),
            Reply::Item { item, fence } => (fence, false, Reply::Bytes(Some(item))),
            _ => return Err(SyncError::OtherType),
        };
        let stake = Self {
            shared: shared.clone(),
            ticket: answered.ticket,
            hold: answered.hold.ok_or(SyncError::OtherType)?,
            lazy: answered.lazy,
            fence,
            recovered,
            over: false,
        };
        Ok((stake, reply))
    }

    pub(super) fn hold(&self) -> &Arc<Hold> {
        &self.hold
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    /// Gives back without waiting for an answer longer than it must.
    pub(super) fn give_back(&mut self, op: Op) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let session = self.shared.session();
        let mut desk = session.desk();
        desk.drop_hold(self.shared.name(), self.ticket);
        desk.call(self.shared.name(), op, false, None);
        drop(desk);
        if self.lazy {
            session.ring();
        } else {
            session.carry_out(|| false);
        }
    }

    /// Gives back, and tells whether it was held until then.
    pub(super) fn finish(&mut self, op: Op) -> Result<Reply, SyncError> {
        match self.finishing(op) {
            Some(pending) => Ok(pending.wait(None)?.reply),
            None => Err(SyncError::Lost),
        }
    }

    /// [`finish`](Self::finish), as a coroutine.
    pub(super) async fn finish_async(&mut self, op: Op) -> Result<Reply, SyncError> {
        match self.finishing(op) {
            Some(pending) => Ok(pending.wait_async().await?.reply),
            None => Err(SyncError::Lost),
        }
    }

    /// What is known to be lost is given back by drop, without the change that came with it.
    fn finishing(&mut self, op: Op) -> Option<Pending> {
        if self.over || !self.hold.is_held() {
            return None;
        }
        self.over = true;
        Some(self.shared.end(self.ticket, op))
    }

    /// That a lock or permit is given back.
    pub(super) fn release(&self, ask: Option<Ask>) -> Op {
        Op::Release {
            of: self.ticket,
            dirty: std::thread::panicking(),
            ask,
        }
    }
}

impl Drop for Stake {
    fn drop(&mut self) {
        let release = self.release(None);
        self.give_back(release);
    }
}

/// Writes what can be asked of everything that is held, which has a field `stake`.
macro_rules! held {
    () => {
        /// The fencing number: greater than that of any holder before. Whatever is protected should
        /// refuse smaller ones, as a [`Fence`](crate::cluster::Fence) does.
        pub fn fence(&self) -> u64 {
            self.stake.fence
        }

        /// Whether it is held still: false as soon as the lease was not renewed in time. Another may
        /// have it a moment after this has said yes; only the fencing number excludes that.
        pub fn is_held(&self) -> bool {
            self.stake.hold().is_held()
        }

        /// Waits until it is not held any more because its lease was not renewed in time.
        ///
        /// # Cancel safety
        ///
        /// Safe.
        pub async fn lost(&self) {
            self.stake.hold().lost().await;
        }
    };
}
pub(super) use held;
