//! Data under a lock: its guards hold a copy, and put it back when they are dropped.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

use super::codec::{Shareable, decode, encode};
use super::state::Data;
use crate::SyncError;

/// What stands at a place, as its guard has it.
pub(super) trait Content: Sized {
    fn encode(&self) -> Result<Data, SyncError>;
    fn decode(data: Data) -> Result<Self, SyncError>;
}

/// One value, as the only item.
pub(super) struct One<T>(pub(super) T);

impl<T: Shareable> Content for One<T> {
    fn encode(&self) -> Result<Data, SyncError> {
        Ok(Data::Items(vec![encode(&self.0)?]))
    }

    fn decode(data: Data) -> Result<Self, SyncError> {
        match data {
            Data::Items(items) => items.first().map(decode).ok_or(SyncError::Gone)?.map(Self),
            Data::Entries(_) => Err(SyncError::OtherType),
        }
    }
}

impl<T: Shareable> Content for Vec<T> {
    fn encode(&self) -> Result<Data, SyncError> {
        Ok(Data::Items(
            self.iter().map(encode).collect::<Result<_, _>>()?,
        ))
    }

    fn decode(data: Data) -> Result<Self, SyncError> {
        match data {
            Data::Items(items) => items.iter().map(decode).collect(),
            Data::Entries(_) => Err(SyncError::OtherType),
        }
    }
}

impl<K: Shareable + Eq + Hash, V: Shareable, S: BuildHasher + Default> Content
    for HashMap<K, V, S>
{
    fn encode(&self) -> Result<Data, SyncError> {
        let entry = |(key, value)| Ok((encode(key)?, encode(value)?));
        let entries: Result<BTreeMap<_, _>, SyncError> = self.iter().map(entry).collect();
        Ok(Data::Entries(entries?))
    }

    fn decode(data: Data) -> Result<Self, SyncError> {
        match data {
            Data::Entries(entries) => {
                let entry = |(key, value)| Ok((decode(key)?, decode(value)?));
                entries.iter().map(entry).collect()
            }
            Data::Items(_) => Err(SyncError::OtherType),
        }
    }
}

/// Writes the guard of a type, whose data is `$content` and looks like `$target`.
macro_rules! guarded {
    ($name:ident, $guard:ident [$($param:ident: $bound:path),*] $content:ty => $target:ty, $get:expr, $get_mut:expr) => {
        impl<$($param: $bound),*> $name<$($param),*> {
            super::forms::forms! {
                /// Takes the lock, and with it a copy of the data, which is put back when the guard is dropped.
                ///
                /// # Errors
                ///
                /// [`Unreachable`](crate::SyncError::Unreachable), [`OtherType`](crate::SyncError::OtherType)
                /// if it cannot be decoded, and [`Gone`](crate::SyncError::Gone) if it is not there any more.
                lock, lock_for, try_lock, lock_async -> $guard<'_ $(, $param)*>,
                super::state::Op::Acquire { ask: Some(super::state::Ask::All) } => guard
            }

            fn guard(
                &self,
                answered: super::session::Answered,
            ) -> Result<$guard<'_ $(, $param)*>, $crate::SyncError> {
                let (stake, reply) = super::stake::Stake::of(&self.shared, answered)?;
                let data = super::guarded::Content::decode(reply.data()?)?;
                Ok($guard {
                    of: self,
                    stake,
                    data,
                    changed: false,
                })
            }
        }

        #[doc = concat!("Holds a [`", stringify!($name), "`] until it is dropped, or until its lease runs out.")]
        ///
        /// A change that comes too late is not made: [`release`](Self::release) tells.
        #[must_use = "the data is given back at once if nobody keeps the guard"]
        pub struct $guard<'a $(, $param: $bound)*> {
            of: &'a $name<$($param),*>,
            stake: super::stake::Stake,
            data: $content,
            changed: bool,
        }

        impl<'a $(, $param: $bound)*> $guard<'a $(, $param)*> {
            super::stake::held!();

            /// Whether the holder before died or panicked. What its guard had not put back is not changed.
            pub fn recovered(&self) -> bool {
                self.stake.recovered
            }

            /// Puts the data back and gives the lock back, and tells whether both were done.
            ///
            /// # Errors
            ///
            /// [`Lost`](crate::SyncError::Lost) if the lease ran out: nothing is changed then.
            /// [`Unreachable`](crate::SyncError::Unreachable), and
            /// [`Encoding`](crate::SyncError::Encoding).
            pub fn release(mut self) -> Result<(), $crate::SyncError> {
                let op = self.back()?;
                self.stake.finish(op).map(drop)
            }

            fn back(&self) -> Result<super::state::Op, $crate::SyncError> {
                use super::guarded::Content as _;
                let data = self.changed.then(|| self.data.encode()).transpose()?;
                data.as_ref().map_or(Ok(()), super::state::Data::fits)?;
                Ok(self.stake.release(data.map(super::state::Ask::Replace)))
            }

            #[allow(dead_code, reason = "conditions give some guards back and take them again")]
            pub(super) fn lock(&self) -> &'a $name<$($param),*> {
                self.of
            }
        }

        impl<$($param: $bound),*> std::ops::Deref for $guard<'_ $(, $param)*> {
            type Target = $target;

            fn deref(&self) -> &$target {
                let get: fn(&$content) -> &$target = $get;
                get(&self.data)
            }
        }

        impl<$($param: $bound),*> std::ops::DerefMut for $guard<'_ $(, $param)*> {
            fn deref_mut(&mut self) -> &mut $target {
                self.changed = true;
                let get: fn(&mut $content) -> &mut $target = $get_mut;
                get(&mut self.data)
            }
        }

        impl<$($param: $bound),*> Drop for $guard<'_ $(, $param)*> {
            fn drop(&mut self) {
                // What cannot be encoded is left as it was, and half done.
                let op = self.back().unwrap_or(super::state::Op::Release {
                    of: self.stake.ticket(),
                    dirty: true,
                    ask: None,
                });
                self.stake.give_back(op);
            }
        }

        impl<$($param: $bound),*> std::fmt::Debug for $guard<'_ $(, $param)*> {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let guard = &mut formatter.debug_struct(stringify!($guard));
                guard.field("fence", &self.fence()).finish_non_exhaustive()
            }
        }
    };
}
pub(super) use guarded;
