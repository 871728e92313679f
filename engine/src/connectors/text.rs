//! [`Text`]: a compact byte string, the record type of lines and words.
//!
//! Up to [`INLINE_BYTES_MAX`] bytes lie in the value itself: a word costs no allocation, and cloning it for a key costs
//! nothing either. Nothing demands UTF-8: a file is what it is.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// More bytes than this need an allocation.
pub const INLINE_BYTES_MAX: usize = 22;

/// Bytes, usually of text.
#[derive(Clone)]
pub struct Text(Place);

#[derive(Clone)]
enum Place {
    Inline { length: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Heap(Box<[u8]>),
}

impl Text {
    /// The bytes.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Place::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Place::Heap(bytes) => bytes,
        }
    }

    /// The words: what lies between ASCII white space.
    pub fn words(&self) -> impl Iterator<Item = Text> {
        let parts = self.as_bytes().split(u8::is_ascii_whitespace);
        parts.filter(|word| !word.is_empty()).map(Text::from)
    }
}

impl From<&[u8]> for Text {
    #[inline]
    fn from(source: &[u8]) -> Self {
        if source.len() <= INLINE_BYTES_MAX {
            let mut bytes = [0; INLINE_BYTES_MAX];
            bytes[..source.len()].copy_from_slice(source);
            Self(Place::Inline { length: source.len() as u8, bytes })
        } else {
            Self(Place::Heap(source.into()))
        }
    }
}

impl From<&str> for Text {
    fn from(source: &str) -> Self {
        source.as_bytes().into()
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for Text {}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl Hash for Text {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // The bytes alone, by one call: key groups depend on it.
        state.write(self.as_bytes());
        state.write_u8(0xff);
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.as_bytes().escape_ascii())
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(self.as_bytes()))
    }
}

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.as_bytes())
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }
            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Text, E> {
                Ok(bytes.into())
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::stable_hash;
    use proptest::prelude::*;

    #[test]
    fn short_text_takes_three_words_of_memory() {
        assert_eq!(size_of::<Text>(), 24);
    }

    #[test]
    fn words_lie_between_white_space() {
        let words: Vec<Text> = Text::from(" to\tbe  or\r").words().collect();
        assert_eq!(words, ["to", "be", "or"].map(Text::from));
        assert_eq!(Text::from("").words().count(), 0);
    }

    proptest! {
        #[test]
        fn text_is_its_bytes(a in prop::collection::vec(any::<u8>(), 0..64), b in prop::collection::vec(any::<u8>(), 0..64)) {
            let (x, y) = (Text::from(&a[..]), Text::from(&b[..]));
            prop_assert_eq!(x.as_bytes(), &a[..]);
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x == y, a == b);
            prop_assert_eq!(stable_hash(&x) == stable_hash(&y), a == b);
            let bytes = bincode::serialize(&x).expect("text serialises");
            prop_assert_eq!(bytes.len(), a.len() + 8);
            prop_assert_eq!(bincode::deserialize::<Text>(&bytes).expect("its own bytes"), x);
        }
    }
}
