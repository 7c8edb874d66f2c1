//! The fork server: its start, what it says, and its end.

use std::error::Error;
use std::time::{Duration, Instant};

use super::Reactor;
use super::waiting::Source;
use crate::pool::process::Process;
use crate::pool::{PoolSettings, StartError};
use crate::server::{Failure, Notice, Recipe, Role, Server};

/// The first wait before the fork server is started again; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// So many deaths in a row end the pool: a minute, with the time that imports take, in which somebody
/// who deploys an app may have its files away.
const MOST_DEATHS: u32 = 8;

/// A fork server that has lived so long was sound: what died before it does not count any more.
const SOUND: Duration = Duration::from_secs(60);

/// How far the fork server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Importing,
    Imported,
    Preparing,
    Ready,
}

pub(super) struct Launch {
    recipe: Recipe,
    server: Option<Server>,
    phase: Phase,
    failure: Option<Failure>,
    /// When it was started, if it was.
    started_at: Option<Instant>,
    /// How many have died in a row.
    deaths: u32,
    start_at: Option<Instant>,
    /// Whether it waits for room to write.
    crowded: bool,
    /// The number of the newest process.
    number: u64,
    pub(super) told_to_end: bool,
}

impl Launch {
    pub(super) fn new(recipe: Recipe) -> Self {
        Self {
            recipe,
            server: None,
            phase: Phase::Importing,
            failure: None,
            started_at: None,
            deaths: 0,
            start_at: None,
            crowded: false,
            number: 0,
            told_to_end: false,
        }
    }

    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.start_at.filter(|_| self.server.is_none())
    }

    pub(super) fn is_running(&self) -> bool {
        self.server.is_some()
    }

    /// Has it exit when its children are gone.
    pub(super) fn end(&mut self) {
        if let Some(server) = &mut self.server
            && !self.told_to_end
        {
            self.told_to_end = true;
            server.end();
        }
    }

    pub(super) fn kill(&mut self) {
        self.server = None;
    }

    fn prepare(&mut self, settings: &PoolSettings) {
        if let Some(server) = &mut self.server
            && self.phase == Phase::Imported
        {
            let pool = settings.kind.as_str();
            server.prepare(settings.piped, pool, settings.slots.get());
            self.phase = Phase::Preparing;
        }
    }

    /// Has a process forked, if the fork server is ready for it.
    pub(super) fn fork(&mut self, role: Role, now: Instant) -> Option<Process> {
        let server = self
            .server
            .as_mut()
            .filter(|_| self.phase == Phase::Ready)?;
        match Process::fork(self.number + 1, role, server, now) {
            Ok(process) => {
                self.number += 1;
                Some(process)
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn Error, "no channel for a new process");
                None
            }
        }
    }
}

impl Reactor {
    /// Starts the fork server if there is none.
    pub(super) fn launch_server(&mut self, now: Instant) {
        let launch = &mut self.launch;
        let due = launch.start_at.is_none_or(|at| now >= at);
        if launch.server.is_some() || !due || self.closing.is_some() {
            return;
        }
        let started = Server::start(&launch.recipe).and_then(|server| {
            self.waiting.hear(server.control(), Source::Control)?;
            self.waiting.hear(server.pidfd(), Source::Server)?;
            Ok(server)
        });
        match started {
            Ok(server) => {
                launch.phase = Phase::Importing;
                launch.crowded = false;
                launch.started_at = Some(now);
                launch.server = Some(server);
            }
            Err(error) => self.server_failed(&error.into(), now),
        }
    }

    pub(super) fn start(&mut self, settings: PoolSettings) {
        self.books.on_stray.clone_from(&settings.stray_results);
        self.scale.set_up(&settings);
        self.launch.prepare(&settings);
        self.settings = Some(settings);
    }

    pub(super) fn flush_control(&mut self) {
        if let Some(server) = &mut self.launch.server {
            let crowded = !server.flush();
            if crowded != self.launch.crowded {
                self.launch.crowded = crowded;
                self.waiting
                    .hear_room(server.control(), Source::Control, crowded);
            }
        }
    }

    /// The fork server has said something, or hung up.
    pub(super) fn on_control(&mut self, now: Instant) {
        let Some(server) = &mut self.launch.server else {
            return;
        };
        let notices = server.notices();
        if server.has_hung_up() || notices.is_err() {
            // Its end, which is now certain, is heard by itself.
            self.waiting.forget(server.control());
            server.kill();
        }
        match notices {
            Ok(notices) => {
                for notice in notices {
                    self.on_notice(notice, now);
                }
            }
            Err(junk) => tracing::error!(%junk, "the fork server speaks junk and is killed"),
        }
    }

    fn on_notice(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::Report(report) => {
                self.launch.phase = Phase::Imported;
                self.news.imported(Ok(*report));
                if let Some(settings) = &self.settings {
                    self.launch.prepare(settings);
                }
            }
            Notice::Prepared {} => self.launch.phase = Phase::Ready,
            Notice::Failed(failure) => self.launch.failure = Some(failure),
            Notice::Forked { number, pid } => self.on_forked(number, pid),
            Notice::Exited { number, status } => {
                if let Some(process) = self.process_mut(number) {
                    process.has_died(now);
                    process.status = Some(status);
                }
            }
        }
    }

    fn on_forked(&mut self, number: u64, pid: i32) {
        let children = self.children.iter_mut().map(|child| &mut child.process);
        let mut processes = children.chain(&mut self.desk.process);
        if let Some(process) = processes.find(|process| process.number == number)
            && let Some(pidfd) = process.exists(pid)
            && let Err(error) = self.waiting.hear(pidfd, Source::Death(number))
        {
            tracing::error!(error = &error as &dyn Error, "a process cannot be watched");
        }
    }

    /// The fork server has ended: all that it has forked goes with it.
    pub(super) fn on_server_death(&mut self, now: Instant) {
        // What it said last says why.
        self.on_control(now);
        let Some(mut server) = self.launch.server.take() else {
            return;
        };
        let status = server
            .ended()
            .map_or_else(|| "unknown".to_owned(), |status| status.to_string());
        let children = self.children.iter_mut().map(|child| &mut child.process);
        for process in children.chain(&mut self.desk.process) {
            process.orphan(now);
        }
        if self.launch.told_to_end {
            return;
        }
        let error = match self.launch.failure.take() {
            Some(failure) => StartError::App {
                why: failure.why,
                traceback: failure.traceback,
                advice: failure.advice,
            },
            None => StartError::Died { status },
        };
        self.server_failed(&error, now);
    }

    /// Tells whoever waits for the start, or tries again if the pool has run before, though not for ever.
    fn server_failed(&mut self, error: &StartError, now: Instant) {
        if self.news.started(Err(error.clone())) {
            self.killed = true;
            return;
        }
        let launch = &mut self.launch;
        let was_sound = launch.started_at.take().is_some_and(|at| now >= at + SOUND);
        launch.deaths = if was_sound { 1 } else { launch.deaths + 1 };
        if launch.deaths >= MOST_DEATHS {
            self.news.failed(StartError::KeepsDying {
                times: launch.deaths,
                last: Box::new(error.clone()),
            });
            self.killed = true;
            return;
        }
        let retry_in = PAUSE * 2_u32.saturating_pow(launch.deaths - 1);
        tracing::error!(
            error = error as &dyn Error,
            ?retry_in,
            "the fork server ended and is started again"
        );
        self.launch.start_at = Some(now + retry_in);
    }
}
