//! What the environment says about a check.

use crate::cli::fresh_seed;
use crate::explain::Explaining;
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
    },
    /// One seed, and nothing that was kept.
    Seed {
        /// It.
        seed: Seed,
        /// What to show of it.
        explaining: Explaining,
    },
    /// One capsule.
    Capsule {
        /// Its file.
        path: PathBuf,
        /// Whether to aim its faults again.
        re_aim: bool,
        /// What to show of it.
        explaining: Explaining,
    },
}

impl Steering {
    /// Reads the variables; an error is one line.
    pub fn of(variable: impl Fn(&'static str) -> Option<String>, first: Seed, count: u64) -> Result<Self, String> {
        let until = variable("COFFERDAM_UNTIL");
        let explaining = Explaining {
            trace: until.is_some() || variable("COFFERDAM_TRACE").is_some(),
            until,
            html: variable("COFFERDAM_HTML").map(PathBuf::from),
        };
        if let Some(path) = variable("COFFERDAM_CAPSULE") {
            let re_aim = variable("COFFERDAM_RE_AIM").is_some();
            return Ok(Self::Capsule { path: path.into(), re_aim, explaining });
        }
        if let Some(seed) = parsed("COFFERDAM_SEED", &variable)? {
            return Ok(Self::Seed { seed, explaining });
        }
        if !explaining.is_silent() {
            let which = "say which by COFFERDAM_CAPSULE=FILE or COFFERDAM_SEED=SEED";
            return Err(format!("COFFERDAM_TRACE, COFFERDAM_UNTIL and COFFERDAM_HTML show one run: {which}"));
        }
        let first = match variable("COFFERDAM_FROM").as_deref() {
            Some("fresh") => fresh_seed(),
            _ => parsed("COFFERDAM_FROM", &variable)?.unwrap_or(first),
        };
        let count = parsed("COFFERDAM_SEEDS", &variable)?.unwrap_or(count);
        Ok(Self::Seeds { first, count })
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
        let seeds = |first, count| Ok(Steering::Seeds { first: Seed(first), count });
        assert_eq!(steering(&[]), seeds(0, 200));
        assert_eq!(steering(&[("COFFERDAM_FROM", "7"), ("COFFERDAM_SEEDS", "9")]), seeds(7, 9));
        let explaining = Explaining::default();
        let seed = Steering::Seed { seed: Seed(1234), explaining: explaining.clone() };
        assert_eq!(steering(&[("COFFERDAM_SEED", "0x4d2"), ("COFFERDAM_SEEDS", "9")]), Ok(seed));
        let capsule = Steering::Capsule { path: "x.toml".into(), re_aim: false, explaining };
        assert_eq!(steering(&[("COFFERDAM_CAPSULE", "x.toml")]), Ok(capsule));
    }

    #[test]
    fn one_run_can_be_shown_and_no_more_than_one() {
        let asked = [("COFFERDAM_UNTIL", "ack_sent#3"), ("COFFERDAM_HTML", "run.html")];
        let explaining = Explaining { trace: true, until: Some("ack_sent#3".into()), html: Some("run.html".into()) };
        let seed = Steering::Seed { seed: Seed(3), explaining };
        assert_eq!(steering(&[asked[0], asked[1], ("COFFERDAM_SEED", "3")]), Ok(seed));
        let message = steering(&asked).expect_err("two hundred runs");
        assert!(message.contains("COFFERDAM_CAPSULE=FILE") && !message.contains('\n'), "{message}");
    }

    #[test]
    fn nonsense_is_told_with_the_variables_name() {
        let message = steering(&[("COFFERDAM_SEEDS", "many")]).expect_err("no number");
        assert!(message.starts_with("COFFERDAM_SEEDS: "), "{message}");
    }
}
