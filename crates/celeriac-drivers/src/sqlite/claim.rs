//! Claiming: ready messages become held, in one transaction.

use std::num::NonZeroU32;

use celeriac_core::{DeadReason, QueueName, TaskError};

use super::failure::Failure;
use super::messages::Standing;
use super::results::Replace;
use super::statements;
use super::transaction::{News, Transaction, wall_ms};
use crate::refusal;

/// How many delayed messages become ready in one transaction.
const PROMOTED_AT_ONCE: i64 = 1000;

/// What one claim asks for.
#[derive(Debug)]
pub(super) struct Claim {
    /// In the order of their turns.
    pub(super) queues: Vec<QueueName>,
    pub(super) credit: usize,
    pub(super) most_deliveries: NonZeroU32,
    /// How many messages that were delivered before may be held.
    pub(super) suspects: usize,
    pub(super) body_limit_bytes: usize,
}

/// What a claim gave.
#[derive(Debug, Default)]
pub(super) struct Catch {
    pub(super) claimed: Vec<Claimed>,
    /// Whether more stood ready, behind a suspect too many.
    pub(super) held_back: bool,
}

/// A claimed message, as it was stored.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) number: i64,
    pub(super) queue: QueueName,
    pub(super) priority: u8,
    pub(super) deliveries: u32,
    pub(super) revoked: bool,
    pub(super) content_type: String,
    pub(super) headers: Vec<u8>,
    /// `None` if it is over the limit.
    pub(super) body: Option<Vec<u8>>,
}

/// A message that was delivered too often, and nobody decided its end.
struct Exhausted {
    number: i64,
    deliveries: u32,
    headers: Vec<u8>,
}

impl Transaction<'_> {
    /// Claims at most `claim.credit` messages: larger priorities first, queues in turn, and no
    /// queue more than its share as long as others of the same priority have messages.
    pub(super) fn claim(&mut self, holder: i64, claim: &Claim) -> Result<Catch, Failure> {
        self.promote(wall_ms())?;
        let mut queues = Vec::with_capacity(claim.queues.len());
        for name in &claim.queues {
            queues.push((name, self.queue(name)?));
        }
        let share = claim.credit.div_ceil(queues.len().max(1));
        let mut caught = Catch::default();
        while caught.claimed.len() < claim.credit && !caught.held_back {
            let mut best = None;
            for (turn, (_, queue)) in queues.iter().enumerate() {
                let rank: Option<i64> = self.value(statements::BEST_RANK, [queue])?;
                best = best.into_iter().chain(rank.map(|rank| (rank, turn))).min();
            }
            let Some((rank, turn)) = best else { break };
            let limit = share.min(claim.credit - caught.claimed.len());
            let (name, queue) = queues[turn];
            self.claim_from(holder, claim, name, (queue, rank), limit, &mut caught)?;
            queues.rotate_left(turn + 1);
        }
        self.mark_revoked(&mut caught.claimed)?;
        Ok(caught)
    }

    /// Makes delayed messages ready whose time has come.
    pub(super) fn promote(&mut self, now_ms: i64) -> Result<(), Failure> {
        let due: Option<i64> = self.value(statements::NEXT_DUE, [])?;
        if due.is_none_or(|due_ms| due_ms > now_ms) {
            return Ok(());
        }
        self.execute(statements::PROMOTE_DUE, (now_ms, PROMOTED_AT_ONCE))?;
        self.execute(statements::DELETE_PROMOTED, (now_ms, PROMOTED_AT_ONCE))?;
        // They may be for others.
        self.announce(News::Messages);
        Ok(())
    }

    /// Claims the oldest `limit` messages of one queue and rank.
    fn claim_from(
        &mut self,
        holder: i64,
        claim: &Claim,
        name: &QueueName,
        (queue, rank): (i64, i64),
        limit: usize,
        caught: &mut Catch,
    ) -> Result<(), Failure> {
        let mut suspects = None;
        let mut read = self.prepare(statements::READ_READY)?;
        let mut rows =
            read.query((queue, rank, integer(limit), integer(claim.body_limit_bytes)))?;
        let mut last = None;
        let mut exhausted = Vec::new();
        while let Some(row) = rows.next()? {
            let number = row.get(0)?;
            let deliveries: u32 = row.get(1)?;
            if (1..claim.most_deliveries.get()).contains(&deliveries) {
                let known = match suspects {
                    Some(known) => known,
                    None => self.suspects(holder)?,
                };
                if known >= claim.suspects {
                    caught.held_back = true;
                    break;
                }
                suspects = Some(known + 1);
            }
            last = Some(number);
            if deliveries >= claim.most_deliveries.get() {
                exhausted.push(Exhausted {
                    number,
                    deliveries,
                    headers: row.get(3)?,
                });
                continue;
            }
            caught.claimed.push(Claimed {
                number,
                queue: name.clone(),
                priority: u8::try_from(9 - rank).unwrap_or(0).min(9),
                deliveries: deliveries + 1,
                revoked: false,
                content_type: row.get(2)?,
                headers: row.get(3)?,
                body: row.get(4)?,
            });
        }
        drop(rows);
        let Some(last) = last else {
            if caught.held_back {
                return Ok(());
            }
            // The place is there and the message is not: the file is damaged.
            return Err(Failure::Unusable(
                "it is corrupt: a ready message has no content".to_owned(),
                super::failure::RESTORE,
            ));
        };
        self.execute(
            statements::HOLD_READY,
            (queue, rank, last, holder, claim.most_deliveries.get()),
        )?;
        self.execute(statements::DELETE_READY, (queue, rank, last))?;
        for message in exhausted {
            self.die_of_deliveries(&message, (queue, rank))?;
        }
        Ok(())
    }

    /// How many messages `holder` holds that were delivered before.
    fn suspects(&self, holder: i64) -> Result<usize, Failure> {
        let count: Option<i64> = self.value(statements::COUNT_SUSPECTS, [holder])?;
        Ok(usize::try_from(count.unwrap_or(0)).unwrap_or(usize::MAX))
    }

    /// Makes a message dead that was delivered too often, and ends the waiting of its callers.
    fn die_of_deliveries(
        &mut self,
        message: &Exhausted,
        (queue, rank): (i64, i64),
    ) -> Result<(), Failure> {
        let error = TaskError::delivery_limit(message.deliveries);
        let standing = Standing {
            queue,
            rank,
            deliveries: message.deliveries.into(),
        };
        let text = error.message();
        self.bury(message.number, standing, DeadReason::DeliveryLimit, text)?;
        let failure = serde_json::from_slice(&message.headers)
            .ok()
            .and_then(|headers| refusal::failure(&headers, error));
        match failure {
            Some(result) => self.store_result(&result, Replace::OnlyPassing),
            None => Ok(()),
        }
    }

    fn mark_revoked(&mut self, claimed: &mut [Claimed]) -> Result<(), Failure> {
        if claimed.is_empty() || self.value(statements::ANY_REVOKED, [])? != Some(true) {
            return Ok(());
        }
        for message in claimed {
            message.revoked = self.value(statements::IS_REVOKED, [message.number])? == Some(true);
        }
        Ok(())
    }
}

fn integer(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
