//! What all processes do at one moment, for an operator who asks why nothing moves.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use celeriac_core::Brief;
use rustix::process::Signal;
use tokio::sync::oneshot;

use super::Reactor;
use crate::pool::child::Child;
use crate::pool::process::Process;

/// Stacks have no end that could be seen. Those to which nothing was added for so long are whole.
const STILL: Duration = Duration::from_millis(100);

/// One that is stopped, or waits for a disk, says nothing.
const PATIENCE: Duration = Duration::from_secs(3);

/// Processes that were asked for their stacks.
pub(super) struct Survey {
    askers: Vec<oneshot::Sender<String>>,
    since: Instant,
    look_at: Instant,
    /// How many bytes each had written at the last look.
    seen: Vec<u64>,
}

impl Reactor {
    /// Asks all processes for their stacks; whoever asks while that is being done is told with the others.
    pub(super) fn survey(&mut self, asker: oneshot::Sender<String>, now: Instant) {
        if let Some(survey) = &mut self.survey {
            survey.askers.push(asker);
            return;
        }
        for process in self.processes() {
            process.ask_for_stacks();
        }
        self.survey = Some(Survey {
            askers: vec![asker],
            since: now,
            look_at: now + STILL,
            seen: Vec::new(),
        });
    }

    /// When to look again at what they have written.
    pub(super) fn stacks_at(&self) -> Option<Instant> {
        self.survey.as_ref().map(|survey| survey.look_at)
    }

    /// Tells who asked, once all have written all that they will.
    pub(super) fn look_at_stacks(&mut self, now: Instant) {
        let Some(survey) = self.survey.take_if(|survey| now >= survey.look_at) else {
            return;
        };
        let sizes = self
            .processes()
            .map(|process| process.channel.stacks_size());
        let sizes: Vec<u64> = sizes.collect();
        let whole = sizes == survey.seen && sizes.iter().all(|&size| size > 0);
        if !whole && now < survey.since + PATIENCE {
            self.survey = Some(Survey {
                look_at: now + STILL,
                seen: sizes,
                ..survey
            });
            return;
        }
        let text = self.surveyed(now);
        for asker in survey.askers {
            // It may not wait any more.
            let _ = asker.send(text.clone());
        }
    }

    fn processes(&self) -> impl Iterator<Item = &Process> {
        let children = self.children.iter().map(|child| &child.process);
        children.chain(&self.desk.process)
    }

    fn surveyed(&self, now: Instant) -> String {
        let (children, waiting) = (self.children.len(), self.queue.len());
        let wanted = self.scale.children();
        let mut text = format!("pool: {children} children of {wanted}, {waiting} calls wait\n");
        for child in &self.children {
            put(&mut text, "child", &child.process, &child.doings(now));
        }
        if let Some(service) = &self.desk.process {
            put(&mut text, "service", service, "");
        }
        text
    }
}

impl Child {
    /// What it does, in words.
    fn doings(&self, now: Instant) -> String {
        if !self.process.greeted {
            return " starts".to_owned();
        }
        let mut text = String::new();
        let mut ahead = 0;
        for (call, started) in self.calls() {
            let Some(started) = started else {
                ahead += 1;
                continue;
            };
            let headers = &call.delivery.message.headers;
            let (task, id) = (&headers.task, Brief(&headers.id));
            let seconds = (now - started).as_secs_f64();
            // Writing to a string does not fail.
            let _ = write!(text, " runs {task}[{id}] for {seconds:.1} s;");
        }
        if ahead > 0 {
            let _ = write!(text, " {ahead} wait in it;");
        }
        if text.is_empty() {
            text.push_str(" idle");
        }
        if self.leaving {
            text.push_str(" leaves");
        }
        text
    }
}

impl Process {
    fn ask_for_stacks(&self) {
        // Otherwise what it said before, or what a task wrote there, would be taken for its stacks.
        if self.channel.clear_stacks().is_ok() {
            self.signal(Signal::URG);
        }
    }
}

fn put(text: &mut String, what: &str, process: &Process, doings: &str) {
    let (number, pid) = (process.number, process.pid().unwrap_or_default());
    let _ = writeln!(text, "{what} {number}, pid {pid}:{doings}");
    let stacks = process.channel.stacks().unwrap_or_default();
    if stacks.is_empty() {
        text.push_str("  it does not say where it is\n");
    }
    for line in stacks.lines() {
        let _ = writeln!(text, "  {line}");
    }
}
