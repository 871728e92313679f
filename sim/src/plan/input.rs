//! The input of a run: its shape is part of the plan, its text is drawn from the seed.
//!
//! Small on purpose: what counts is the number of interleavings, not of records. Words are skewed, so that some key
//! groups are hot; lines may be empty; a file may be empty, or lack its last line feed.

use super::graph::{self, GraphSpec};
use super::{JobKind, OwnShape};
use crate::seed::Seed;
use bytes::Bytes;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What the input looks like.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case", deny_unknown_fields)]
pub enum InputShape {
    /// Text files.
    Files {
        /// How many.
        files: u16,
        /// Lines over all of them.
        lines: u64,
        /// Most words of a line.
        words_max: u64,
        /// Different words.
        words: u64,
        /// Whether the first file lacks its last line feed.
        cut_off: bool,
        /// Whether there is one more file with nothing in it.
        empty_file: bool,
        /// Bytes of a split.
        split_bytes: u64,
        /// Bytes read at a time.
        chunk_bytes: u64,
    },
    /// Records made by the sources themselves.
    Generated {
        /// Records each subtask of a source makes.
        records: u64,
        /// Different keys.
        keys: u64,
        /// Time between bursts; 0 for none.
        interval_ms: u64,
        /// Records of a burst.
        burst: usize,
    },
    /// A random graph, sources included.
    Graph(GraphSpec),
    /// Somebody's own, which is not drawn.
    Own(OwnShape),
}

/// Records of the busiest subtask of a graph, as far as the time for each of them goes.
const RECORDS_EACH_MIN: u64 = 24;

/// How many times the deliveries of a run without faults one with faults may need.
const OWN_DELIVERIES: u64 = 50;

impl InputShape {
    /// Whose input it is.
    pub fn job(&self) -> JobKind {
        match self {
            Self::Files { .. } => JobKind::WordCount,
            Self::Generated { .. } => JobKind::Join,
            Self::Graph(_) => JobKind::Graph,
            Self::Own(_) => JobKind::Own,
        }
    }

    /// Whether a sink of a drawn job writes to a system outside.
    pub fn writes_outside(&self) -> bool {
        match self {
            Self::Graph(spec) => spec.writes_outside(),
            Self::Files { .. } | Self::Generated { .. } | Self::Own(_) => false,
        }
    }

    /// Whether a source of a drawn job reads objects.
    pub fn reads_objects(&self) -> bool {
        match self {
            Self::Files { .. } => true,
            Self::Graph(spec) => spec.reads_objects(),
            Self::Generated { .. } | Self::Own(_) => false,
        }
    }

    /// How many operators the job has.
    pub fn operators(&self) -> usize {
        match self {
            Self::Files { .. } => 4,
            Self::Generated { .. } => 7,
            Self::Graph(spec) => spec.nodes.len(),
            Self::Own(shape) => shape.operators,
        }
    }

    /// Records that its sources produce: lines of text count as one each.
    pub fn records(&self, parallelism: u16) -> u64 {
        match self {
            Self::Files { lines, .. } => *lines,
            Self::Generated { records, .. } => records * 2 * u64::from(parallelism),
            Self::Graph(spec) => spec.produced(),
            Self::Own(shape) => shape.at(parallelism).records,
        }
    }

    /// Whether it makes sense, and if not why, in one line.
    pub fn validate(&self) -> Result<(), String> {
        match self {
            Self::Files { files: 0, .. } => Err("there is no input file".to_owned()),
            Self::Files { words: 0, .. } => Err("there is no word to write".to_owned()),
            Self::Files { split_bytes: 0, .. } | Self::Files { chunk_bytes: 0, .. } => {
                Err("files are read a byte at a time at least".to_owned())
            }
            Self::Generated { keys: 0, .. } => Err("there is no key".to_owned()),
            Self::Generated { burst: 0, .. } => Err("a burst has a record".to_owned()),
            Self::Files { .. } | Self::Generated { .. } => Ok(()),
            Self::Graph(spec) => spec.validate(),
            Self::Own(shape) => shape.validate(),
        }
    }

    /// Records that the busiest subtask sees, about.
    pub fn records_each(&self, parallelism: u16) -> u64 {
        match self {
            Self::Files { lines, words_max, .. } => {
                (lines * (1 + words_max.div_ceil(2))).div_ceil(u64::from(parallelism)).max(1)
            }
            Self::Generated { records, .. } => records * 2,
            // A small graph is over soon: a single record must not take as long as a checkpoint may.
            Self::Graph(spec) => spec.loads().into_iter().max().unwrap_or(1).max(RECORDS_EACH_MIN),
            Self::Own(shape) => shape.at(parallelism).records_each.max(RECORDS_EACH_MIN),
        }
    }

    /// How long a barrier may have to wait behind what operators let go at once, in a job of this length: it leaves
    /// whatever the credit, and everything behind it takes its time over it.
    pub fn bursts_ms(&self, length_ms: u64) -> u64 {
        match self {
            Self::Files { .. } | Self::Generated { .. } => 0,
            Self::Graph(spec) => 3 * length_ms * spec.bursts(),
            // Nobody knows; one operator of a few may be like that.
            Self::Own(_) => 3 * length_ms,
        }
    }

    /// How long the job takes at least, whatever its records take.
    pub fn lasts_ms(&self, parallelism: u16) -> u64 {
        match self {
            Self::Files { .. } | Self::Generated { .. } | Self::Graph(_) => 0,
            Self::Own(shape) => shape.at(parallelism).lasts_ms,
        }
    }

    /// The parallelism that a job of this shape has where this one is asked for.
    pub fn fitting(&self, parallelism: u16) -> u16 {
        match self {
            Self::Files { .. } | Self::Generated { .. } => parallelism,
            Self::Graph(spec) => spec.widest(),
            Self::Own(shape) => shape.nearest(parallelism),
        }
    }

    /// Deliveries that a run may use, where an ordinary one may use `usual`.
    pub fn deliveries(&self, usual: u64) -> u64 {
        match self {
            Self::Files { .. } | Self::Generated { .. } | Self::Graph(_) => usual,
            Self::Own(shape) => {
                let widest = shape.by_parallelism.iter().map(|at| at.deliveries).max();
                usual.max(widest.unwrap_or_default().saturating_mul(OWN_DELIVERIES))
            }
        }
    }

    /// The most subtasks of an operator, where the shape knows it.
    pub fn widest(&self) -> Option<u16> {
        match self {
            Self::Files { .. } | Self::Generated { .. } | Self::Own(_) => None,
            Self::Graph(spec) => Some(spec.widest()),
        }
    }

    /// Every subtask of a job whose operators have this parallelism.
    pub fn subtasks(&self, parallelism: u16) -> u32 {
        match self {
            Self::Files { .. } | Self::Generated { .. } => self.operators() as u32 * u32::from(parallelism),
            Self::Graph(spec) => spec.subtasks(),
            Self::Own(shape) => shape.at(parallelism).subtasks,
        }
    }

    /// The objects that are in storage before the run.
    pub fn objects(&self, seed: Seed, folder: &str) -> BTreeMap<String, Bytes> {
        match self {
            Self::Files { .. } => text_files(self, seed, folder),
            Self::Generated { .. } => BTreeMap::new(),
            Self::Graph(spec) => spec.objects(seed, folder),
            // Whoever brings the job brings its input.
            Self::Own(_) => BTreeMap::new(),
        }
    }
}

impl fmt::Display for InputShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files { files, lines, words_max, words, cut_off, empty_file, split_bytes, chunk_bytes } => {
                write!(f, "{lines} lines of up to {words_max} word(s), {words} different, in {files} file(s)")?;
                write!(f, ", splits of {split_bytes} bytes, reads of {chunk_bytes}")?;
                f.write_str(if *cut_off { ", last line feed missing" } else { "" })?;
                f.write_str(if *empty_file { ", and one empty file" } else { "" })
            }
            Self::Generated { records, keys, interval_ms: 0, .. } => {
                write!(f, "{records} generated records a subtask, {keys} key(s)")
            }
            Self::Generated { records, keys, interval_ms, burst } => {
                write!(f, "{records} generated records a subtask, {keys} key(s), {burst} every {interval_ms} ms")
            }
            Self::Graph(spec) => spec.fmt(f),
            Self::Own(shape) => shape.fmt(f),
        }
    }
}

/// Every shape for a job.
pub fn shapes(job: JobKind) -> BoxedStrategy<InputShape> {
    match job {
        JobKind::WordCount => files().boxed(),
        JobKind::Join => generated().boxed(),
        JobKind::Graph => any::<u64>().prop_map(|number| InputShape::Graph(graph::draw(number))).boxed(),
        JobKind::Own => unreachable!("measured, not drawn"),
    }
}

fn files() -> impl Strategy<Value = InputShape> {
    let marks = (any::<bool>(), proptest::bool::weighted(0.2));
    let bytes = (8..400_u64, 4..200_u64);
    (1..=4_u16, 20..=90_u64, 1..=5_u64, 1..=24_u64, marks, bytes).prop_map(
        |(files, lines, words_max, words, (cut_off, empty_file), (split_bytes, chunk_bytes))| InputShape::Files {
            files,
            lines,
            words_max,
            words,
            cut_off,
            empty_file,
            split_bytes,
            chunk_bytes,
        },
    )
}

fn generated() -> impl Strategy<Value = InputShape> {
    let pace = prop_oneof![2 => Just((0, 1)), 1 => (1..20_u64, 1..8_usize)];
    (10..=70_u64, 1..=16_u64, pace).prop_map(|(records, keys, (interval_ms, burst))| InputShape::Generated {
        records,
        keys,
        interval_ms,
        burst,
    })
}

/// Numbers from a seed, one after the other: for what needs no proptest strategy.
pub struct Draws {
    state: u64,
}

impl From<u64> for Draws {
    fn from(state: u64) -> Self {
        Self { state }
    }
}

impl Draws {
    /// Those of a seed, told from others by `purpose`.
    pub fn of(seed: Seed, purpose: &str) -> Self {
        let first = seed.stream(purpose);
        Self { state: u64::from_le_bytes(first[..8].try_into().expect("eight bytes")) }
    }

    /// One of `0..bound` (SplitMix64; the bias of the remainder does not matter here).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (word ^ (word >> 31)) % bound.max(1)
    }

    /// One of `0..bound`, small ones more often.
    pub fn skewed(&mut self, bound: u64) -> u64 {
        let widest = self.below(bound) + 1;
        self.below(widest)
    }
}

/// The files of a shape that has some.
fn text_files(shape: &InputShape, seed: Seed, folder: &str) -> BTreeMap<String, Bytes> {
    let InputShape::Files { files, lines, words_max, words, cut_off, empty_file, .. } = shape else {
        unreachable!("asked for a shape with files only")
    };
    let mut draws = Draws::of(seed, "text");
    let mut texts = vec![String::new(); usize::from(*files)];
    for _ in 0..*lines {
        // Files of unequal length: some readers end long before others.
        let text = &mut texts[draws.skewed(u64::from(*files)) as usize];
        for n in 0..draws.below(words_max + 1) {
            text.push_str(if n > 0 { " " } else { "" });
            text.push_str(&word(draws.skewed(*words)));
        }
        text.push('\n');
    }
    if *cut_off && texts[0].ends_with('\n') {
        texts[0].pop();
    }
    if *empty_file {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn shape() -> InputShape {
        InputShape::Files {
            files: 3,
            lines: 40,
            words_max: 4,
            words: 6,
            cut_off: true,
            empty_file: true,
            split_bytes: 64,
            chunk_bytes: 16,
        }
    }

    #[test]
    fn text_is_a_pure_function_of_seed_and_shape() {
        assert_eq!(shape().objects(Seed(5), "input"), shape().objects(Seed(5), "input"));
        assert_ne!(shape().objects(Seed(5), "input"), shape().objects(Seed(6), "input"));
    }

    #[test]
    fn shapes_are_honoured() {
        let files = shape().objects(Seed(5), "input");
        assert_eq!(files.len(), 4);
        assert!(files["input/part-3.txt"].is_empty());
        assert!(!files["input/part-0.txt"].ends_with(b"\n"));
        let lines: usize = files.values().map(|text| text.iter().filter(|byte| **byte == b'\n').count()).sum();
        assert_eq!(lines, 39, "one of forty line feeds is missing");
    }

    #[test]
    fn words_differ() {
        let words: std::collections::BTreeSet<String> = (0..24).map(word).collect();
        assert_eq!(words.len(), 24);
    }
}
