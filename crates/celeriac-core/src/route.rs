//! Where a task is sent for which nobody has said it.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::destination::{Destination, DestinationError};
use crate::queue::QueueName;
use crate::registry::Registry;
use crate::signature::CallOptions;
use crate::topology::Topology;

/// Rules from the names of tasks to queues and exchanges; the first that fits decides.
///
/// They are asked for a call whose signature says nothing, of a task that names no queue itself. What
/// no rule fits goes to the default queue.
///
/// ```
/// # use celeriac_core::{Destination, Routes};
/// let routes = Routes::new()
///     .to("shop.charge", "money".parse()?)
///     .to("shop.*", "shop".parse()?)
///     .to("feed.*", Destination::exchange("world", "news.feed")?)
///     .by(|task| task.ends_with("_slowly").then(|| "slow".parse().ok()).flatten());
/// assert_eq!(routes.of("shop.charge").to_string(), "money");
/// assert_eq!(routes.of("shop.ship").to_string(), "shop");
/// assert_eq!(routes.of("feed.poll").to_string(), "world/news.feed");
/// assert_eq!(routes.of("film.encode_slowly").to_string(), "slow");
/// assert_eq!(routes.of("film.cut"), Destination::default());
/// # Ok::<(), celeriac_core::DestinationError>(())
/// ```
///
/// # Sources
///
/// Order and patterns follow Celery's `task_routes`; a pattern is that of Python's `fnmatch`, less its
/// sets of characters.
#[derive(Clone, Default)]
pub struct Routes {
    rules: Vec<Rule>,
    default: Destination,
    topology: Arc<Topology>,
}

#[derive(Clone)]
enum Rule {
    Pattern(Arc<str>, Destination),
    Function(Choice),
}

type Choice = Arc<dyn Fn(&str) -> Option<Destination> + Send + Sync>;

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// There is no `=`.
    #[error("`{0}` is no route; write PATTERN=QUEUE, as in `shop.*=money`")]
    Form(String),
    /// What follows the `=` is no queue name.
    #[error(transparent)]
    Queue(#[from] crate::queue::QueueNameError),
}

impl Routes {
    /// No rules: everything goes to the queue `celery`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sends tasks whose name fits `pattern` there: `*` fits any characters, `?` any one.
    #[must_use]
    pub fn to(mut self, pattern: &str, destination: Destination) -> Self {
        self.rules.push(Rule::Pattern(pattern.into(), destination));
        self
    }

    /// Sends the tasks for which `choose` says where there.
    #[must_use]
    pub fn by(
        mut self,
        choose: impl Fn(&str) -> Option<Destination> + Send + Sync + 'static,
    ) -> Self {
        self.rules.push(Rule::Function(Arc::new(choose)));
        self
    }

    /// Sends what no rule fits to `queue`, instead of `celery`.
    #[must_use]
    pub fn default_queue(mut self, queue: QueueName) -> Self {
        self.default = queue.into();
        self
    }

    /// Knows how these queues are reached: a queue that is bound to a topic or fanout exchange is sent
    /// to through it.
    #[must_use]
    pub fn through(mut self, topology: Arc<Topology>) -> Self {
        self.topology = topology;
        self
    }

    /// The queues that are defined.
    pub fn topology(&self) -> &Arc<Topology> {
        &self.topology
    }

    /// Adds a rule in the form `PATTERN=QUEUE`.
    ///
    /// # Errors
    ///
    /// [`RouteError`] if `text` has another form.
    pub fn with(self, text: &str) -> Result<Self, RouteError> {
        let (pattern, queue) = text
            .rsplit_once('=')
            .filter(|(pattern, _)| !pattern.is_empty())
            .ok_or_else(|| RouteError::Form(text.to_owned()))?;
        Ok(self.to(pattern, Destination::from_str(queue)?))
    }

    /// Where a call goes whose options say this, of a task that names this queue itself.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] if what they say is no place to send to.
    pub fn choose(
        &self,
        options: &CallOptions,
        own_queue: Option<&str>,
        task: &str,
    ) -> Result<Destination, DestinationError> {
        if let Some(destination) = options.destination()? {
            return Ok(self.topology.reach(destination));
        }
        match own_queue {
            Some(own) => Ok(self.topology.reach(own.parse()?)),
            None => Ok(self.of(task)),
        }
    }

    /// The queues that a program serves which says nothing else: those it defines, and those its tasks
    /// go to by their names.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] if a task names a queue that can be none.
    pub fn queues_of(&self, registry: &Registry) -> Result<BTreeSet<QueueName>, DestinationError> {
        let mut queues: BTreeSet<_> = self.topology.names().cloned().collect();
        for task in registry.iter() {
            let to = self.choose(&CallOptions::default(), task.options.queue, task.name)?;
            queues.extend(to.queue().cloned());
        }
        Ok(queues)
    }

    /// Where the task of this name goes.
    pub fn of(&self, task: &str) -> Destination {
        let fits = |rule: &Rule| match rule {
            Rule::Pattern(pattern, to) => {
                matches(pattern.as_bytes(), task.as_bytes()).then(|| to.clone())
            }
            Rule::Function(choose) => choose(task),
        };
        let chosen = self.rules.iter().find_map(fits);
        self.topology
            .reach(chosen.unwrap_or_else(|| self.default.clone()))
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = formatter.debug_map();
        for rule in &self.rules {
            match rule {
                Rule::Pattern(pattern, to) => map.entry(pattern, to),
                Rule::Function(_) => map.entry(&"(a function)", &"(its choice)"),
            };
        }
        map.entry(&"*", &self.default).finish()
    }
}

/// Whether `name` fits `pattern`. Takes no longer than the product of their lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut from) = (0, 0);
    // The last star, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while from < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, from));
                at += 1;
            }
            Some(&byte) if byte == b'?' || byte == name[from] => {
                at += 1;
                from += 1;
            }
            _ => match &mut star {
                Some((position, taken)) => {
                    *taken += 1;
                    (at, from) = (*position + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn patterns_fit_as_in_a_shell() {
        for (pattern, name, fits) in [
            ("shop.charge", "shop.charge", true),
            ("shop.charge", "shop.charges", false),
            ("shop.*", "shop.", true),
            ("shop.*", "shop", false),
            ("*", "", true),
            ("*.charge", "shop.eu.charge", true),
            ("s*p.ch?rge", "shop.charge", true),
            ("*a*b*c", "aabbcc", true),
            ("*a*b*c", "aacc", false),
            ("", "x", false),
        ] {
            assert_eq!(
                matches(pattern.as_bytes(), name.as_bytes()),
                fits,
                "{pattern} {name}"
            );
        }
    }

    proptest! {
        /// What a name becomes when some of it is replaced by stars fits it.
        #[test]
        fn a_name_fits_its_own_patterns(parts in prop::collection::vec("[a-c]{0,3}", 0..5)) {
            let (name, pattern) = (parts.concat(), parts.join("*"));
            prop_assert!(matches(pattern.as_bytes(), name.as_bytes()));
        }
    }

    #[test]
    fn a_rule_is_read_from_text_or_refused() {
        let routes = Routes::new().with("a=b=fast").unwrap();
        assert_eq!(routes.of("a=b").to_string(), "fast");
        assert!(matches!(
            Routes::new().with("shop"),
            Err(RouteError::Form(_))
        ));
        assert!(matches!(Routes::new().with("=q"), Err(RouteError::Form(_))));
        assert!(matches!(
            Routes::new().with("shop="),
            Err(RouteError::Queue(_))
        ));
    }
}
