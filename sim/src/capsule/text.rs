//! Capsules as text: TOML with a head that says what it is and how to run it.

use super::{Capsule, FORMAT};
use crate::moment::Moment;
use crate::seed::GENERATOR;
use cofferdam_properties::PROPERTIES;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Why a file is no capsule that this build can run.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum CapsuleError {
    /// It cannot be read, or is no capsule at all.
    #[error("{path}: {cause}")]
    Malformed {
        /// Which file.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// It belongs to another build.
    #[error("{path}: {cause}")]
    OtherBuild {
        /// Which file.
        path: String,
        /// What does not fit.
        cause: String,
    },
}

/// The text of a capsule.
pub fn text(capsule: &Capsule) -> String {
    let mut text = String::from("# A run of Cofferdam, kept as a file. Run it again: cofferdam replay THIS-FILE\n#\n");
    for line in capsule.plan.to_string().lines() {
        writeln!(text, "# {line}").expect("strings can be written");
    }
    text.push('\n');
    let table = toml::Table::try_from(capsule).expect("capsules serialise");
    write_table(&mut text, "", &table).expect("strings can be written");
    text
}

/// Tables that hold nothing but plain values stand on one line: a delay, a trigger.
fn write_table(text: &mut String, name: &str, table: &toml::Table) -> std::fmt::Result {
    let (sections, lines): (Vec<_>, Vec<_>) = table.iter().partition(|(key, value)| is_section(name, key, value));
    for (key, value) in lines {
        match value {
            toml::Value::String(story) if story.contains('\n') && !story.contains("'''") => {
                writeln!(text, "{key} = '''\n{story}'''")?;
            }
            _ => writeln!(text, "{key} = {value}")?,
        }
    }
    for (key, value) in sections {
        let name = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
        match value {
            toml::Value::Array(tables) => {
                for table in tables.iter().filter_map(toml::Value::as_table) {
                    writeln!(text, "\n[[{name}]]")?;
                    write_table(text, &name, table)?;
                }
            }
            value => {
                writeln!(text, "\n[{name}]")?;
                write_table(text, &name, value.as_table().expect("a section is a table"))?;
            }
        }
    }
    Ok(())
}

/// Whether a value gets a heading of its own: the plan, its large parts, and each fault.
fn is_section(within: &str, key: &str, value: &toml::Value) -> bool {
    match value {
        toml::Value::Table(_) => {
            within.is_empty() || (within == "plan" && matches!(key, "policy" | "input" | "tuning" | "picks"))
        }
        toml::Value::Array(values) => {
            let tables = !values.is_empty() && values.iter().all(toml::Value::is_table);
            tables && matches!((within, key), ("plan", "faults") | ("plan.picks", "but") | ("plan.input", "nodes"))
        }
        _ => false,
    }
}

/// Reads one; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<Capsule, CapsuleError> {
    let path = || path.display().to_string();
    let malformed = |cause: String| CapsuleError::Malformed { path: path(), cause };
    let table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| malformed(format!("is no TOML: {}", first(&e, text))))?;
    let number = |name: &str| table.get(name).and_then(toml::Value::as_integer);
    match number("format") {
        None => return Err(malformed("is no capsule: it has no `format`".into())),
        Some(format) if format > i64::from(FORMAT) || format < 1 => {
            let cause = format!("is a capsule of format {format}; this build reads formats 1 to {FORMAT}");
            return Err(CapsuleError::OtherBuild { path: path(), cause });
        }
        Some(_) => {}
    }
    let generator = number("generator");
    let capsule = toml::from_str::<Capsule>(text).map_err(|error| match generator {
        Some(other) if other != i64::from(GENERATOR) => {
            let cause = format!(
                "was written by generator g{other}, and does not fit this build (g{GENERATOR}): {}",
                first(&error, text)
            );
            CapsuleError::OtherBuild { path: path(), cause }
        }
        _ => malformed(format!("is not a valid capsule: {}", first(&error, text))),
    })?;
    let verdicts = [super::PASS, "stuck", "over budget", "engine assertion", "hang", "died"];
    let known = PROPERTIES.iter().map(|property| property.name).chain(verdicts);
    if !known.into_iter().any(|name| name == capsule.expect) {
        return Err(malformed(format!("expects `{}`, which is no property and no verdict", capsule.expect)));
    }
    if let Some(event) = &capsule.reaches {
        let moment = event.parse::<Moment>().map_err(|cause| malformed(format!("reaches: {cause}")))?;
        if !matches!(moment, Moment::Event(..)) {
            return Err(malformed(format!("reaches `{event}`, which is no event (ack_sent#3)")));
        }
    }
    capsule.plan.validate().map_err(|cause| malformed(format!("its plan makes no sense: {cause}")))?;
    Ok(capsule)
}

/// Reads the capsule in a file.
pub fn load(path: &Path) -> Result<Capsule, CapsuleError> {
    let read = std::fs::read_to_string(path);
    let text = read.map_err(|e| CapsuleError::Malformed {
        path: path.display().to_string(),
        cause: format!("cannot be read: {e}"),
    })?;
    parse(path, &text)
}

/// Writes one: whole, or not at all.
pub fn save(path: &Path, capsule: &Capsule) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("{}: cannot be written: {e}", path.display());
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let beside = path.with_extension("toml.new");
    std::fs::write(&beside, text(capsule)).map_err(failed)?;
    std::fs::rename(&beside, path).map_err(failed)
}

/// Every capsule of a folder, in order of their paths. A folder that is not there has none. One within it is refused: nobody
/// would ever look there.
pub fn load_all(folder: &Path) -> Result<Vec<(PathBuf, Capsule)>, CapsuleError> {
    let malformed = |path: &Path, cause: String| CapsuleError::Malformed { path: path.display().to_string(), cause };
    let unreadable = |error: std::io::Error| malformed(folder, format!("cannot be read: {error}"));
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut paths: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(unreadable)?;
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            return Err(malformed(&path, "is a folder among capsules, which lie side by side".into()));
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            let capsule = load(&path)?;
            all.push((path, capsule));
        }
    }
    Ok(all)
}

/// The first line of an error in a text, with its place.
fn first(error: &toml::de::Error, text: &str) -> String {
    let message = error.message().lines().next().unwrap_or("unknown");
    // What is said of the beginning is said of all of it, and has no better place.
    let placed = error.span().filter(|span| span.start > 0);
    match placed.and_then(|span| text.get(..span.start)) {
        Some(before) => format!("line {}: {message}", before.matches('\n').count() + 1),
        None => message.to_owned(),
    }
}

/// Seeds as `0x…` strings: TOML's numbers have no room for all of them.
pub mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    /// Writes one.
    pub fn serialize<S: Serializer>(number: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{number:#x}"))
    }

    /// Reads one.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digits =
            text.strip_prefix("0x").ok_or_else(|| D::Error::custom(format!("`{text}` is no number like 0x4d2")))?;
        u64::from_str_radix(digits, 16).map_err(|_| D::Error::custom(format!("`{text}` is no number like 0x4d2")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Plan;
    use crate::seed::Seed;
    use crate::world::{Pick, Picks};
    use cofferdam_properties::history::Process;

    fn capsule(seed: Seed) -> Capsule {
        let plan = Plan::of(seed);
        Capsule {
            format: FORMAT,
            generator: GENERATOR,
            seed: seed.0,
            expect: "exactly-once-state".into(),
            signature: String::new(),
            fingerprint: "4d2".into(),
            bug: None,
            reaches: Some("ack_sent#3".into()),
            story: "It \"broke\".\nTwice.".into(),
            plan,
        }
    }

    fn error(text: &str) -> CapsuleError {
        parse(Path::new("x.toml"), text).expect_err("no capsule")
    }

    #[test]
    fn every_plan_survives_being_a_file() {
        for seed in (0..300).map(Seed) {
            let mut capsule = capsule(seed);
            if seed.0 % 2 == 1 {
                let pick = Pick {
                    process: Process::COORDINATOR,
                    life: 1,
                    site: "input".into(),
                    lane: u64::MAX >> 1,
                    nth: 4,
                    choice: 2,
                };
                capsule.plan.picks = Picks::Turns { but: vec![pick] };
            }
            if seed.0 % 4 == 2 {
                capsule.plan.picks = Picks::Priorities { salt: u32::MAX, changes: vec![0, 17] };
            }
            let text = text(&capsule);
            assert_eq!(parse(Path::new("x.toml"), &text), Ok(capsule), "{text}");
        }
    }

    #[test]
    fn what_is_no_capsule_is_told_in_one_line() {
        for (text, says) in [
            ("not toml at all", "is no TOML: line 1: "),
            ("format = 1\nexpect = pass", "is no TOML: line 2: "),
            ("format = 1\nseed = \"0x1\"\ngenerator = []", "line 3: invalid type"),
            ("name = 1", "has no `format`"),
            ("format = 1", "is not a valid capsule: missing field"),
        ] {
            let error = error(text);
            assert!(matches!(error, CapsuleError::Malformed { .. }), "{error}");
            let line = error.to_string();
            assert!(line.contains(says) && !line.contains('\n'), "{line}");
        }
        let mut nonsense = capsule(Seed(3));
        nonsense.plan.workers = 0;
        assert!(error(&text(&nonsense)).to_string().contains("makes no sense"));
    }

    #[test]
    fn a_folder_that_cannot_be_read_and_a_folder_among_capsules_are_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(load_all(&folder.path().join("none")), Ok(Vec::new()));
        save(&folder.path().join("a.toml"), &capsule(Seed(3))).expect("written");
        assert_eq!(load_all(folder.path()).map(|all| all.len()), Ok(1));
        let file = load_all(&folder.path().join("a.toml")).expect_err("a file is no folder").to_string();
        assert!(file.contains("cannot be read"), "{file}");
        std::fs::create_dir(folder.path().join("more")).expect("a folder");
        let inner = load_all(folder.path()).expect_err("nobody looks there").to_string();
        assert!(inner.contains("more: is a folder among capsules"), "{inner}");
    }

    #[test]
    fn a_capsule_of_another_build_is_told_apart_from_nonsense() {
        assert!(matches!(error("format = 999"), CapsuleError::OtherBuild { .. }));
        let old = format!("format = 1\ngenerator = {}\nseed = \"0x1\"\nexpect = \"pass\"\n", GENERATOR - 1);
        let error = error(&old);
        assert!(matches!(error, CapsuleError::OtherBuild { .. }), "{error}");
        assert!(error.to_string().contains("missing field `plan`"), "{error}");
    }
}
