//! A seed: the one number that decides a run, together with the version of the generator that reads it.
//!
//! It prints as `g10:0x00000000000004d2`. [`GENERATOR`] changes whenever the same number would draw another plan
//! or another world, so that an old seed is refused as *stale* instead of passing for another run.

use cofferdam_engine::hash::stable_hash;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// The version of everything between a number and a run: plan strategies, input text, keyed randomness.
pub const GENERATOR: u32 = 10;

/// A seed of this generator.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Seed(pub u64);

impl Seed {
    /// The seed `steps` further on.
    pub fn plus(self, steps: u64) -> Self {
        Self(self.0.wrapping_add(steps))
    }

    /// 32 bytes for a random stream of its own, told from others by `purpose`.
    pub fn stream(self, purpose: &str) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (n, chunk) in bytes.chunks_exact_mut(8).enumerate() {
            chunk.copy_from_slice(&stable_hash(&(purpose, n as u64, self.0)).to_le_bytes());
        }
        bytes
    }
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{GENERATOR}:0x{:016x}", self.0)
    }
}

/// Why a text is not a seed that can be run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SeedError {
    /// It is no seed at all.
    #[error("`{0}` is not a seed: expected something like g{GENERATOR}:0x4d2")]
    Malformed(String),
    /// It belongs to another build.
    #[error("seed {seed} belongs to generator g{generator}; this build has g{GENERATOR} and would run something else")]
    OtherGenerator {
        /// As given.
        seed: String,
        /// Whose it is.
        generator: u32,
    },
}

impl FromStr for Seed {
    type Err = SeedError;

    /// Reads `g10:0x4d2`; without the generator, this build's is meant.
    fn from_str(text: &str) -> Result<Self, SeedError> {
        let malformed = || SeedError::Malformed(text.to_owned());
        let number = match text.strip_prefix('g').and_then(|rest| rest.split_once(':')) {
            Some((generator, number)) => {
                let generator = generator.parse().map_err(|_| malformed())?;
                if generator != GENERATOR {
                    return Err(SeedError::OtherGenerator { seed: text.to_owned(), generator });
                }
                number
            }
            None => text,
        };
        let parsed = match number.strip_prefix("0x") {
            Some(hex) => u64::from_str_radix(hex, 16),
            None => number.parse(),
        };
        parsed.map(Self).map_err(|_| malformed())
    }
}

impl TryFrom<String> for Seed {
    type Error = SeedError;
    fn try_from(text: String) -> Result<Self, SeedError> {
        text.parse()
    }
}

impl From<Seed> for String {
    fn from(seed: Seed) -> Self {
        seed.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_reads_back_what_it_prints() {
        for number in [0, 1234, u64::MAX] {
            assert_eq!(Seed(number).to_string().parse(), Ok(Seed(number)));
        }
        assert_eq!("0x4d2".parse(), Ok(Seed(1234)));
        assert_eq!("1234".parse(), Ok(Seed(1234)));
    }

    #[test]
    fn a_seed_of_another_generator_is_refused_by_name() {
        let error = "g999:0x1".parse::<Seed>().expect_err("another generator");
        assert!(matches!(error, SeedError::OtherGenerator { generator: 999, .. }), "{error}");
    }

    #[test]
    fn nonsense_is_no_seed() {
        for text in ["", "g10:", "g10:0x", "gx:1", "0xzz", "-1", "g10:0x11111111111111111"] {
            assert_eq!(text.parse::<Seed>(), Err(SeedError::Malformed(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn streams_differ_by_purpose_and_seed() {
        assert_ne!(Seed(1).stream("plan"), Seed(1).stream("input"));
        assert_ne!(Seed(1).stream("plan"), Seed(2).stream("plan"));
    }
}
