//! Which files of a crate import each other in a circle, by the paths in their code.
//!
//! Arrows between a module and the modules inside it do not count: they are one room.

use std::collections::{BTreeMap, BTreeSet};

/// A module, as the segments of its path.
type Module = Vec<String>;

/// Who imports whom.
pub struct Imports(BTreeMap<Module, BTreeSet<Module>>);

impl Imports {
    /// Of a crate: its modules, each with the code of its file.
    pub fn of<'a>(files: impl Iterator<Item = (Module, &'a str)> + Clone) -> Self {
        let known: BTreeSet<Module> = files.clone().map(|(module, _)| module).collect();
        let arrows = |module: &Module, code: &str| {
            let named = paths(code).into_iter().filter_map(|path| resolve(&known, module, &path));
            named.filter(|other| !module.starts_with(other) && !other.starts_with(module)).collect()
        };
        Self(files.map(|(module, code)| (module.clone(), arrows(&module, code))).collect())
    }

    /// The arrows that are part of a circle.
    pub fn circular(&self) -> Vec<String> {
        let arrows = self.0.iter().flat_map(|(from, all)| all.iter().map(move |to| (from, to)));
        let back = arrows.filter(|(from, to)| self.reaches(to, from));
        back.map(|(from, to)| format!("{} -> {}", from.join("::"), to.join("::"))).collect()
    }

    fn reaches(&self, from: &Module, to: &Module) -> bool {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            if module == to {
                return true;
            }
            if seen.insert(module) {
                next.extend(self.0.get(module).into_iter().flatten());
            }
        }
        false
    }
}

/// The module that a path names, or lies in.
fn resolve(known: &BTreeSet<Module>, module: &Module, path: &str) -> Option<Module> {
    let mut absolute = Module::new();
    for (place, segment) in path.split("::").enumerate() {
        match segment {
            "crate" if place == 0 => {}
            "self" if place == 0 => absolute = module.clone(),
            "super" => {
                absolute = if place == 0 { module.clone() } else { absolute };
                absolute.pop()?;
            }
            _ if place == 0 => return None,
            name => absolute.push(name.to_owned()),
        }
    }
    while !absolute.is_empty() && !known.contains(&absolute) {
        absolute.pop();
    }
    Some(absolute).filter(|found| !found.is_empty())
}

/// Every path in the code that begins at the crate or at a module around it, imports taken apart.
fn paths(code: &str) -> Vec<String> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code: String = lines.flat_map(|line| [line, "\n"]).collect();
    let mut found = Vec::new();
    for (start, _) in ["crate::", "super::", "self::"].iter().flat_map(|word| code.match_indices(word)) {
        let is_inside = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        if !code[..start].ends_with(is_inside) {
            expand("", &code[start..], &mut found);
        }
    }
    found
}

/// Takes `{a, b::{c, d}}` apart. Returns what follows.
fn expand<'a>(prefix: &str, code: &'a str, found: &mut Vec<String>) -> &'a str {
    let end = code.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(code.len());
    let (path, mut rest) = (format!("{prefix}{}", &code[..end]), &code[end..]);
    let Some(inside) = rest.strip_prefix('{').filter(|_| path.ends_with("::")) else {
        found.push(path.trim_end_matches(':').to_owned());
        return rest;
    };
    rest = inside;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == ',');
        match rest.strip_prefix('}') {
            Some(behind) => return behind,
            None if rest.is_empty() => return rest,
            None => {
                let before = rest.len();
                rest = expand(&path, rest, found);
                rest = rest.split_once([',', '}']).map_or("", |(skipped, _)| &rest[skipped.len()..]);
                assert!(rest.len() < before, "every name is a step");
            }
        }
    }
}

#[test]
fn a_circle_is_found_and_a_room_with_its_corners_is_none() {
    let files = [
        ("a", "use crate::b::{self, Thing};\nuse super::c;"),
        ("b", "// use crate::d;\nuse crate::{c::{One, Two}, d};"),
        ("c", "fn c() { crate::a::f() }"),
        ("d", "mod e;"),
        ("d::e", "use super::Deep;\nuse super::super::d;"),
    ];
    let module = |path: &str| path.split("::").map(str::to_owned).collect::<Module>();
    let imports = Imports::of(files.iter().map(|(path, code)| (module(path), *code)));
    assert_eq!(imports.circular(), ["a -> b", "a -> c", "b -> c", "c -> a"]);
}
