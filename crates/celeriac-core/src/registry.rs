//! The tasks this program knows, by name.

use std::collections::BTreeMap;

use crate::brief::Brief;
use crate::builtin;
use crate::task::TaskDefinition;

/// The tasks that `#[task]` registered, gathered by the linker.
///
/// The slice is complete before any code of the program runs, which is what lets a pool's children
/// enter before `main`. A crate of tasks that the program never names is not linked, and then its
/// tasks are not here: name it with `use tasks as _;`.
#[linkme::distributed_slice]
pub static TASKS: [&'static TaskDefinition];

/// Every task of this program: those of [`TASKS`], then those that every Celery worker has.
///
/// The order is the same in each process of the program.
pub fn all() -> impl Iterator<Item = &'static TaskDefinition> {
    TASKS.iter().copied().chain(builtin::ALL)
}

/// Tasks by name, each name once.
///
/// The tasks that every Celery worker has, such as `celery.map`, are found by their names but not
/// listed.
#[derive(Debug, Clone, Default)]
pub struct Registry {
    tasks: BTreeMap<&'static str, &'static TaskDefinition>,
}

/// Why the tasks of a program cannot be served.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// Two functions claim one name.
    #[error(
        "two tasks are named `{name}`: {first} and {second}; give one of them another `name`{}",
        list(known)
    )]
    Duplicate {
        /// The name.
        name: String,
        /// The signature of one.
        first: String,
        /// The signature of the other.
        second: String,
        /// The names of all tasks.
        known: Vec<String>,
    },
    /// There is no task.
    #[error(
        "no task is registered; mark a function with `#[celeriac::task]`, and if the tasks are in \
         another crate, name it in this one with `use that_crate as _;`"
    )]
    Empty,
    /// No task has this name.
    #[error(
        "no task is named `{}`{}{}",
        Brief(name),
        nearest(name, known),
        list(known)
    )]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names of all tasks.
        known: Vec<String>,
    },
}

fn list(known: &[String]) -> String {
    format!("; registered: {}", known.join(", "))
}

fn nearest(name: &str, known: &[String]) -> String {
    let last = |name: &str| name.rsplit(['.', ':']).next().map(str::to_owned);
    known
        .iter()
        .find(|other| last(other) == last(name))
        .map_or_else(String::new, |other| format!(", did you mean `{other}`?"))
}

impl Registry {
    /// The tasks that `#[task]` registered in this program.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Duplicate`] if two have one name.
    pub fn collect() -> Result<Self, RegistryError> {
        Self::of(TASKS.iter().copied())
    }

    /// A registry of just these tasks.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Duplicate`] if two have one name.
    pub fn of(
        tasks: impl IntoIterator<Item = &'static TaskDefinition>,
    ) -> Result<Self, RegistryError> {
        let mut registry = Self::default();
        let mut twice = None;
        for task in tasks {
            if let Some(first) = registry.tasks.insert(task.name, task)
                && !std::ptr::eq(first, task)
            {
                twice.get_or_insert((first, task));
            }
        }
        match twice {
            None => Ok(registry),
            Some((first, second)) => Err(RegistryError::Duplicate {
                name: first.name.to_owned(),
                first: first.signature.to_owned(),
                second: second.signature.to_owned(),
                known: registry.names(),
            }),
        }
    }

    /// Refuses a registry without tasks.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Empty`].
    pub fn require_tasks(&self) -> Result<(), RegistryError> {
        if self.tasks.is_empty() {
            Err(RegistryError::Empty)
        } else {
            Ok(())
        }
    }

    /// The task named `name`.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Unknown`], with the names there are.
    pub fn get(&self, name: &str) -> Result<&'static TaskDefinition, RegistryError> {
        self.tasks
            .get(name)
            .copied()
            .or_else(|| builtin::find(name))
            .ok_or_else(|| RegistryError::Unknown {
                name: name.to_owned(),
                known: self.names(),
            })
    }

    /// All tasks, by name.
    pub fn iter(&self) -> impl Iterator<Item = &'static TaskDefinition> {
        self.tasks.values().copied()
    }

    /// The names of all tasks, sorted.
    pub fn names(&self) -> Vec<String> {
        self.tasks.keys().map(|&name| name.to_owned()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Run, TaskOptions};

    const fn task(name: &'static str, signature: &'static str) -> TaskDefinition {
        TaskDefinition {
            name,
            signature,
            parameters: &[],
            is_async: false,
            wants_context: false,
            options: TaskOptions::DEFAULT,
            call: |_, _, _| Run::Ready(Ok(Vec::new())),
        }
    }

    static ADD: TaskDefinition = task("shop.add", "add()");
    static OTHER: TaskDefinition = task("shop.add", "other()");

    #[test]
    fn two_tasks_of_one_name_are_refused_with_the_list() {
        let error = Registry::of([&ADD, &OTHER]).unwrap_err().to_string();
        assert!(error.contains("`shop.add`: add() and other()"), "{error}");
        assert!(error.contains("registered: shop.add"), "{error}");
    }

    #[test]
    fn the_same_task_twice_is_one_task() {
        assert_eq!(Registry::of([&ADD, &ADD]).unwrap().names(), ["shop.add"]);
    }

    #[test]
    fn an_unknown_task_is_refused_with_a_suggestion() {
        let error = Registry::of([&ADD])
            .unwrap()
            .get("add")
            .unwrap_err()
            .to_string();
        assert!(error.contains("did you mean `shop.add`?"), "{error}");
    }

    #[test]
    fn no_task_is_refused() {
        assert_eq!(
            Registry::default().require_tasks(),
            Err(RegistryError::Empty)
        );
    }
}
