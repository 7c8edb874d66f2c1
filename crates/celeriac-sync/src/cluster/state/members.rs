//! The sessions of an object, and their leases.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Answer, Batch, Reply, Session, Ticket};

/// How long answers are kept for a session whose lease has run out, in milliseconds.
pub(super) const REMEMBERED: u64 = 60_000;

/// The sessions that have something here, or have asked lately.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Members(BTreeMap<Session, Member>);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Member {
    until: u64,
    /// For how long it asked last.
    lease: u64,
    /// Whether its lease has run out, and what it had was taken back.
    lapsed: bool,
    pub(super) answers: BTreeMap<Ticket, Answer>,
}

impl Member {
    /// Whether its lease would run for longer than a whole one, as the clock was set back.
    fn is_ahead(&self, now: u64) -> bool {
        self.until > now.saturating_add(self.lease)
    }

    /// Whether its lease has run out, and nobody has noticed.
    fn has_run_out(&self, now: u64) -> bool {
        !self.lapsed && self.until < now
    }
}

impl Members {
    pub(super) fn get(&self, session: Session) -> Option<&Member> {
        self.0.get(&session)
    }

    pub(super) fn get_mut(&mut self, session: Session) -> Option<&mut Member> {
        self.0.get_mut(&session)
    }

    /// Whether the lease of nobody runs at `now`.
    pub(super) fn are_idle(&self, now: u64) -> bool {
        self.0.values().all(|member| member.until < now)
    }

    /// Whether the lease of somebody has run out without being noticed, or runs for too long.
    fn are_to_be_swept(&self, now: u64) -> bool {
        let mut members = self.0.values();
        members.any(|member| member.has_run_out(now) || (!member.lapsed && member.is_ahead(now)))
    }

    /// Whether more than half of the lease of who asks is left, and nobody is to be swept.
    pub(super) fn are_fresh(&self, batch: &Batch, now: u64) -> bool {
        self.get(batch.session).is_some_and(|member| {
            let left = member.until.saturating_sub(now);
            !member.lapsed && left > batch.lease_ms / 2
        }) && !self.are_to_be_swept(now)
    }

    /// Renews the lease of who asks, and takes away the answers that it has seen: whether its lease had run
    /// out, and whether that is so long ago that it is not known any more.
    pub(super) fn renew(&mut self, batch: &Batch, now: u64) -> (bool, bool) {
        let forgotten = batch.member && !self.0.contains_key(&batch.session);
        let until = now.saturating_add(batch.lease_ms);
        let member = self.0.entry(batch.session).or_insert(Member {
            until,
            lease: batch.lease_ms,
            lapsed: false,
            answers: BTreeMap::new(),
        });
        let lapsed = std::mem::replace(&mut member.lapsed, false) || forgotten;
        (member.until, member.lease) = (until, batch.lease_ms);
        for ticket in &batch.seen {
            member.answers.remove(ticket);
        }
        (lapsed, forgotten)
    }

    /// The sessions whose leases have run out since this was asked. What they were given is taken from their
    /// answers, so they may ask for that again.
    pub(super) fn lapse(&mut self, now: u64) -> Vec<Session> {
        let mut lapsed = Vec::new();
        for (session, member) in &mut self.0 {
            if member.is_ahead(now) {
                member.until = now.saturating_add(member.lease);
            }
            if member.has_run_out(now) {
                member.lapsed = true;
                let given =
                    |answer: &Answer| matches!(answer, Ok(Reply::Held { .. } | Reply::Item { .. }));
                member.answers.retain(|_, answer| !given(answer));
                lapsed.push(*session);
            }
        }
        lapsed
    }

    /// Forgets those whose leases ran out long ago, which have nothing any more.
    pub(super) fn forget(&mut self, now: u64) {
        let is_known = |member: &Member| member.until.saturating_add(REMEMBERED) >= now;
        self.0
            .retain(|_, member| !member.lapsed || is_known(member));
    }

    /// When the first lease of another than `session` runs out, from `now` on.
    pub(super) fn next(&self, session: Session, now: u64) -> Option<u64> {
        let others = self.0.iter();
        let others = others.filter(|(other, member)| !member.lapsed && **other != session);
        let left = |member: &Member| member.until.saturating_sub(now);
        others.map(|(_, member)| left(member)).min()
    }
}
