//! A random text to count the words of, and the answer.

use crate::random::Random;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// A text, and what is in it.
pub struct Text {
    pub words: Vec<String>,
    pub counts: Vec<String>,
}

impl Text {
    /// Writes `lines` lines of up to three words as three files, so that every worker has something to read.
    pub fn write(folder: &Path, lines: u64, random: &mut Random) -> Self {
        let mut text = String::new();
        for _ in 0..lines {
            for _ in 0..random.below(4) {
                text += &format!("{:x} ", random.below(5_000));
            }
            text.push('\n');
        }
        fs::create_dir(folder.join("in")).expect("a folder");
        let third = text.len() / 3;
        let cut = |near: usize| text[..near].rfind('\n').expect("a line ends") + 1;
        let cuts = [0, cut(third), cut(2 * third), text.len()];
        for (number, cut) in cuts.windows(2).enumerate() {
            fs::write(folder.join(format!("in/{number}.txt")), &text[cut[0]..cut[1]]).expect("a file");
        }
        let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        words.sort_unstable();
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for word in &words {
            *counts.entry(word).or_default() += 1;
        }
        let mut counts: Vec<String> = counts.iter().map(|(word, count)| format!("{word} {count}")).collect();
        counts.sort_unstable();
        Self { words, counts }
    }
}
