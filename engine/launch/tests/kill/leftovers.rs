//! What may lie in the folders of a job that is over, once a coordinator was started after it.

use crate::binary;
use std::fs;
use std::path::Path;

/// Files below a folder, by their paths in it, sorted.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder is there") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root).expect("below").display().to_string());
            }
        }
    }
    found.sort_unstable();
    found
}

/// Inspects `chk` and `out` in `folder`: every stored byte is right, at most `retained` checkpoints are there (and at least
/// one, unless that is 0), every other file belongs to one of them, and nothing is staged.
pub fn judge(engine: &Path, folder: &Path, retained: usize) {
    let at = |name: &str| folder.join(name).display().to_string();
    let inspected = binary::run(engine, &["inspect", &at("chk"), "--output", &at("out")]);
    assert_eq!(inspected.code, Some(0), "{}{}", inspected.stdout, inspected.stderr);

    let checkpoints = files(&folder.join("chk"));
    let begins = |files: &[String], with: &str| files.iter().filter(|file| file.starts_with(with)).count();
    assert_eq!(begins(&checkpoints, ".cofferdam-staging"), 0, "{checkpoints:?}");
    let stored: Vec<&String> = checkpoints.iter().filter(|file| file.starts_with("chk-")).collect();
    let manifests = stored.iter().filter(|file| file.contains("/manifest-")).count();
    assert!(manifests <= retained, "{manifests} checkpoints, {retained} retained: {stored:?}");
    assert_eq!(manifests > 0, retained > 0, "{stored:?}");
    assert!(retained > 0 || stored.is_empty(), "{stored:?}");
    let listings = stored.iter().filter(|file| file.contains("/listing-")).count();
    assert!(listings <= 1, "{stored:?}");
    let unnamed = |file: &&&String| !file.contains("/listing-") && !inspected.stdout.contains(file.as_str());
    let orphans: Vec<_> = stored.iter().filter(unnamed).collect();
    assert!(orphans.is_empty(), "{orphans:?} in\n{}", inspected.stdout);

    let output = files(&folder.join("out"));
    assert_eq!(begins(&output, ".cofferdam-staging"), 0, "{output:?}");
    for mark in ["log-", "completed-"] {
        assert_eq!(begins(&output, mark), 1, "{output:?}");
    }
}
