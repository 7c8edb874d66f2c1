//! `top`: workers, queues, tasks and calls as they are now, on a terminal, with keys that change them.
//!
//! Everything is asked of the broker and of the workers, Celery's and ours, every few seconds; what
//! workers tell of calls is heard as it happens. Nothing is switched on for that which was off.

mod actions;
mod fleet;
mod screen;
mod sources;
mod view;

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use celeriac_core::{Broker, Bus};
use clap::Args;
use ratatui::crossterm::event::{self, Event};
use ratatui::{DefaultTerminal, TerminalOptions, Viewport};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::actions::carry_out;
use self::fleet::{Fleet, News};
use self::screen::{Screen, Wish};
use super::duration::duration;
use super::exit::{Exit, Failure};
use super::{GlobalArgs, connect};

/// How often the screen is drawn at most.
const DRAWN: Duration = Duration::from_millis(250);
/// The most that waits to be taken in: what tells more waits.
const MOST: usize = 1000;
/// What ends a program, and must find the terminal as it was.
const ENDING: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];

/// What `top` is told.
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// How often workers and queues are asked
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = duration)]
    interval: Duration,
}

/// What is asked and told.
#[derive(Debug, Clone)]
struct Site {
    broker: Arc<dyn Broker>,
    /// Nothing if this broker has no remote control.
    bus: Option<Arc<dyn Bus>>,
    /// How it is shown: without a password.
    shown: String,
}

/// Shows it all until a key or a signal ends it.
pub(super) async fn run(args: TopArgs, global: &GlobalArgs) -> Result<Exit, Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        let failure = Failure::new(Exit::Usage, "`top` needs a terminal");
        return Err(failure.help("`status`, `queues` and `events` print, with --json too"));
    }
    let shown = connect::url(global)?.to_string();
    let broker = connect::open(global).await?;
    let site = Site {
        bus: broker.bus(),
        broker,
        shown,
    };
    let failed = |error: io::Error| {
        Failure::new(Exit::Unexpected, "cannot draw on this terminal").because(error)
    };
    // Before the terminal is another, so that no signal leaves it so.
    let signals = signals().map_err(failed)?;
    let mut terminal = ratatui::try_init_with_options(TerminalOptions {
        viewport: Viewport::Fullscreen,
    })
    .map_err(failed)?;
    let shown = show(&mut terminal, site, args.interval, signals).await;
    // It shows the cursor again.
    drop(terminal);
    ratatui::restore();
    if let Some(signal) = shown.map_err(failed)? {
        // Who waits for the program sees what has ended it.
        emulate_default_handler(signal).map_err(failed)?;
    }
    Ok(Exit::Done)
}

/// Draws until it is left; gives the signal, if one has ended it.
async fn show(
    terminal: &mut DefaultTerminal,
    site: Site,
    every: Duration,
    mut signals: mpsc::Receiver<i32>,
) -> io::Result<Option<i32>> {
    let (tell, mut news) = mpsc::channel(MOST);
    let mut keys = keys()?;
    tokio::spawn(sources::poll(site.clone(), every, tell.clone()));
    tokio::spawn(sources::listen(site.clone(), tell.clone()));
    let mut fleet = Fleet::new(site.shown.clone());
    let mut screen = Screen::default();
    let mut ticks = interval(DRAWN);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            told = news.recv() => {
                // We hold a sender ourselves.
                let told = told.expect("somebody can tell");
                fleet.hear(told, Instant::now().into_std());
            }
            Some(signal) = signals.recv() => return Ok(Some(signal)),
            key = keys.recv() => {
                let Some(event) = key else { return Ok(None) };
                if let Event::Key(key) = event {
                    match screen.press(key, &fleet) {
                        Wish::Nothing => {}
                        Wish::Leave => return Ok(None),
                        Wish::Do(action) => {
                            fleet.hear(News::Said(format!("{action} …")), Instant::now().into_std());
                            tokio::spawn(carry_out(action, site.clone(), tell.clone()));
                        }
                    }
                }
                terminal.draw(|frame| view::draw(frame, &fleet, &mut screen))?;
            }
            _ = ticks.tick() => {
                terminal.draw(|frame| view::draw(frame, &fleet, &mut screen))?;
            }
        }
    }
}

/// What is pressed, and that the terminal has another size. The end of it is the end of the terminal.
fn keys() -> io::Result<mpsc::Receiver<Event>> {
    let (tell, keys) = mpsc::channel(16);
    thread::Builder::new()
        .name("celeriac-keys".to_owned())
        .spawn(move || {
            // It waits for a key when the program ends, which does not wait for it.
            while let Ok(event) = event::read() {
                if tell.blocking_send(event).is_err() {
                    return;
                }
            }
        })?;
    Ok(keys)
}

/// The signals that would have ended the program.
fn signals() -> io::Result<mpsc::Receiver<i32>> {
    let mut signals = Signals::new(ENDING)?;
    let (tell, told) = mpsc::channel(1);
    thread::Builder::new()
        .name("celeriac-signals".to_owned())
        .spawn(move || {
            // One is enough, and nobody waits for this thread either.
            for signal in signals.forever() {
                let _ = tell.try_send(signal);
            }
        })?;
    Ok(told)
}
