//! How an object of a place is made, and how it travels: as its place and its name.

use serde::{Deserialize, Serialize};

use super::place::Cluster;
use super::session::Shared;
use super::state::Plan;
use crate::SyncError;

/// What of an object travels. Addresses have no passwords.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Address {
    place: String,
    name: String,
    plan: Plan,
}

impl Address {
    pub(super) fn of(shared: &Shared, place: &Cluster) -> Self {
        Self {
            place: place.address().to_owned(),
            name: shared.name().as_ref().to_owned(),
            plan: shared.plan().clone(),
        }
    }

    /// The object that was sent, if it is what it is taken for.
    pub(super) fn open(
        self,
        fits: impl FnOnce(&Plan) -> bool,
    ) -> Result<(Shared, Cluster), String> {
        if !fits(&self.plan) {
            return Err(SyncError::OtherType.to_string());
        }
        let place = Cluster::known(&self.place).map_err(|error| error.to_string())?;
        let shared = place.open_as(&self.name, self.plan);
        Ok((shared.map_err(|error| error.to_string())?, place))
    }
}

/// Makes a type with the fields `shared` and `place` and the rest `$rest` serialisable, and able to be made.
macro_rules! handle {
    ($name:ident [$($param:ident),*], $kind:ident) => {
        impl<$($param),*> $name<$($param),*> {
            fn from_parts(shared: super::session::Shared, place: super::place::Cluster) -> Self {
                Self {
                    shared,
                    place,
                    items: std::marker::PhantomData,
                }
            }

            fn plan(size: usize) -> super::state::Plan {
                super::state::Plan {
                    kind: super::state::Kind::$kind,
                    size: size as u64,
                    shape: std::any::type_name::<($($param,)*)>().to_owned(),
                    named: false,
                }
            }

            fn make(
                place: &super::place::Cluster,
                name: Option<&str>,
                size: usize,
            ) -> Result<Self, $crate::SyncError> {
                let shared = place.open(name, Self::plan(size))?;
                Ok(Self::from_parts(shared, place.clone()))
            }

            /// Its name at its place.
            pub fn name(&self) -> &str {
                self.shared.name()
            }
        }

        impl<$($param),*> Clone for $name<$($param),*> {
            fn clone(&self) -> Self {
                Self::from_parts(self.shared.clone(), self.place.clone())
            }
        }

        impl<$($param),*> std::fmt::Debug for $name<$($param),*> {
            fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter
                    .debug_struct(stringify!($name))
                    .field("place", &self.place.address())
                    .field("name", &self.name())
                    .finish()
            }
        }

        impl<$($param),*> serde::Serialize for $name<$($param),*> {
            /// As a place and a name, by which other processes and machines find the same object. The
            /// place is without its password: those have to know that by themselves.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                super::handle::Address::of(&self.shared, &self.place).serialize(serializer)
            }
        }

        impl<'de, $($param),*> serde::Deserialize<'de> for $name<$($param),*> {
            fn deserialize<De: serde::Deserializer<'de>>(deserializer: De) -> Result<Self, De::Error> {
                let address = super::handle::Address::deserialize(deserializer)?;
                let own = Self::plan(0);
                let fits = |plan: &super::state::Plan| plan.kind == own.kind && plan.shape == own.shape;
                let (shared, place) = address.open(fits).map_err(serde::de::Error::custom)?;
                Ok(Self::from_parts(shared, place))
            }
        }
    };
}
pub(super) use handle;

/// Writes the constructors of a type that is made of nothing but a place, of the size `$size`.
///
/// `$new` says what is made, and `$named` what has a name.
macro_rules! makers {
    ($new:literal, $named:literal, $size:expr) => {
        #[doc = concat!($new, ", at the place that the variable `CELERIAC_CLUSTER` names.")]
        ///
        /// # Errors
        ///
        /// [`Unreachable`](crate::SyncError::Unreachable) if it names none that can be connected.
        pub fn new() -> Result<Self, $crate::SyncError> {
            Self::new_in(&super::place::Cluster::of_program()?)
        }

        #[doc = concat!($new, ", at this place.")]
        ///
        /// # Errors
        ///
        /// None.
        pub fn new_in(place: &super::place::Cluster) -> Result<Self, $crate::SyncError> {
            Self::make(place, None, $size)
        }

        #[doc = concat!($named, " of this name at this place; whoever names it has the same one.")]
        ///
        /// # Errors
        ///
        /// [`OtherType`](crate::SyncError::OtherType) if something else has this name, and
        /// [`Unreachable`](crate::SyncError::Unreachable).
        pub fn named(place: &super::place::Cluster, name: &str) -> Result<Self, $crate::SyncError> {
            Self::make(place, Some(name), $size)
        }
    };
}
pub(super) use makers;
