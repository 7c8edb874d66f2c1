//! The name of one task call, from the client that makes it to the result it leaves.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// Identifies one call of a task, across retries and machines.
///
/// Ours are version 7 UUIDs, which sort by age and so keep an index's writes together. Other
/// producers may send any text, and it is kept as it came.
///
/// ```
/// # use celeriac_core::TaskId;
/// let id: TaskId = "order-17".into();
/// assert_eq!(id.to_string(), "order-17");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(Repr);

#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Repr {
    Uuid(Uuid),
    Text(Arc<str>),
}

impl TaskId {
    /// A new id, different from every other one.
    pub fn new() -> Self {
        Self(Repr::Uuid(Uuid::now_v7()))
    }

    /// The id of the `index`-th call of a chunk whose first call has this id.
    ///
    /// A text id gets the index appended; `nth(0)` is the id itself.
    #[must_use]
    pub fn nth(&self, index: usize) -> Self {
        match &self.0 {
            _ if index == 0 => self.clone(),
            Repr::Uuid(uuid) => {
                let (high, low) = uuid.as_u64_pair();
                // The low 62 bits are random in version 7; the two bits above them are the variant.
                let random = (low.wrapping_add(index as u64)) & (u64::MAX >> 2);
                Self(Repr::Uuid(Uuid::from_u64_pair(
                    high,
                    (low & !(u64::MAX >> 2)) | random,
                )))
            }
            Repr::Text(text) => Self(Repr::Text(format!("{text}-{index}").into())),
        }
    }

    /// Whether it is a UUID, and so plain ASCII in its text.
    pub fn is_uuid(&self) -> bool {
        matches!(self.0, Repr::Uuid(_))
    }
}

impl Default for TaskId {
    fn default() -> Self {
        Self::new()
    }
}

impl From<&str> for TaskId {
    /// Keeps `text` to the letter; the canonical form of a UUID is stored as one.
    fn from(text: &str) -> Self {
        match Uuid::try_parse(text) {
            Ok(uuid) if uuid.hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text => {
                Self(Repr::Uuid(uuid))
            }
            _ => Self(Repr::Text(text.into())),
        }
    }
}

impl From<&Self> for TaskId {
    fn from(id: &Self) -> Self {
        id.clone()
    }
}

impl From<String> for TaskId {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Uuid(uuid) => uuid.hyphenated().fmt(formatter),
            Repr::Text(text) => formatter.pad(text),
        }
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "TaskId({self})")
    }
}

impl Serialize for TaskId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TaskId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::TaskId;

    #[test]
    fn any_text_is_kept_to_the_letter() {
        for text in ["x", "", "7", "67E55044-10B1-426F-9247-BB680E5FE0C8", "ä ö"] {
            assert_eq!(TaskId::from(text).to_string(), text);
        }
    }

    #[test]
    fn calls_of_a_chunk_have_different_ids() {
        let first = TaskId::new();
        let ids: std::collections::HashSet<_> = (0..10_000).map(|index| first.nth(index)).collect();
        assert_eq!(ids.len(), 10_000);
        assert!(ids.contains(&first));
    }

    #[test]
    fn an_id_survives_json() {
        let id = TaskId::new();
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<TaskId>(&text).unwrap(), id);
    }
}
