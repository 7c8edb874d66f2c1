//! How a type of shared memory travels: as the address of its segment.

/// Makes a type, whose first field has `open` and `address` as `$inner` does, serialisable.
macro_rules! handle {
    ($name:ident [$($param:ident : $bound:path)?], $plan:expr, $inner:ty) => {
        impl<$($param: $bound)?> $crate::process::named::Shared for $name<$($param)?> {}

        impl<$($param: $bound)?> $crate::process::named::Handle for $name<$($param)?> {
            fn address(&self) -> $crate::process::segment::Address {
                self.0.address()
            }

            fn open(
                address: $crate::process::segment::Address,
            ) -> Result<Self, $crate::SyncError> {
                <$inner>::open(address, $plan).map(Self::from_inner)
            }
        }

        impl<$($param: $bound)?> serde::Serialize for $name<$($param)?> {
            /// As an address that other processes of this user on this machine can open, for as long as
            /// this one keeps what it names.
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.0.address().serialize(serializer)
            }
        }

        impl<'de, $($param: $bound)?> serde::Deserialize<'de> for $name<$($param)?> {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let address = serde::Deserialize::deserialize(deserializer)?;
                let opened = <$inner>::open(address, $plan);
                let opened = opened.map_err(serde::de::Error::custom)?;
                Ok(Self::from_inner(opened))
            }
        }
    };
}
pub(super) use handle;
