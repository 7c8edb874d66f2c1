//! `top` on a terminal, pressed by a test.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::num::NonZeroU16;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use celeriac_testkit::peers::unique;
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::support::{On, Project};

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
        let screen = terminal.screen.lock().unwrap();
        assert!(!screen.screen().alternate_screen() && !screen.screen().hide_cursor());
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
