//! Decoding bytes that somebody else wrote: frames, persisted objects, state.
//!
//! Whatever the bytes are, the answer is a value or an error: no panic, and no more memory than the bytes justify. A length
//! that is longer than what is left is refused before anything is reserved for it, and bytes behind the value are refused.
//!
//! Not handled: types that take no bytes at all, whose number nothing bounds; nobody may send a `Vec` of them
//! ([`crate::element::RecordCodec`] bounds it for records).

use bincode::Options;
use serde::de::DeserializeOwned;

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
mod tests {
    use super::*;

    #[test]
    fn bytes_behind_the_value_are_refused_unless_it_is_one_of_several() {
        let bytes = bincode::serialize(&(7_u32, "seven")).expect("serialises");
        let longer = [&bytes[..], &[1]].concat();
        assert_eq!(decode::<(u32, String)>(&bytes).expect("its own bytes"), (7, "seven".to_owned()));
        assert!(decode::<(u32, String)>(&longer).is_err());
        let mut rest = &longer[..];
        assert_eq!(decode_next::<(u32, String)>(&mut rest).expect("its own bytes"), (7, "seven".to_owned()));
        assert_eq!(rest, [1]);
    }
}
