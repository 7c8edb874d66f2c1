//! What is looked at, and what keys do.

use std::fmt;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::fleet::Fleet;

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Tab {
    #[default]
    Workers,
    Queues,
    Tasks,
    Calls,
    Dead,
}

impl Tab {
    pub(super) const ALL: [Self; 5] = [
        Self::Workers,
        Self::Queues,
        Self::Tasks,
        Self::Calls,
        Self::Dead,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Workers => "workers",
            Self::Queues => "queues",
            Self::Tasks => "tasks",
            Self::Calls => "calls",
            Self::Dead => "dead",
        }
    }

    /// What can be done here.
    pub(super) fn keys(self) -> &'static str {
        match self {
            Self::Workers => "s stop it warm",
            Self::Queues => "p pause  u resume",
            Self::Tasks => "l limit its rate",
            Self::Calls => "r revoke  R revoke, and end it if it runs",
            Self::Dead => "t try it again",
        }
    }

    fn len(self, fleet: &Fleet) -> usize {
        match self {
            Self::Workers => fleet.workers.len(),
            Self::Queues => fleet.queues.len(),
            Self::Tasks => fleet.tasks.len(),
            Self::Calls => fleet.calls.len(),
            Self::Dead => fleet.dead.len(),
        }
    }
}

/// What an operator wants done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    Revoke(String),
    Terminate(String),
    Pause(String),
    Resume(String),
    Limit(String, String),
    Stop(String),
    Retry(i64),
}

impl fmt::Display for Action {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoke(id) => write!(formatter, "revoke {id}"),
            Self::Terminate(id) => write!(formatter, "terminate {id}"),
            Self::Pause(queue) => write!(formatter, "pause {queue}"),
            Self::Resume(queue) => write!(formatter, "resume {queue}"),
            Self::Limit(task, rate) => write!(formatter, "limit {task} to {rate}"),
            Self::Stop(worker) => write!(formatter, "stop {worker}"),
            Self::Retry(number) => write!(formatter, "try {number} again"),
        }
    }
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    Leave,
    Do(Action),
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Screen {
    pub(super) tab: Tab,
    /// The line that is chosen.
    pub(super) line: usize,
    /// A rate that is being typed, and of which task.
    pub(super) typing: Option<(String, String)>,
}

impl Screen {
    /// Takes a key.
    pub(super) fn press(&mut self, key: KeyEvent, fleet: &Fleet) -> Wish {
        if key.kind == KeyEventKind::Release {
            return Wish::Nothing;
        }
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && key.code == KeyCode::Char('c') {
            return Wish::Leave;
        }
        if let Some(typing) = self.typing.take() {
            return self.type_on(typing, key.code);
        }
        let last = self.tab.len(fleet).saturating_sub(1);
        self.line = self.line.min(last);
        match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Wish::Leave,
            KeyCode::Down | KeyCode::Char('j') => self.line = (self.line + 1).min(last),
            KeyCode::Up | KeyCode::Char('k') => self.line = self.line.saturating_sub(1),
            KeyCode::Tab | KeyCode::Right => self.turn(1),
            KeyCode::BackTab | KeyCode::Left => self.turn(Tab::ALL.len() - 1),
            KeyCode::Char(digit @ '1'..='5') => {
                let number = usize::from(digit as u8 - b'1');
                (self.tab, self.line) = (Tab::ALL[number], 0);
            }
            KeyCode::Char(letter) => {
                return self.act(letter, fleet).map_or(Wish::Nothing, Wish::Do);
            }
            _ => {}
        }
        Wish::Nothing
    }

    fn turn(&mut self, by: usize) {
        let now = Tab::ALL.iter().position(|tab| *tab == self.tab);
        let next = (now.unwrap_or_default() + by) % Tab::ALL.len();
        (self.tab, self.line) = (Tab::ALL[next], 0);
    }

    fn act(&mut self, letter: char, fleet: &Fleet) -> Option<Action> {
        let call = || fleet.calls.get(self.line).map(|call| call.id.clone());
        let queue = || {
            fleet
                .queues
                .get(self.line)
                .map(|queue| queue.name.to_string())
        };
        match (self.tab, letter) {
            (Tab::Workers, 's') => {
                let worker = fleet.workers.keys().nth(self.line);
                worker.cloned().map(Action::Stop)
            }
            (Tab::Queues, 'p') => queue().map(Action::Pause),
            (Tab::Queues, 'u') => queue().map(Action::Resume),
            (Tab::Tasks, 'l') => {
                let task = fleet.tasks.keys().nth(self.line)?;
                self.typing = Some((task.clone(), String::new()));
                None
            }
            (Tab::Calls, 'r') => call().map(Action::Revoke),
            (Tab::Calls, 'R') => call().map(Action::Terminate),
            (Tab::Dead, 't') => fleet
                .dead
                .get(self.line)
                .map(|dead| Action::Retry(dead.number)),
            _ => None,
        }
    }

    fn type_on(&mut self, (task, mut rate): (String, String), key: KeyCode) -> Wish {
        match key {
            KeyCode::Esc => return Wish::Nothing,
            KeyCode::Enter if rate.is_empty() => return Wish::Nothing,
            KeyCode::Enter => return Wish::Do(Action::Limit(task, rate)),
            KeyCode::Backspace => {
                rate.pop();
            }
            KeyCode::Char(c) if rate.len() < 20 => rate.push(c),
            _ => {}
        }
        self.typing = Some((task, rate));
        Wish::Nothing
    }
}

#[cfg(test)]
mod tests {
    use super::super::fleet::tests::busy;
    use super::*;

    fn press(screen: &mut Screen, keys: &[KeyCode]) -> Wish {
        let fleet = busy();
        let mut press = |key: &KeyCode| screen.press((*key).into(), &fleet);
        keys.iter().map(&mut press).last().unwrap()
    }

    #[test]
    fn keys_do_what_they_say_to_the_line_that_is_chosen() {
        use KeyCode::{BackTab, Char, Down, Enter, Tab, Up};
        for (keys, action) in [
            (&[Char('4'), Char('r')][..], Action::Revoke("c-3".into())),
            (
                &[Char('4'), Down, Char('R')],
                Action::Terminate("c-2".into()),
            ),
            (
                &[Down, Down, Down, Up, Char('s')],
                Action::Stop("a@box".into()),
            ),
            (&[Tab, Char('p')], Action::Pause("celery".into())),
            (&[Char('2'), Char('u')], Action::Resume("celery".into())),
            (
                &[
                    BackTab,
                    BackTab,
                    BackTab,
                    Char('l'),
                    Char('9'),
                    Char('/'),
                    Char('m'),
                    Enter,
                ],
                Action::Limit("shop.add".into(), "9/m".into()),
            ),
        ] {
            assert_eq!(
                press(&mut Screen::default(), keys),
                Wish::Do(action),
                "{keys:?}"
            );
        }
    }

    #[test]
    fn what_is_typed_is_no_command_until_it_is_entered() {
        use KeyCode::{Char, Enter, Esc};
        let mut screen = Screen::default();
        assert_eq!(
            press(&mut screen, &[Char('3'), Char('l'), Char('q')]),
            Wish::Nothing
        );
        assert_eq!(press(&mut screen, &[Esc]), Wish::Nothing);
        assert_eq!(press(&mut screen, &[Char('l'), Enter]), Wish::Nothing);
        assert_eq!(press(&mut screen, &[Char('5'), Char('t')]), Wish::Nothing);
        assert_eq!(press(&mut screen, &[Char('q')]), Wish::Leave);
    }
}
