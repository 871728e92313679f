//! Where two layouts part, in words that name the field.

use super::{DEPTH_MAX, Layout, Token, write};

/// Longer types are cut in a sentence.
const SHOWN_MAX: usize = 120;

/// The first difference between the layout that was stored and the one of today, as the end of a sentence that begins with
/// the name of the state: `field 1 was "orders: u64", is now "cents: u64"`.
pub fn difference(held: &Layout, today: &Layout) -> Option<String> {
    match differ(held.tokens(), today.tokens()) {
        None => None,
        Some(Difference::Within(what)) => Some(what),
        Some(Difference::Whole) => Some(was("", &show(held.tokens()), &show(today.tokens()))),
    }
}

enum Difference {
    /// The two have nothing in common that could be named.
    Whole,
    /// A part of both differs.
    Within(String),
}

/// Compares two layouts, which are no longer than their tokens.
fn differ(held: &[Token], today: &[Token]) -> Option<Difference> {
    let (Some((was, held)), Some((is, today))) = (held.split_first(), today.split_first()) else {
        return (held.len() != today.len()).then_some(Difference::Whole);
    };
    let (held, today) = (parts(held, was.children()), parts(today, is.children()));
    if held.len() != was.children() || today.len() != is.children() {
        // Damaged tokens.
        return Some(Difference::Whole);
    }
    let pairs = || held.iter().zip(&today);
    match (was, is) {
        (Token::Struct { fields: was, .. }, Token::Struct { fields: is, .. }) => {
            let (held, today) = (named(was, &held), named(is, &today));
            in_order("field", &held, &today)
        }
        (Token::Enum { variants: was, .. }, Token::Enum { variants: is, .. }) => {
            let (held, today) = (named(was, &held), named(is, &today));
            in_order("variant", &held, &today)
        }
        (Token::Option, Token::Option) => pairs().find_map(|(a, b)| inside("the content of the option", a, b)),
        (Token::List, Token::List) => pairs().find_map(|(a, b)| inside("an element of the list", a, b)),
        (Token::Map, Token::Map) => {
            let names = ["a key of the map", "a value of the map"];
            names.iter().zip(pairs()).find_map(|(name, (a, b))| inside(name, a, b))
        }
        (Token::Tuple(was), Token::Tuple(is)) if was == is => {
            (1..).zip(pairs()).find_map(|(number, (a, b))| inside(&format!("element {number}"), a, b))
        }
        (was, is) => (was != is).then_some(Difference::Whole),
    }
}

/// The next `count` layouts of `tokens`, or fewer if there are no more.
fn parts(mut tokens: &[Token], count: usize) -> Vec<&[Token]> {
    // A damaged token may claim any number.
    let count = count.min(tokens.len());
    let take = |_| {
        let (mut open, mut end) = (1, 0);
        while open > 0 && end < tokens.len() {
            open = open - 1 + tokens[end].children();
            end += 1;
        }
        let (part, rest) = tokens.split_at(end);
        tokens = rest;
        part
    };
    (0..count).map(take).collect()
}

/// A named part: a field or a variant.
type Named<'a> = (&'a str, &'a [Token]);

fn named<'a>(names: &'a [String], parts: &[&'a [Token]]) -> Vec<Named<'a>> {
    names.iter().map(String::as_str).zip(parts.iter().copied()).collect()
}

/// Compares fields or variants, whose order is that of the bytes.
fn in_order(kind: &str, held: &[Named<'_>], today: &[Named<'_>]) -> Option<Difference> {
    let numbered = |number: usize| format!("{kind} {number} ");
    let mut number = 0;
    loop {
        let (was, is) = (held.get(number), today.get(number));
        number += 1;
        let what = match (was, is) {
            (None, None) => return None,
            (Some(was), None) => format!("{}was \"{}\", is now gone", numbered(number), part(kind, *was)),
            (None, Some(is)) => format!("{}is new: \"{}\"", numbered(number), part(kind, *is)),
            (Some(was), Some(is)) if was.0 != is.0 => self::was(&numbered(number), &part(kind, *was), &part(kind, *is)),
            (Some(was), Some(is)) => match differ(was.1, is.1) {
                None => continue,
                Some(Difference::Whole) => self::was(&numbered(number), &part(kind, *was), &part(kind, *is)),
                Some(Difference::Within(what)) => format!("{}\"{}\": {what}", numbered(number), was.0),
            },
        };
        return Some(Difference::Within(what));
    }
}

fn inside(name: &str, held: &[Token], today: &[Token]) -> Option<Difference> {
    let what = match differ(held, today)? {
        Difference::Whole => was(&format!("{name} "), &show(held), &show(today)),
        Difference::Within(what) => format!("{name}: {what}"),
    };
    Some(Difference::Within(what))
}

fn was(name: &str, held: &str, today: &str) -> String {
    format!("{name}was \"{held}\", is now \"{today}\"")
}

/// A field or variant with its type. A variant without content is its name.
fn part(kind: &str, (name, tokens): Named<'_>) -> String {
    if kind == "variant" && tokens == [Token::Unit] { name.to_owned() } else { format!("{name}: {}", show(tokens)) }
}

fn show(mut tokens: &[Token]) -> String {
    let mut text = String::new();
    write(&mut text, &mut tokens, DEPTH_MAX).expect("strings take everything");
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
