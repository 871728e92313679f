//! What the environment says about a check.

use crate::cli::fresh_seed;
use crate::seed::Seed;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

/// What is to be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Steering {
    /// Seeds.
    Seeds {
        /// The first.
        first: Seed,
        /// How many.
        count: u64,
        /// Whether runs that failed before come first.
        kept: bool,
    },
    /// One capsule.
    Capsule {
        /// Its file.
        path: PathBuf,
        /// Whether to aim its faults again.
        re_aim: bool,
    },
}

impl Steering {
    /// Reads the variables; an error is one line.
    pub fn of(variable: impl Fn(&'static str) -> Option<String>, first: Seed, count: u64) -> Result<Self, String> {
        if let Some(path) = variable("COFFERDAM_CAPSULE") {
            return Ok(Self::Capsule { path: path.into(), re_aim: variable("COFFERDAM_RE_AIM").is_some() });
        }
        if let Some(seed) = parsed("COFFERDAM_SEED", &variable)? {
            return Ok(Self::Seeds { first: seed, count: 1, kept: false });
        }
        let first = match variable("COFFERDAM_FROM").as_deref() {
            Some("fresh") => fresh_seed(),
            _ => parsed("COFFERDAM_FROM", &variable)?.unwrap_or(first),
        };
        let count = parsed("COFFERDAM_SEEDS", &variable)?.unwrap_or(count);
        Ok(Self::Seeds { first, count, kept: true })
    }
}

fn parsed<T: FromStr<Err: Display>>(
    name: &'static str,
    variable: &impl Fn(&'static str) -> Option<String>,
) -> Result<Option<T>, String> {
    variable(name).map(|text| text.parse().map_err(|cause| format!("{name}: {cause}"))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steering(variables: &[(&str, &str)]) -> Result<Steering, String> {
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.to_string());
        Steering::of(value, Seed(0), 200)
    }

    #[test]
    fn the_environment_chooses_what_is_run() {
        let seeds = |first, count, kept| Ok(Steering::Seeds { first: Seed(first), count, kept });
        assert_eq!(steering(&[]), seeds(0, 200, true));
        assert_eq!(steering(&[("COFFERDAM_SEED", "0x4d2"), ("COFFERDAM_SEEDS", "9")]), seeds(1234, 1, false));
        assert_eq!(steering(&[("COFFERDAM_FROM", "7"), ("COFFERDAM_SEEDS", "9")]), seeds(7, 9, true));
        let capsule = Steering::Capsule { path: "x.toml".into(), re_aim: false };
        assert_eq!(steering(&[("COFFERDAM_CAPSULE", "x.toml")]), Ok(capsule));
    }

    #[test]
    fn nonsense_is_told_with_the_variables_name() {
        let message = steering(&[("COFFERDAM_SEEDS", "many")]).expect_err("no number");
        assert!(message.starts_with("COFFERDAM_SEEDS: "), "{message}");
    }
}
