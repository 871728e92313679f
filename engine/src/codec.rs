//! Encoding state, and decoding bytes that another process wrote: frames, persisted objects, state.
//!
//! State is encoded so that equal values have equal bytes ([`Encoding`]).
//!
//! Whatever the bytes are, the answer is a value or an error: no panic, and no more memory than the bytes justify. A length
//! that is longer than what is left is refused before anything is reserved for it, and bytes behind the value are refused.
//!
//! Not handled: types that take no bytes at all, whose number nothing bounds; no message may hold a `Vec` of them
//! ([`crate::element::RecordCodec`] bounds it for records).

mod canonical;

use crate::layout::Layout;
use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How the values of one type are encoded as state. Both yield the same bytes for a type without maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// As bincode does.
    Plain,
    /// With the entries of maps sorted by the bytes of their keys; slower.
    Canonical,
}

impl Encoding {
    /// The cheapest encoding that gives equal values of this layout equal bytes.
    pub fn of(layout: &Layout) -> Self {
        if layout.may_hold_map() { Self::Canonical } else { Self::Plain }
    }

    /// Appends the bytes of `value`.
    #[inline]
    pub fn append<T: Serialize>(self, value: &T, out: &mut Vec<u8>) {
        let result = match self {
            Self::Plain => bincode::serialize_into(out, value),
            Self::Canonical => canonical::append(value, out),
        };
        result.expect("state serialises");
    }

    /// The bytes of `value`.
    pub fn encode<T: Serialize>(self, value: &T) -> Vec<u8> {
        match self {
            // Which knows the length beforehand.
            Self::Plain => bincode::serialize(value).expect("state serialises"),
            Self::Canonical => {
                let mut bytes = Vec::new();
                self.append(value, &mut bytes);
                bytes
            }
        }
    }
}

fn options(bytes: usize) -> impl Options {
    bincode::DefaultOptions::new().with_fixint_encoding().with_limit(bytes as u64)
}

/// The value that `bytes` are, all of them.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> bincode::Result<T> {
    options(bytes.len()).reject_trailing_bytes().deserialize(bytes)
}

/// The value that `bytes` begin with, which is taken from them.
pub fn decode_next<T: DeserializeOwned>(bytes: &mut &[u8]) -> bincode::Result<T> {
    options(bytes.len()).allow_trailing_bytes().deserialize_from(bytes)
}

#[cfg(test)]
mod tests;
