//! `top` on a terminal, pressed by a test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use celeriac_testkit::peers::unique;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::support::{On, Project, wait_until};

/// How long a test waits for what has to be shown.
const PATIENCE: Duration = Duration::from_secs(60);

/// A terminal, and the program that draws on it.
pub(crate) struct Terminal {
    keys: File,
    screen: Arc<Mutex<vt100::Parser>>,
    child: Child,
}

impl Terminal {
    /// Starts `celeriac` with these words on a terminal of 140 columns.
    pub(crate) fn start(project: &Project, words: &str) -> Self {
        let [rows, columns] = [24, 140].map(|it| NonZeroU16::new(it).unwrap());
        let keys = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keys).unwrap();
        unlockpt(&keys).unwrap();
        let size = Winsize {
            ws_row: rows.get(),
            ws_col: columns.get(),
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let name = ptsname(&keys, Vec::new()).unwrap();
        let inside = open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
        tcsetwinsize(&inside, size).unwrap();
        let inside = File::from(inside);
        let end = |file: &File| Stdio::from(file.try_clone().unwrap());
        let mut command = project.command(words);
        command
            .stdin(end(&inside))
            .stdout(end(&inside))
            .stderr(end(&inside));
        let child = command.env("TERM", "xterm-256color").spawn().unwrap();
        let keys = File::from(keys);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(rows, columns, 0)));
        let (mut drawn, seen) = (keys.try_clone().unwrap(), screen.clone());
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            // It fails once nobody has the other end any more.
            while let Ok(count @ 1..) = drawn.read(&mut bytes) {
                seen.lock().unwrap().process(&bytes[..count]);
            }
        });
        Self {
            keys,
            screen,
            child,
        }
    }

    fn shown(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    pub(crate) fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Goes down until the line with this text is chosen.
    fn choose(&mut self, text: &str) {
        wait_until(&format!("no line `{text}` can be chosen"), || {
            let screen = self.screen.lock().unwrap();
            let screen = screen.screen();
            let (_, columns) = screen.size();
            let is_chosen = |row| screen.cell(row, 0).is_some_and(vt100::Cell::inverse);
            let rows = (0..).zip(screen.rows(0, columns.get()));
            let mut chosen = rows.filter(|(row, _)| is_chosen(*row));
            if chosen.any(|(_, line)| line.contains(text)) {
                return true;
            }
            let mut keys = &self.keys;
            keys.write_all(b"j").unwrap();
            false
        });
    }

    /// Whether keys are read one by one, and not shown by the terminal itself.
    fn is_raw(&self) -> bool {
        let modes = tcgetattr(&self.keys).unwrap().local_modes;
        !modes.intersects(LocalModes::ICANON | LocalModes::ECHO)
    }

    /// Waits until it is as it was before the program.
    fn until_restored(&self) {
        wait_until(
            "keys are read one by one, or something is still drawn",
            || {
                let screen = self.screen.lock().unwrap();
                let screen = screen.screen();
                !screen.alternate_screen() && !screen.hide_cursor() && !self.is_raw()
            },
        );
    }

    /// Waits until one line shows all of these words.
    pub(crate) fn until_line(&self, words: &[&str]) {
        let begun = Instant::now();
        loop {
            let shown = self.shown();
            let has_all = |line: &str| words.iter().all(|word| line.contains(word));
            if shown.lines().any(has_all) {
                return;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "no line with {words:?} in\n{shown}"
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for the program's end, which has to be a good one.
    pub(crate) fn ends(&mut self) {
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn an_operator_sees_what_runs_and_ends_it_by_a_key() {
    for on in [On::Redis, On::RabbitMq] {
        let project = Project::new("operated", on);
        let node = format!("{}@here", unique("w"));
        let _worker = project.worker(&format!("-n {node} -E -c 1"));
        let call = project.run("answer = nap.delay(600).id");
        let call = call.as_str().unwrap();
        let words = format!("-b {} top --interval 300ms", project.broker());
        let mut terminal = Terminal::start(&project, &words);
        terminal.until_line(&[&node, "1/1"]);
        terminal.press("2");
        terminal.until_line(&[project.queue(), "0"]);
        terminal.press("3");
        terminal.until_line(&["proj.nap", "1"]);
        terminal.press("4");
        terminal.until_line(&[call, "proj.nap", "started"]);
        // It ends what runs, and says what came of it.
        terminal.press("R");
        terminal.until_line(&["terminate", call, &node]);
        terminal.until_line(&[call, "revoked"]);
        let state = project.run(&format!(
            "import celery.exceptions\n\
             result = app.AsyncResult({call:?})\n\
             try:\n    result.get(timeout=60)\n    answer = 'returned'\n\
             except celery.exceptions.TaskRevokedError:\n    answer = result.state"
        ));
        assert_eq!(state, "REVOKED", "{on:?}");
        terminal.press("3l");
        terminal.until_line(&["rate of proj.nap"]);
        terminal.press("7/m\r");
        terminal.until_line(&["limit proj.nap to 7/m", "new rate limit set successfully"]);
        terminal.press("q");
        terminal.ends();
        terminal.until_restored();
    }
}

#[test]
fn keys_change_what_workers_on_redis_do() {
    keys_revoke_pause_and_try_again(On::Redis);
}

#[test]
fn keys_change_what_workers_on_rabbitmq_do() {
    keys_revoke_pause_and_try_again(On::RabbitMq);
}

/// A call that waits is revoked, a queue paused, and a dead message tried again.
fn keys_revoke_pause_and_try_again(on: On) {
    let project = Project::new("plain", on);
    let node = format!("{}@here", unique("w"));
    let _worker = project.worker(&format!("-n {node} -E -c 1"));
    let words = format!("-b {} top --interval 300ms", project.broker());
    let mut terminal = Terminal::start(&project, &words);
    terminal.until_line(&[&node, "0/1"]);
    let queue = project.queue();

    // Of two calls the one that waits is revoked; the other has to end before that is seen.
    let ids = project.run("answer = [nap.delay(600).id, add.delay(1, 2).id]");
    let [runs, waits] = [&ids[0], &ids[1]].map(|id| id.as_str().unwrap());
    terminal.press("4");
    terminal.until_line(&[runs, "started"]);
    terminal.until_line(&[waits, "received"]);
    terminal.choose(waits);
    terminal.press("r");
    terminal.until_line(&["revoke", waits, &node]);
    terminal.choose(runs);
    terminal.press("R");
    terminal.until_line(&["terminate", runs, &node]);
    terminal.until_line(&[waits, "revoked"]);

    terminal.press("2");
    terminal.choose(queue);
    terminal.press("p");
    terminal.until_line(&["pause", queue, "no longer consuming from"]);
    let id = project.run("answer = add.delay(20, 22).id");
    terminal.until_line(&[queue, " 1 "]);
    terminal.press("u");
    terminal.until_line(&["resume", queue, &node]);
    let script = format!("answer = app.AsyncResult({id}).get(timeout=60)");
    assert_eq!(project.run(&script), 42, "{on:?}");

    project.run("answer = rejected.delay().id");
    terminal.press("5");
    terminal.until_line(&["rejected", "its task rejected the message"]);
    terminal.choose("rejected");
    terminal.press("t");
    terminal.until_line(&["try ", " again: 1 sent again"]);
    wait_until("it does not run again", || {
        project.notes("rejected").len() == 2
    });
    terminal.press("q");
    terminal.ends();
}

#[test]
fn a_signal_leaves_the_terminal_as_it_was() {
    let project = Project::new("operated", On::Redis);
    let words = format!("-b {} top --interval 300ms", project.broker());
    for signal in [Signal::TERM, Signal::HUP, Signal::INT] {
        let mut terminal = Terminal::start(&project, &words);
        terminal.until_line(&["q leave"]);
        assert!(terminal.is_raw());
        kill_process(Pid::from_child(&terminal.child), signal).unwrap();
        let status = terminal.child.wait().unwrap();
        assert_eq!(status.signal(), Some(signal.as_raw()));
        terminal.until_restored();
    }
}

#[test]
fn without_a_terminal_it_says_what_there_is_instead() {
    let project = Project::new("operated", On::Redis);
    let words = format!("-b {} top", project.broker());
    let output = project
        .command(&words)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("`top` needs a terminal"), "{error}");
}
