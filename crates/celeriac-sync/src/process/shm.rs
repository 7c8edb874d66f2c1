//! What is found by a [name](super::named) on this machine, for people who look after it.

use super::names::Names;
use super::segment::{Kind, Segment};
use crate::SyncError;

/// What has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its type, without that of its items; `None` if nothing has the name any more.
    pub kind: Option<&'static str>,
    /// The processes that have it, by their numbers.
    pub users: Vec<u32>,
    /// How many bytes of memory it takes.
    pub bytes: u64,
}

/// All names of this user, in their order.
///
/// Those without [users](Named::users) are left over from processes that were killed: no memory hangs on
/// them.
///
/// ```
/// use celeriac_sync::process::{Lock, named, shm};
///
/// let name = format!("till-{}", std::process::id());
/// let till = named(&name, Lock::new)?;
/// let all = shm::list()?;
/// let till = all.iter().find(|one| one.name == name).unwrap();
/// assert_eq!((till.kind, &till.users[..]), (Some("Lock"), &[std::process::id()][..]));
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
///
/// # Errors
///
/// [`Gone`](SyncError::Gone) if another user has taken the place where names are, and
/// [`NoMemory`](SyncError::NoMemory) if there is none.
pub fn list() -> Result<Vec<Named>, SyncError> {
    let names = Names::lock()?;
    names
        .all()
        .into_iter()
        .map(|name| look(&names, name))
        .collect()
}

/// Removes the names that nothing has any more, and gives them.
///
/// # Errors
///
/// As [`list`].
pub fn clean() -> Result<Vec<String>, SyncError> {
    let names = Names::lock()?;
    let mut removed = Vec::new();
    for name in names.all() {
        for address in names.addresses(&name)? {
            if Segment::look(address).is_none() {
                names.remove(&name, address);
            }
        }
        if names.forget(&name) {
            removed.push(name);
        }
    }
    Ok(removed)
}

fn look(names: &Names, name: String) -> Result<Named, SyncError> {
    let (mut kind, mut users, mut bytes) = (None, Vec::new(), 0);
    for address in names.addresses(&name)? {
        if let Some((of, takes)) = Segment::look(address) {
            kind = Some(Kind::name_of(of));
            users.push(address.pid);
            bytes = takes;
        }
    }
    users.sort_unstable();
    Ok(Named {
        name,
        kind,
        users,
        bytes,
    })
}
