//! The port: what a place must be able to do to hold objects.

use std::time::Duration;

use super::Error;
use super::state::{Batch, Outcome, Session};

/// One session's way to a place.
///
/// A store has two verbs. It carries batches out, each on one object and each whole or not at all, with
/// [`Object::apply`](super::state::Object::apply); and it tells a session when others have answered it.
pub(super) trait Store: Send {
    /// Carries batches out in their order, and gives an outcome for each.
    ///
    /// # Errors
    ///
    /// The place was not reached, or answered nonsense. Each of the batches is carried out then or it is
    /// not; sending it again does no harm.
    fn apply(&mut self, batches: &[Batch]) -> Result<Vec<Outcome>, Error>;

    /// Begins to listen for what is told to `session`.
    ///
    /// # Errors
    ///
    /// The place was not reached.
    fn listen(&mut self, session: Session) -> Result<Box<dyn Ear>, Error>;
}

/// Hears for one session.
pub(super) trait Ear: Send {
    /// Waits, but no longer than `most`, and gives the objects where there are answers for the session.
    ///
    /// # Errors
    ///
    /// Something may have been missed: whoever waits has to look, and to listen anew.
    fn hear(&mut self, most: Duration) -> Result<Vec<String>, Error>;
}
