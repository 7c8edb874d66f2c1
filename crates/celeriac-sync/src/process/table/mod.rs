//! Dictionaries and lists.

mod buckets;
mod dict;
mod entry;
mod guard;
mod list;
mod rows;
mod store;

pub use dict::{Dict, DictGuard};
pub use list::{List, ListGuard};
