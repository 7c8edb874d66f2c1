//! Settling: result, follow-ups and verdict of a delivery, in one transaction.

use celeriac_core::{DeadReason, Settled, StoredResult, Verdict};

use super::failure::Failure;
use super::messages::{NewMessages, Standing};
use super::results::Replace;
use super::statements;
use super::transaction::{News, Transaction, ceil_ms, wall_ms};

/// A settlement as it is stored.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) tag: i64,
    pub(super) verdict: Verdict,
    pub(super) result: Option<StoredResult>,
    pub(super) follow_ups: NewMessages,
}

impl Transaction<'_> {
    /// Carries out settlements of `holder`'s deliveries, and says how each went.
    pub(super) fn settle(
        &mut self,
        holder: i64,
        endings: &[Ending],
    ) -> Result<Vec<Settled>, Failure> {
        let mut delete_held = self.prepare(statements::DELETE_HELD)?;
        let mut delete_message = self.prepare(statements::DELETE_MESSAGE)?;
        let mut store_result = self.prepare(statements::STORE_RESULT)?;
        let mut settled = Vec::with_capacity(endings.len());
        for ending in endings {
            // The most common way needs no more than the number.
            let acked = ending.verdict == Verdict::Ack;
            let held = if acked {
                None
            } else {
                self.release(ending.tag, holder)?
            };
            if held.is_none() && !(acked && delete_held.execute((ending.tag, holder))? > 0) {
                settled.push(Settled::LeaseLost);
                continue;
            }
            if let Some(result) = &ending.result {
                self.store_result_by(&mut store_result, result, Replace::Any)?;
            }
            self.publish(&ending.follow_ups)?;
            match held {
                Some(standing) => self.carry_out(ending, standing)?,
                None => {
                    delete_message.execute([ending.tag])?;
                }
            }
            settled.push(Settled::Done);
        }
        Ok(settled)
    }

    fn carry_out(&mut self, ending: &Ending, mut standing: Standing) -> Result<(), Failure> {
        match &ending.verdict {
            Verdict::Requeue { eta, counted } => {
                if !counted {
                    standing.deliveries = (standing.deliveries - 1).max(0);
                }
                self.enqueue(ending.tag, standing, eta.map(ceil_ms), wall_ms())?;
                self.announce(News::Messages);
                Ok(())
            }
            Verdict::Dead(reason, detail) => self.bury(ending.tag, standing, *reason, detail),
            verdict => Err(Failure::Other(format!("no way to carry out {verdict:?}"))),
        }
    }

    /// Takes a delivery from its holder.
    fn release(&self, tag: i64, holder: i64) -> Result<Option<Standing>, Failure> {
        let mut statement = self.prepare(statements::RELEASE_HELD)?;
        let mut rows = statement.query((tag, holder))?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let standing = Standing {
            queue: row.get(0)?,
            rank: row.get(1)?,
            deliveries: row.get(2)?,
        };
        // To its end, or the row is not deleted.
        rows.next()?;
        Ok(Some(standing))
    }

    /// Moves a message that is in no place any more to the dead.
    pub(super) fn bury(
        &self,
        number: i64,
        at: Standing,
        reason: DeadReason,
        detail: &str,
    ) -> Result<(), Failure> {
        self.execute(
            statements::INSERT_DEAD,
            (
                number,
                at.queue,
                at.rank,
                reason.as_str(),
                detail,
                wall_ms(),
                at.deliveries,
            ),
        )?;
        self.execute(statements::DELETE_MESSAGE, [number])?;
        Ok(())
    }

    /// Puts dead messages back in their queues, and says how many.
    pub(super) fn retry_dead(&mut self, numbers: &[i64]) -> Result<u64, Failure> {
        let mut revived = 0;
        for number in numbers {
            let mut find = self.prepare(statements::FIND_DEAD)?;
            let mut rows = find.query([number])?;
            let Some(row) = rows.next()? else { continue };
            let standing = Standing {
                queue: row.get(0)?,
                rank: row.get(1)?,
                deliveries: 0,
            };
            drop(rows);
            let new = self.next_number();
            self.execute(statements::REVIVE_MESSAGE, (number, new))?;
            self.execute(statements::FORGET_DEAD_RESULT, [number])?;
            self.execute(statements::DELETE_DEAD, [number])?;
            self.enqueue(new, standing, None, wall_ms())?;
            self.announce(News::Messages);
            revived += 1;
        }
        Ok(revived)
    }

    /// Deletes dead messages, and says how many.
    pub(super) fn drop_dead(&mut self, numbers: &[i64]) -> Result<u64, Failure> {
        let mut dropped = 0;
        for number in numbers {
            dropped += self.execute(statements::DELETE_DEAD, [number])? as u64;
        }
        Ok(dropped)
    }
}
