//! One side's views of the regions in which large bodies travel.
//!
//! Copying through a mapping saves the kernel's look at every page, a third of what `pread` and
//! `pwrite` take. It is for bodies whose pages are kept; the few that are longer go by those.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;

use super::arena::{Arena, KEPT_BYTES, Region};
use crate::os::SharedBytes;

/// Mappings made so far.
#[derive(Default)]
pub(super) struct Views(HashMap<Region, View>);

struct View {
    bytes: SharedBytes,
    /// So many of them have memory behind them for certain.
    backed: u64,
}

impl Views {
    /// Puts `bytes` at `offset` of a region.
    pub(super) fn write(
        &mut self,
        arena: &Arena,
        region: Region,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let end = offset + bytes.len() as u64;
        let Some(view) = self.of(arena, region, end) else {
            return arena.write(region, offset, bytes);
        };
        if view.backed < end {
            // Memory that is missing behind a mapping is no error but the end of the process.
            arena.back(region, end)?;
            view.backed = end;
        }
        view.bytes.write(place(offset), bytes);
        Ok(())
    }

    /// Copies `len` bytes from `offset` on out of a region.
    pub(super) fn read(
        &mut self,
        arena: &Arena,
        region: Region,
        offset: u64,
        len: usize,
    ) -> io::Result<Vec<u8>> {
        match self.of(arena, region, offset + len as u64) {
            Some(view) => Ok(view.bytes.read(place(offset), len)),
            None => arena.read(region, offset, len),
        }
    }

    /// The view of a region that goes up to `end`, if one can be had.
    fn of(&mut self, arena: &Arena, region: Region, end: u64) -> Option<&mut View> {
        if end > KEPT_BYTES {
            return None;
        }
        Some(match self.0.entry(region) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(place) => place.insert(View {
                bytes: arena.view(region).ok()?,
                backed: 0,
            }),
        })
    }
}

fn place(offset: u64) -> usize {
    usize::try_from(offset).expect("it is below what is kept")
}

#[cfg(test)]
mod tests {
    use super::super::arena::Shape;
    use super::*;

    const SHAPE: Shape = Shape { lanes: 1, seats: 2 };

    #[test]
    fn what_is_written_here_is_read_there_within_a_view_and_beyond() {
        let arena = Arena::create(SHAPE).unwrap();
        let (mut here, mut there) = (Views::default(), Views::default());
        for region in [Region::inbox(1), Region::outbox(1)] {
            for offset in [0, 5, KEPT_BYTES - 3, KEPT_BYTES - 2, KEPT_BYTES] {
                here.write(&arena, region, offset, b"abc").unwrap();
                assert_eq!(there.read(&arena, region, offset, 3).unwrap(), b"abc");
                assert_eq!(arena.read(region, offset, 3).unwrap(), b"abc");
            }
        }
    }
}
