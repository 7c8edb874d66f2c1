//! Settling: result, follow-ups and verdict of a delivery, in one transaction.

use celeriac_core::{DeadReason, Settled, StoredResult, Verdict};

use super::failure::Failure;
use super::messages::{NewMessage, Standing};
use super::results::Replace;
use super::statements;
use super::transaction::{News, Transaction, ceil_ms, wall_ms};

/// A settlement as it is stored.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) tag: i64,
    pub(super) verdict: Verdict,
    pub(super) result: Option<StoredResult>,
    pub(super) follow_ups: Vec<NewMessage>,
}

impl Transaction<'_> {
    /// Carries out one settlement, if the delivery is still `holder`'s.
    pub(super) fn settle(&mut self, holder: i64, ending: &Ending) -> Result<Settled, Failure> {
        let held = match ending.verdict {
            // The most common way needs no more than the number.
            Verdict::Ack => {
                if self.execute(statements::DELETE_HELD, (ending.tag, holder))? == 0 {
                    return Ok(Settled::LeaseLost);
                }
                self.execute(statements::DELETE_MESSAGE, [ending.tag])?;
                None
            }
            _ => match self.release(ending.tag, holder)? {
                Some(standing) => Some(standing),
                None => return Ok(Settled::LeaseLost),
            },
        };
        if let Some(result) = &ending.result {
            self.store_result(result, Replace::Any)?;
        }
        self.publish(&ending.follow_ups)?;
        if let Some(standing) = held {
            self.carry_out(ending, standing)?;
        }
        Ok(Settled::Done)
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
