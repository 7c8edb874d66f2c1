//! What a pool takes on, and what it refuses at once.

use celeriac_core::outcome::{ErrorKind, TaskError};
use celeriac_core::{Invocation, PayloadError, Work};

use super::super::arena::REGION_BYTES;
use super::super::job::{Request, guarded};
use super::super::wire::ID_LIMIT;
use super::Reactor;

impl Reactor {
    /// Takes an invocation into the queue, or answers it at once if it can never run.
    pub(super) fn accept(&mut self, invocation: Invocation) {
        let refused = self.refusal(&invocation);
        if let Some(error) = refused {
            guarded(|| invocation.reply.failed(error));
            return;
        }
        let task = self.tasks[invocation.task.name];
        let early = invocation.task.options.ack.is_early();
        let number = self.submitted;
        self.submitted += 1;
        let Some(job) = Request::accept(invocation, number, task, early) else {
            return;
        };
        let mailbox = self.mailbox.clone();
        let control = job.request.control.clone();
        self.queue.insert(job.place(), job);
        control.on_interrupt(move |interrupt| mailbox.interrupt(number, interrupt));
    }

    /// Why an invocation can never run here.
    fn refusal(&self, invocation: &Invocation) -> Option<TaskError> {
        let bad = |reason: String| Some(TaskError::new(ErrorKind::BadArguments, reason));
        if self.mode.is_some() {
            return Some(TaskError::shutdown());
        }
        if let Some(why) = self.nursery.broken() {
            return Some(TaskError::lost(why.to_owned()));
        }
        let Work::Encoded(chunk) = &invocation.work else {
            return bad("a process pool only takes encoded calls".to_owned());
        };
        if !self.tasks.contains_key(invocation.task.name) {
            return Some(TaskError::new(
                ErrorKind::Unregistered,
                format!(
                    "`{}` is not among the registered tasks, so no child can run it",
                    invocation.task.name
                ),
            ));
        }
        if invocation.id.to_string().len() > ID_LIMIT {
            return bad(format!("its id is longer than {ID_LIMIT} bytes"));
        }
        let limit_bytes = self.settings.body_limit_bytes;
        let size_bytes = chunk.bytes().len();
        if size_bytes as u64 >= REGION_BYTES.min(u64::from(u32::MAX)) {
            return bad("4 GiB of arguments are too many for one chunk".to_owned());
        }
        if size_bytes <= limit_bytes {
            return None;
        }
        let longest = chunk.iter().map(<[u8]>::len).max().unwrap_or(0);
        (longest > limit_bytes).then(|| {
            let error = PayloadError::TooLarge {
                size_bytes: longest,
                limit_bytes,
            };
            TaskError::new(ErrorKind::BadArguments, format!("its arguments: {error}"))
        })
    }
}
