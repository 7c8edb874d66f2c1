//! What a child is told when it starts.

use super::arena::Shape;
use super::wire::{Fields, VERSION};

/// The first message to a child; the arena's descriptor travels with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setup {
    pub(super) shape: Shape,
    /// Whether calls run as coroutines, as many at once as there are lanes.
    pub(super) coroutines: bool,
    /// The largest result, in bytes.
    pub(super) body_limit: usize,
}

impl Setup {
    pub(super) const SIZE: usize = 17;

    pub(super) fn write(self) -> Vec<u8> {
        let small = |number: usize| u32::try_from(number).expect("pools are checked to be small");
        let mut out = Vec::with_capacity(Self::SIZE);
        out.extend_from_slice(&small(self.shape.lanes).to_le_bytes());
        out.extend_from_slice(&small(self.shape.seats).to_le_bytes());
        out.push(u8::from(self.coroutines));
        out.extend_from_slice(&(self.body_limit as u64).to_le_bytes());
        out
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "it was a usize of this binary"
    )]
    pub(super) fn read(bytes: &[u8; Self::SIZE]) -> Self {
        let mut fields = Fields(bytes);
        let mut read = || {
            Some(Self {
                shape: Shape {
                    lanes: fields.u32()? as usize,
                    seats: fields.u32()? as usize,
                },
                coroutines: fields.u8()? != 0,
                body_limit: fields.u64()? as usize,
            })
        };
        read().expect("the size is that of all fields")
    }
}

/// The value of the environment variable that makes a process a child of this one.
pub(super) fn marker() -> String {
    format!("{VERSION}:{}", std::process::id())
}

/// The process id of the parent that a marker names.
pub(super) fn read_marker(marker: &str) -> Option<i32> {
    let (version, parent) = marker.split_once(':')?;
    (version == VERSION.to_string())
        .then(|| parent.parse().ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setup_survives_its_bytes() {
        let setup = Setup {
            shape: Shape { lanes: 7, seats: 9 },
            coroutines: true,
            body_limit: 1 << 40,
        };
        let bytes = setup.write().try_into().unwrap();
        assert_eq!(Setup::read(&bytes), setup);
    }

    #[test]
    fn a_marker_of_another_version_is_no_marker() {
        assert_eq!(
            read_marker(&marker()),
            Some(i32::try_from(std::process::id()).unwrap())
        );
        for other in ["", "1", "0:1", "1:x", "x:1"] {
            assert_eq!(read_marker(other), None, "{other}");
        }
    }
}
