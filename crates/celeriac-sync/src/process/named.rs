//! What processes find by its name instead of being sent it.

use super::names::Names;
use super::segment::{Address, Segment};
use crate::SyncError;

/// What has one segment, and can be found by a name: every type of this scope but a
/// [`Pipe`](super::Pipe), whose ends are two.
#[expect(private_bounds, reason = "what is shared is for this module to say")]
pub trait Shared: Handle {}

/// What is known by the address of its segment.
pub(super) trait Handle: Sized {
    fn address(&self) -> Address;
    fn open(address: Address) -> Result<Self, SyncError>;
}

/// What has this name, for all processes of this user on this machine; made by `make` if nothing has.
///
/// It ends with the last process that has it, also if that is killed; only its name may be left then,
/// until somebody takes it again or [cleans](super::shm::clean) up. One process at a time makes or finds
/// something, so `make` must not look for names itself.
///
/// ```
/// use celeriac_sync::process::{Queue, named};
///
/// let name = format!("orders-{}", std::process::id());
/// let orders: Queue<String> = named(&name, || Queue::bounded(100))?;
/// let same: Queue<String> = named(&name, || Queue::bounded(100))?;
/// orders.put("tea".to_owned())?;
/// assert_eq!(*same.get()?, "tea");
/// assert!(named(&name, || Queue::<u8>::bounded(100)).is_err());
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
///
/// # Errors
///
/// [`OtherType`](SyncError::OtherType) if another type has the name, [`BadName`](SyncError::BadName) if it
/// is none, [`Gone`](SyncError::Gone) if another user has taken the place where names are,
/// [`NoMemory`](SyncError::NoMemory) if there is no room there, and what `make` gives.
pub fn named<T: Shared>(
    name: &str,
    make: impl FnOnce() -> Result<T, SyncError>,
) -> Result<T, SyncError> {
    let names = Names::lock()?;
    for address in names.addresses(name)? {
        match T::open(address) {
            Ok(found) => {
                names.add(name, found.address())?;
                return Ok(found);
            }
            // Of one that has ended.
            Err(SyncError::Gone) => names.remove(name, address),
            Err(why) => return Err(why),
        }
    }
    let made = make()?;
    names.add(name, made.address())?;
    Ok(made)
}

impl Names {
    /// Says that this process has what an address names, for as long as it has.
    fn add(&self, name: &str, address: Address) -> Result<(), SyncError> {
        if let Some(link) = self.write(name, address)? {
            Segment::keep(address, link);
        }
        Ok(())
    }
}
