//! Counts, on the dispatcher's own thread.

use std::collections::HashMap;
use std::ptr;
use std::time::Duration;

use celeriac_core::{QueueName, TaskDefinition};

use super::{Histogram, MOST_SERIES, OTHER, TaskMetrics};
use crate::held::Held;

/// What is counted together: the calls of one task that came from one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Series(u16);

impl Series {
    /// What has no place of its own.
    pub(crate) const OTHER: Self = Self(0);
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Count {
    Received,
    Succeeded,
    Failed,
    Retried,
    Revoked,
    GivenBack,
    Lost,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Meter {
    /// The first is [`Series::OTHER`].
    tasks: Vec<TaskMetrics>,
    /// The series of a task, by the address of its definition: no name is hashed.
    known: HashMap<usize, Vec<(QueueName, Series)>>,
    /// What was met last, which is mostly what is met next.
    last: Option<(usize, QueueName, Series)>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            tasks: vec![blank(OTHER, OTHER)],
            known: HashMap::new(),
            last: None,
        }
    }
}

impl Meter {
    /// The series of calls of `task` that come from `queue`.
    pub(crate) fn series(&mut self, task: &'static TaskDefinition, queue: &QueueName) -> Series {
        let address = ptr::from_ref(task).addr();
        if let Some((last, from, series)) = &self.last
            && *last == address
            && from == queue
        {
            return *series;
        }
        let known = self.known.entry(address).or_default();
        let series = match known.iter().find(|(from, _)| from == queue) {
            Some((_, series)) => *series,
            None if self.tasks.len() > MOST_SERIES => return Series::OTHER,
            None => {
                let next = u16::try_from(self.tasks.len()).expect("there are few series");
                self.tasks.push(blank(task.name, queue.as_str()));
                known.push((queue.clone(), Series(next)));
                Series(next)
            }
        };
        self.last = Some((address, queue.clone(), series));
        series
    }

    fn of(&mut self, series: Series) -> &mut TaskMetrics {
        &mut self.tasks[usize::from(series.0)]
    }

    /// Counts one more.
    pub(crate) fn count(&mut self, series: Series, what: Count) {
        let task = self.of(series);
        *match what {
            Count::Received => &mut task.received,
            Count::Succeeded => &mut task.succeeded,
            Count::Failed => &mut task.failed,
            Count::Retried => &mut task.retried,
            Count::Revoked => &mut task.revoked,
            Count::GivenBack => &mut task.given_back,
            Count::Lost => &mut task.lost,
        } += 1;
    }

    /// Measures a call that has ended, if it had begun: it ran for `busy`, if that is known.
    pub(crate) fn ended(&mut self, held: &Held, busy: Option<Duration>) {
        let Some(started_us) = held.start.at_us() else {
            return;
        };
        let task = self.of(held.series);
        task.started += 1;
        // The wall clock may have been set back meanwhile.
        let waited_us = started_us.saturating_sub(held.received_us);
        task.wait.observe(Duration::from_micros(waited_us));
        if let Some(busy) = busy {
            task.runtime.observe(busy);
        }
    }

    /// What was counted, those that run among those that were started.
    pub(crate) fn tasks<'a>(&self, held: impl Iterator<Item = &'a Held>) -> Vec<TaskMetrics> {
        let mut tasks = self.tasks.clone();
        for held in held.filter(|held| held.start.at_us().is_some()) {
            tasks[usize::from(held.series.0)].started += 1;
        }
        tasks
    }
}

fn blank(task: &str, queue: &str) -> TaskMetrics {
    TaskMetrics {
        task: task.to_owned(),
        queue: queue.to_owned(),
        received: 0,
        started: 0,
        succeeded: 0,
        failed: 0,
        retried: 0,
        revoked: 0,
        given_back: 0,
        lost: 0,
        runtime: Histogram::default(),
        wait: Histogram::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::{Run, TaskOptions};

    fn task(name: &'static str) -> &'static TaskDefinition {
        Box::leak(Box::new(TaskDefinition {
            name,
            signature: name,
            parameters: &[],
            is_async: false,
            wants_context: false,
            options: TaskOptions::DEFAULT,
            call: |_, _, _| Run::Ready(Ok(Vec::new())),
        }))
    }

    fn queue(name: &str) -> QueueName {
        QueueName::new(name).unwrap()
    }

    #[test]
    fn a_task_is_counted_by_the_queue_it_came_from() {
        let (mut meter, a, b) = (Meter::default(), task("a"), task("b"));
        for (task, from) in [(a, "x"), (a, "y"), (b, "x"), (a, "x"), (a, "x")] {
            let series = meter.series(task, &queue(from));
            meter.count(series, Count::Received);
        }
        let counted = meter.tasks([].into_iter());
        let counted: Vec<_> = counted
            .iter()
            .map(|it| (it.task.as_str(), it.queue.as_str(), it.received))
            .collect();
        let other = (OTHER, OTHER, 0);
        assert_eq!(
            counted,
            [other, ("a", "x", 3), ("a", "y", 1), ("b", "x", 1)]
        );
    }

    #[test]
    fn what_is_too_many_is_counted_together() {
        let (mut meter, task) = (Meter::default(), task("a"));
        for n in 0..MOST_SERIES + 5 {
            let series = meter.series(task, &queue(&n.to_string()));
            meter.count(series, Count::Received);
        }
        let counted = meter.tasks([].into_iter());
        assert_eq!(counted.len(), MOST_SERIES + 1);
        assert_eq!(counted[0].received, 5);
        // Those that were there before keep their place.
        assert_ne!(meter.series(task, &queue("7")), Series::OTHER);
    }
}
