//! How the reactor waits for whatever comes first.

use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};

use super::super::clock;
use super::Reactor;

impl Reactor {
    /// Waits for news until `wake_at`, and hears it; returns the numbers of dead children.
    pub(super) fn wait(&mut self, wake_at: Option<u64>) -> Vec<usize> {
        let mut timeout = wake_at.map(|at| at.saturating_sub(clock::now()));
        let asleep = self.mailbox.fall_asleep();
        if !asleep {
            timeout = Some(0);
        }
        let timeout = timeout.map(|nanos| {
            let timeout = Duration::from_nanos(nanos);
            Timespec {
                tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(timeout.subsec_nanos()),
            }
        });
        let mut fds = Vec::with_capacity(1 + 2 * self.children.len());
        fds.push(PollFd::from_borrowed_fd(self.mailbox.bell(), PollFlags::IN));
        for child in &self.children {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, child.wants_to_write());
            // A closed socket would be ready for ever.
            if child.is_open() {
                fds.push(PollFd::from_borrowed_fd(child.socket(), flags));
            } else {
                fds.push(PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN));
            }
            fds.push(PollFd::from_borrowed_fd(child.pidfd(), PollFlags::IN));
        }
        // An error is a signal, and then a look around does no harm.
        let _ = rustix::event::poll(&mut fds, timeout.as_ref());
        let rung = !fds[0].revents().is_empty();
        let news: Vec<(bool, bool)> = fds[1..]
            .chunks_exact(2)
            .map(|pair| (!pair[0].revents().is_empty(), !pair[1].revents().is_empty()))
            .collect();
        drop(fds);
        self.mailbox.wake_up(rung);
        self.hear(&news)
    }

    fn hear(&mut self, news: &[(bool, bool)]) -> Vec<usize> {
        let now = clock::now();
        let mut dead = Vec::new();
        for (number, (child, &(spoke, died))) in self.children.iter_mut().zip(news).enumerate() {
            if spoke {
                let greeted = child.greeted();
                child.receive(&mut self.scratch, &mut self.paces, now);
                if child.greeted() && !greeted {
                    self.nursery.birth();
                }
            }
            if died {
                dead.push(number);
            }
        }
        dead
    }
}
