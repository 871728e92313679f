//! The edited copy of the workspace under `target/bugs`, and its builds.
//!
//! Files whose content has not changed are not written again, so that cargo builds only what an edit touches.

use super::plant::Build;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a build of the command line needs of the workspace.
const PARTS: &[&str] = &["Cargo.toml", "Cargo.lock", ".cargo", "engine", "properties", "sim"];

/// Writes the copy with the edits of `build`, builds it, and says where the program is.
pub fn build(root: &Path, build: &Build) -> Result<PathBuf, String> {
    let folder = root.join("target/bugs");
    let mut files = BTreeMap::new();
    for part in PARTS {
        collect(root, Path::new(part), &mut files)?;
    }
    let edited = build.files.iter().map(|(path, text)| (PathBuf::from(path), text.clone().into_bytes()));
    files.extend(edited);
    let copy = folder.join("workspace");
    mirror(&copy, &files)?;
    cargo(&copy, &folder.join("target"))?;
    Ok(folder.join("target/release/cofferdam"))
}

/// Reads a file, or everything below a folder.
fn collect(root: &Path, part: &Path, files: &mut BTreeMap<PathBuf, Vec<u8>>) -> Result<(), String> {
    let path = root.join(part);
    let failed = |e: std::io::Error| format!("{}: {e}", path.display());
    if path.is_file() {
        files.insert(part.to_owned(), std::fs::read(&path).map_err(failed)?);
        return Ok(());
    }
    for entry in std::fs::read_dir(&path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        if name != "target" {
            collect(root, &part.join(name), files)?;
        }
    }
    Ok(())
}

/// Makes `folder` hold exactly `files`.
fn mirror(folder: &Path, files: &BTreeMap<PathBuf, Vec<u8>>) -> Result<(), String> {
    for (name, bytes) in files {
        let path = folder.join(name);
        if std::fs::read(&path).is_ok_and(|old| old == *bytes) {
            continue;
        }
        let failed = |e: std::io::Error| format!("{}: {e}", path.display());
        std::fs::create_dir_all(path.parent().expect("a file lies in a folder")).map_err(failed)?;
        std::fs::write(&path, bytes).map_err(failed)?;
    }
    let mut present = BTreeMap::new();
    for part in PARTS {
        collect(folder, Path::new(part), &mut present)?;
    }
    for name in present.keys().filter(|name| !files.contains_key(*name)) {
        let path = folder.join(name);
        std::fs::remove_file(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

fn cargo(copy: &Path, target: &Path) -> Result<(), String> {
    let program = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    // Quick to build again after each edit, and quick enough to run.
    let output = Command::new(program)
        .args(["build", "--release", "--package", "cofferdam-sim", "--bin", "cofferdam", "--offline", "--quiet"])
        .current_dir(copy)
        .env("CARGO_TARGET_DIR", target)
        .env("CARGO_PROFILE_RELEASE_INCREMENTAL", "true")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "0")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1")
        .env_remove("RUSTFLAGS")
        .output()
        .map_err(|e| format!("cannot start cargo: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let first: Vec<&str> = errors.lines().skip_while(|line| !line.starts_with("error")).take(20).collect();
    Err(format!("the edited copy in {} does not build:\n{}", copy.display(), first.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_holds_exactly_what_it_should_and_unchanged_files_are_left_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        let mut files: BTreeMap<PathBuf, Vec<u8>> = ["Cargo.toml", "Cargo.lock", ".cargo/config.toml"]
            .iter()
            .chain(&["engine/src/lib.rs", "properties/src/lib.rs", "sim/src/lib.rs", "sim/src/old.rs"])
            .map(|name| (PathBuf::from(name), name.as_bytes().to_vec()))
            .collect();
        mirror(root, &files).expect("written");
        let modified = |name: &str| std::fs::metadata(root.join(name)).expect("there").modified().expect("known");
        let before = modified("sim/src/lib.rs");
        files.remove(Path::new("sim/src/old.rs"));
        files.insert("engine/src/lib.rs".into(), b"changed".to_vec());
        mirror(root, &files).expect("written again");
        assert!(!root.join("sim/src/old.rs").exists());
        assert_eq!(std::fs::read(root.join("engine/src/lib.rs")).expect("there"), b"changed");
        assert_eq!(modified("sim/src/lib.rs"), before);
    }
}
