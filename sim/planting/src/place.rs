//! Where an edit applies: the one text of the one item that it names.
//!
//! White space does not count in the text that an edit finds, so it survives another indentation and other line breaks.

use crate::Edit;
use crate::workspace::{Item, Workspace};
use std::ops::Range;

/// Where an edit applies.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file, by its number.
    pub file: usize,
    /// The text that is replaced.
    pub span: Range<usize>,
    /// The inside of the smallest block around it. `None`: no switch that is asked at run time can express the edit.
    pub block: Option<Range<usize>>,
}

/// Where `edit` applies, or why that is not clear.
pub fn resolve(workspace: &Workspace, edit: &Edit) -> Result<Place, String> {
    edit.validate()?;
    let item = item(workspace, &edit.item)?;
    let text = &workspace.files[item.file].text;
    let within = match &edit.arm {
        Some(pattern) => arm(text, item, pattern)?,
        None => item.span.clone(),
    };
    let span = match &edit.find {
        Some(wanted) => {
            let found = occurrences(text, within.clone(), wanted);
            match <[Range<usize>; 1]>::try_from(found) {
                Ok([one]) => one,
                Err(found) => {
                    return Err(format!("{} occurs {} times in {item}, not once", shown(wanted), found.len()));
                }
            }
        }
        None => within,
    };
    let around = |block: &&Range<usize>| block.start <= span.start && span.end <= block.end;
    let block = item.blocks.iter().filter(around).min_by_key(|block| block.len()).cloned();
    Ok(Place { file: item.file, span, block })
}

/// The first line of a text, for messages.
fn shown(text: &str) -> String {
    format!("`{}`", text.trim().lines().next().unwrap_or_default())
}

/// The item that a path names.
fn item<'w>(workspace: &'w Workspace, path: &str) -> Result<&'w Item, String> {
    let (segments, of_trait) = parse(path)?;
    let named = |item: &&Item| {
        item.path.ends_with(&segments) && of_trait.as_ref().is_none_or(|name| item.of_trait.as_ref() == Some(name))
    };
    let found: Vec<&Item> = workspace.items.iter().filter(named).collect();
    match found[..] {
        [one] => Ok(one),
        [] => Err(format!("there is no item `{path}`")),
        _ => {
            let all: Vec<String> = found.iter().map(|item| item.to_string()).collect();
            Err(format!("`{path}` is ambiguous: {}; write more of the path", all.join(", ")))
        }
    }
}

/// `module::Type::name` or `module::<Type as Trait>::name`, in segments.
fn parse(path: &str) -> Result<(Vec<String>, Option<String>), String> {
    let segments = |text: &str| text.split("::").map(str::trim).filter(|s| !s.is_empty()).map(str::to_owned).collect();
    let Some((before, rest)) = path.split_once('<') else { return Ok((segments(path), None)) };
    let qualified = rest.split_once('>').and_then(|(inside, after)| Some((inside.split_once(" as ")?, after)));
    let Some(((of_type, of_trait), after)) = qualified else {
        return Err(format!("`{path}` is no path: expected `<Type as Trait>::name`"));
    };
    let mut all: Vec<String> = segments(before);
    all.push(of_type.trim().to_owned());
    all.extend::<Vec<String>>(segments(after));
    Ok((all, Some(of_trait.trim().to_owned())))
}

/// The match arm of an item whose pattern begins like this.
fn arm(text: &str, item: &Item, pattern: &str) -> Result<Range<usize>, String> {
    let wanted: String = dense(pattern).map(|(_, c)| c).collect();
    let begins = |arm: &&Range<usize>| {
        let mut there = dense(&text[(*arm).clone()]).map(|(_, c)| c);
        wanted.chars().all(|c| there.next() == Some(c))
    };
    let found: Vec<&Range<usize>> = item.arms.iter().filter(begins).collect();
    match found[..] {
        [one] => Ok(one.clone()),
        _ => Err(format!("{} match arms of {item} begin with {}, not one", found.len(), shown(pattern))),
    }
}

/// What counts of a text, with its positions.
fn dense(text: &str) -> impl Iterator<Item = (usize, char)> + Clone {
    text.char_indices().filter(|(_, c)| !c.is_whitespace())
}

/// Where `wanted` occurs in a part of `text`, whatever the white space.
fn occurrences(text: &str, within: Range<usize>, wanted: &str) -> Vec<Range<usize>> {
    let wanted: Vec<char> = dense(wanted).map(|(_, c)| c).collect();
    let there: Vec<(usize, char)> = dense(&text[within.clone()]).collect();
    let Some(last) = wanted.len().checked_sub(1) else { return Vec::new() };
    let matches = there.windows(wanted.len()).filter(|window| window.iter().map(|(_, c)| c).eq(&wanted));
    let spans = matches.map(|window| {
        let (end, c) = window[last];
        within.start + window[0].0..within.start + end + c.len_utf8()
    });
    spans.filter(|span| !cuts_a_word(text, span.start) && !cuts_a_word(text, span.end)).collect()
}

/// Whether there are letters of one word on both sides.
fn cuts_a_word(text: &str, at: usize) -> bool {
    let letter = |c: char| c.is_alphanumeric() || c == '_';
    text[..at].ends_with(letter) && text[at..].starts_with(letter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::tests::workspace;

    const SOURCE: &str = r#"
//! A head.
/// Says `one()`.
fn alone() { one(); two() }
struct Leader;
impl Leader {
    fn on_ack(&mut self, ack: Ack) -> u32 {
        match ack {
            // The usual one.
            Ack::Full { from } if from > 0 => { one(); one() }
            Ack::Part => one(),
            _ => 0,
        }
    }
    const LIMIT: u32 = 7;
}
impl Drop for Leader { fn drop(&mut self) { let x = 1; x.use_it(); } }
impl Clone for Leader { fn drop(&mut self) {} }
fn lines() -> impl Iterator<Item = u32> { (0..3).map(|n| n + 1) }
mod inner { pub const fn alone() -> u32 { 99 } }
#[cfg(test)]
mod tests { fn on_ack() {} }
"#;

    fn edit(item: &str, arm: Option<&str>, find: Option<&str>) -> Edit {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        Edit { item: item.into(), arm: owned(arm), find: owned(find), replace: "other".into() }
    }

    fn place(item: &str, arm: Option<&str>, find: Option<&str>) -> Result<(String, Option<String>), String> {
        let (_folder, workspace) = workspace(SOURCE);
        let place = resolve(&workspace, &edit(item, arm, find))?;
        let text = |span: Range<usize>| workspace.files[place.file].text[span].to_owned();
        Ok((text(place.span.clone()), place.block.clone().map(text)))
    }

    #[test]
    fn a_text_is_found_in_the_item_that_the_path_names_and_nowhere_else() {
        let (found, block) = place("engine::alone", None, Some("one()")).expect("it is there once");
        assert_eq!((found.as_str(), block.as_deref()), ("one()", Some(" one(); two() ")));
        let (found, block) = place("<Leader as Drop>::drop", None, Some("let x=1;\n   x.use_it()")).expect("once");
        assert_eq!((found.as_str(), block.as_deref()), ("let x = 1; x.use_it()", Some(" let x = 1; x.use_it(); ")));
    }

    #[test]
    fn what_is_missing_or_ambiguous_is_named() {
        for (item, arm, find, expected) in [
            ("gone", None, Some("x"), "there is no item `gone`"),
            ("alone", None, Some("one()"), "engine::alone, engine::inner::alone; write more"),
            ("Leader::drop", None, Some("x"), "engine::<Leader as Drop>::drop, engine::<Leader as Clone>::drop"),
            ("on_ack", None, Some("one()"), "`one()` occurs 3 times in engine::Leader::on_ack"),
            ("on_ack", Some("Ack::None"), None, "0 match arms of engine::Leader::on_ack begin with `Ack::None`"),
            ("on_ack", Some("Ack::"), None, "2 match arms"),
            ("<Leader>::drop", None, Some("x"), "expected `<Type as Trait>::name`"),
            ("on_ack", None, None, "an edit needs `find`, `arm` or both"),
        ] {
            let error = place(item, arm, find).expect_err(expected);
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn an_arm_is_found_by_its_pattern_and_text_in_it() {
        let (found, block) = place("on_ack", Some("Ack::Part"), Some("one()")).expect("once in the arm");
        assert_eq!(found, "one()");
        assert!(block.expect("the body of the function").trim_start().starts_with("match ack"));
        let (found, _) = place("on_ack", Some("Ack::Full"), None).expect("one arm");
        assert_eq!(found, "Ack::Full { from } if from > 0 => { one(); one() }");
        let (found, block) = place("on_ack", Some("Ack::Full"), Some("from > 0")).expect("its guard");
        assert_eq!(found, "from > 0");
        assert!(block.expect("the body of the function").contains("match ack"), "a guard belongs to the match");
    }

    #[test]
    fn what_no_switch_can_express_has_no_block() {
        for (item, find) in [("LIMIT", "7"), ("inner::alone", "99"), ("lines", "n + 1"), ("Leader", "Leader")] {
            let item = if item == "Leader" { "engine::Leader" } else { item };
            assert_eq!(place(item, None, Some(find)).expect("it is there").1, None, "{item}");
        }
    }
}
