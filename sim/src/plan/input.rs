//! The input of a run: its shape is part of the plan, its text is drawn from the seed.
//!
//! Small on purpose: what counts is the number of interleavings, not of records. Words are skewed, so that some key
//! groups are hot; lines may be empty; a file may be empty, or lack its last line feed.

use super::JobKind;
use crate::seed::Seed;
use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What the input looks like.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct InputShape {
    /// Files in each input folder.
    pub files: u16,
    /// Lines over all files of a folder.
    pub lines: u64,
    /// Most words of a line.
    pub words_max: u64,
    /// Different words, or keys.
    pub keys: u64,
    /// Whether the first file lacks its last line feed.
    pub cut_off: bool,
    /// Whether there is a file with nothing in it.
    pub empty_file: bool,
}

impl InputShape {
    /// Records that the busiest operator sees, about.
    pub fn records(&self) -> u64 {
        self.lines * (1 + self.words_max.div_ceil(2))
    }
}

impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { files, lines, words_max, keys, .. } = self;
        write!(f, "{lines} lines of up to {words_max} word(s), {keys} different, in {files} file(s)")?;
        if self.cut_off {
            write!(f, ", last line feed missing")?;
        }
        if self.empty_file {
            write!(f, ", and one empty file")?;
        }
        Ok(())
    }
}

/// Every shape for a job.
pub fn shapes(job: JobKind) -> impl Strategy<Value = InputShape> {
    let words_max = match job {
        JobKind::WordCount => 1..=6_u64,
        JobKind::Join => 1..=1,
    };
    (1..=4_u16, 20..=120_u64, words_max, 1..=24_u64, any::<bool>(), proptest::bool::weighted(0.2)).prop_map(
        |(files, lines, words_max, keys, cut_off, empty_file)| InputShape {
            files,
            lines,
            words_max,
            keys,
            cut_off,
            empty_file,
        },
    )
}

/// Numbers from a seed, one after the other.
struct Draws {
    state: u64,
}

impl Draws {
    fn of(seed: Seed, purpose: &str) -> Self {
        let first = seed.stream(purpose);
        Self { state: u64::from_le_bytes(first[..8].try_into().expect("eight bytes")) }
    }

    /// One of `0..bound` (SplitMix64; the bias of the remainder does not matter here).
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound.max(1)
    }

    /// One of `0..bound`, small ones more often.
    fn skewed(&mut self, bound: u64) -> u64 {
        let widest = self.below(bound) + 1;
        self.below(widest)
    }
}

/// The files of `folder`, with lines made by `line`.
fn folder(
    shape: &InputShape,
    seed: Seed,
    folder: &str,
    mut line: impl FnMut(&mut Draws, u64, &mut String),
) -> BTreeMap<String, Bytes> {
    let mut draws = Draws::of(seed, folder);
    let mut texts = vec![String::new(); usize::from(shape.files)];
    for number in 0..shape.lines {
        // Files of unequal length: some readers end long before others.
        let file = draws.skewed(u64::from(shape.files)) as usize;
        line(&mut draws, number, &mut texts[file]);
        texts[file].push('\n');
    }
    if shape.cut_off && texts[0].ends_with('\n') {
        texts[0].pop();
    }
    if shape.empty_file {
        texts.push(String::new());
    }
    let name = |n: usize| format!("{folder}/part-{n}.txt");
    texts.into_iter().enumerate().map(|(n, text)| (name(n), Bytes::from(text))).collect()
}

/// A word; different numbers give different words of one to a few letters.
fn word(number: u64) -> String {
    let letters = b"abcdefghijklmnopqrstuvwxyz";
    let (first, more) = (number % 26, number / 26 + number % 3);
    let mut word = String::from(char::from(letters[first as usize]));
    (0..more).for_each(|_| word.push(char::from(letters[first as usize])));
    word
}

/// Lines of words under `path`.
pub fn words(shape: &InputShape, seed: Seed, path: &str) -> BTreeMap<String, Bytes> {
    folder(shape, seed, path, |draws, _, text| {
        let words = draws.below(shape.words_max + 1);
        for n in 0..words {
            if n > 0 {
                text.push(' ');
            }
            text.push_str(&word(draws.skewed(shape.keys)));
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> InputShape {
        InputShape { files: 3, lines: 40, words_max: 4, keys: 6, cut_off: true, empty_file: true }
    }

    #[test]
    fn text_is_a_pure_function_of_seed_and_shape() {
        assert_eq!(words(&shape(), Seed(5), "input/lines"), words(&shape(), Seed(5), "input/lines"));
        assert_ne!(words(&shape(), Seed(5), "input/lines"), words(&shape(), Seed(6), "input/lines"));
    }

    #[test]
    fn shapes_are_honoured() {
        let files = words(&shape(), Seed(5), "input/lines");
        assert_eq!(files.len(), 4);
        assert!(files["input/lines/part-3.txt"].is_empty());
        assert!(!files["input/lines/part-0.txt"].ends_with(b"\n"));
        let lines: usize = files.values().map(|text| text.iter().filter(|byte| **byte == b'\n').count()).sum();
        assert_eq!(lines, 39, "one of forty line feeds is missing");
    }

    #[test]
    fn words_differ() {
        let words: std::collections::BTreeSet<String> = (0..24).map(word).collect();
        assert_eq!(words.len(), 24);
    }
}
