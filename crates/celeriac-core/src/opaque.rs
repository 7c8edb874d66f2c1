//! Content types that are not read here, each remembered once.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// So many are remembered. What names one more is not known; an app has a handful.
const MOST: usize = 64;

/// The longest name that is remembered, in bytes.
const LONGEST: usize = 100;

static REMEMBERED: RwLock<Vec<&'static str>> = RwLock::new(Vec::new());

/// A content type that is not read here, such as one of a serializer that an app registered with
/// kombu.
///
/// Names are never forgotten, so that copies are cheap, and bounded in number and length, so that no
/// sender can fill the memory with them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpaqueType(&'static str);

impl OpaqueType {
    /// The content type of this name; nothing if it is no MIME type of at most 100 bytes, or 64 others
    /// are remembered already.
    pub fn named(mime: &str) -> Option<Self> {
        let is_mime = mime.len() <= LONGEST
            && mime.contains('/')
            && mime.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_mime {
            return None;
        }
        let find = |names: &[&'static str]| names.iter().copied().find(|name| *name == mime);
        let known = find(&REMEMBERED.read().unwrap_or_else(PoisonError::into_inner));
        if let Some(known) = known {
            return Some(Self(known));
        }
        let mut names = REMEMBERED.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = find(&names) {
            return Some(Self(known));
        }
        (names.len() < MOST).then(|| {
            let name: &'static str = Box::leak(mime.into());
            names.push(name);
            Self(name)
        })
    }

    /// Its name.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Debug for OpaqueType {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0)
    }
}

impl Serialize for OpaqueType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for OpaqueType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        Self::named(&name).ok_or_else(|| de::Error::custom("this content type is not known"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_remembered_once_and_no_more_than_so_many() {
        let shop = OpaqueType::named("application/x-shop").unwrap();
        let again = OpaqueType::named(&String::from("application/x-shop")).unwrap();
        assert!(std::ptr::eq(shop.as_str(), again.as_str()));
        for index in 0..2 * MOST {
            let _ = OpaqueType::named(&format!("application/x-{index}"));
        }
        assert_eq!(OpaqueType::named("application/x-one-more"), None);
        assert_eq!(OpaqueType::named("application/x-shop"), Some(shop));
    }

    #[test]
    fn what_is_no_mime_type_is_refused() {
        let long = format!("application/{}", "x".repeat(LONGEST));
        for bad in ["", "shop", "a b/c", "a/\u{e9}", "a/\0", &long] {
            assert_eq!(OpaqueType::named(bad), None, "{bad:?}");
        }
    }
}
