//! Lines against `slice::split`, however splits, chunks, batches and interruptions fall; and inputs that change.

use super::*;
use crate::connectors::world::{Mood, World, context};
use crate::error::{Error, Reaction};
use crate::job::SourceReader;
use futures_util::FutureExt;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn source(split_bytes: u64, chunk_bytes: u64) -> TextLines {
    TextLines::new("input").split_bytes(split_bytes).chunk_bytes(chunk_bytes)
}

fn reader(world: &World, source: &TextLines, index: u16, parallelism: u16, batch_records: usize) -> LineReader {
    source.reader(&context(world, "lines", index, parallelism, batch_records))
}

fn next(reader: &mut LineReader) -> Result<Option<Vec<String>>, Error> {
    let batch = reader.next_batch().now_or_never().expect("the world answers at once")?;
    Ok(batch.map(|lines| lines.iter().map(Text::to_string).collect()))
}

fn rest(reader: &mut LineReader) -> Vec<String> {
    let mut lines = Vec::new();
    while let Some(batch) = next(reader).expect("no trouble") {
        assert!(!batch.is_empty(), "a batch has a record");
        lines.extend(batch);
    }
    assert_eq!(next(reader), Ok(None), "the end stays the end");
    lines
}

fn lines_of(content: &[u8], split_bytes: u64, chunk_bytes: u64) -> Vec<String> {
    let world = World::with(&[("input", content)]);
    rest(&mut reader(&world, &source(split_bytes, chunk_bytes), 0, 1, 3))
}

fn restored(world: &World, source: &TextLines, positions: &[u8]) -> Result<LineReader, Error> {
    let mut reader = reader(world, source, 0, 1, 2);
    reader.restore(positions).now_or_never().expect("the world answers at once")?;
    Ok(reader)
}

#[test]
fn a_last_line_needs_no_newline() {
    assert_eq!(lines_of(b"one\ntwo", 100, 100), ["one", "two"]);
    assert_eq!(lines_of(b"one\ntwo\n", 100, 100), ["one", "two"]);
}

#[test]
fn empty_lines_are_lines_and_empty_objects_have_none() {
    assert_eq!(lines_of(b"\n\na\n\n", 100, 100), ["", "", "a", ""]);
    assert_eq!(lines_of(b"", 100, 100), [""; 0]);
}

#[test]
fn a_carriage_return_belongs_to_its_line() {
    assert_eq!(lines_of(b"one\r\ntwo\r\n", 4, 3), ["one\r", "two\r"]);
}

#[test]
fn a_line_may_be_longer_than_chunks_and_splits() {
    let long = "x".repeat(50_000);
    let content = format!("a\n{long}\nb\n");
    for (split_bytes, chunk_bytes) in [(7, 3), (1_000, 100), (40_000, 30_000)] {
        assert_eq!(lines_of(content.as_bytes(), split_bytes, chunk_bytes), ["a", &long, "b"]);
    }
}

#[test]
fn a_line_belongs_to_the_split_in_which_it_starts() {
    // Splits of four bytes:      0123 4567 89ab
    let world = World::with(&[("input", b"aa\nbbbbb\ncc\n")]);
    let mut split: Vec<Vec<String>> =
        (0..3).map(|index| rest(&mut reader(&world, &source(4, 2), index, 3, 9))).collect();
    split.sort_unstable();
    assert_eq!(split, [vec![], vec!["aa", "bbbbb"], vec!["cc"]]);
}

#[test]
fn missing_input_is_named() {
    let world = World::with(&[("inputs/a", b"x")]);
    let error = next(&mut reader(&world, &source(4, 4), 0, 1, 1)).expect_err("nothing there");
    assert_eq!(error, Error::give_up("input \"input\" does not exist"));
}

/// Contents whose newlines fall everywhere.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![3 => Just(b'\n'), 5 => any::<u8>()];
    prop::collection::vec(byte, 0..60)
}

fn expected(content: &[u8]) -> Vec<String> {
    let text = content.strip_suffix(b"\n").unwrap_or(content);
    if content.is_empty() {
        return Vec::new();
    }
    text.split(|byte| *byte == b'\n').map(|line| String::from_utf8_lossy(line).into_owned()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn all_subtasks_together_read_each_line_once(
        contents in prop::collection::vec(content(), 1..4),
        split_bytes in 1_u64..20,
        chunk_bytes in 1_u64..20,
        parallelism in 1_u16..5,
        batch_records in 1_usize..5,
    ) {
        let world = World::default();
        contents.iter().enumerate().for_each(|(n, content)| world.put(&format!("input/{n}"), content));
        let source = source(split_bytes, chunk_bytes);
        let mut found: Vec<String> =
            (0..parallelism).flat_map(|index| rest(&mut reader(&world, &source, index, parallelism, batch_records))).collect();
        let mut all: Vec<String> = contents.iter().flat_map(|content| expected(content)).collect();
        if parallelism == 1 {
            prop_assert_eq!(&found, &all, "in the order of path and position");
        }
        found.sort_unstable();
        all.sort_unstable();
        prop_assert_eq!(found, all);
    }

    #[test]
    fn a_reader_restored_anywhere_goes_on_with_the_next_line(
        contents in prop::collection::vec(content(), 1..4),
        split_bytes in 1_u64..20,
        chunk_bytes in 1_u64..20,
        batches in prop::collection::vec(0_usize..4, 0..5),
    ) {
        let world = World::default();
        contents.iter().enumerate().for_each(|(n, content)| world.put(&format!("input/{n}"), content));
        let source = source(split_bytes, chunk_bytes);
        let mut live = reader(&world, &source, 0, 1, 2);
        let mut found = Vec::new();
        for count in batches {
            for _ in 0..count {
                found.extend(next(&mut live).expect("no trouble").into_iter().flatten());
            }
            let positions = live.positions();
            live = restored(&world, &source, &positions).expect("unchanged");
            prop_assert_eq!(live.positions(), positions);
        }
        found.extend(rest(&mut live));
        let all: Vec<String> = contents.iter().flat_map(|content| expected(content)).collect();
        prop_assert_eq!(found, all);
    }
}

/// A reader that has returned `one` and `two` of `input/a`, and the world it read.
fn halfway() -> (World, TextLines, Vec<u8>) {
    let world = World::with(&[("input/a", b"one\ntwo\nthree\nfour\n")]);
    let source = source(100, 5);
    let mut reader = reader(&world, &source, 0, 1, 1);
    assert_eq!(next(&mut reader), Ok(Some(vec!["one".into()])));
    assert_eq!(next(&mut reader), Ok(Some(vec!["two".into()])));
    (world, source, reader.positions())
}

#[test]
fn input_that_vanished_shrank_or_changed_ends_the_job() {
    let refused = |change: &dyn Fn(&World)| {
        let (world, source, positions) = halfway();
        change(&world);
        restored(&world, &source, &positions).err().expect("refused")
    };
    for (error, what) in [
        (refused(&|world| world.remove("input/a")), "going back to byte 8 of input/a: input input/a has vanished"),
        (refused(&|world| world.put("input/a", b"one\n")), "going back to byte 8 of input/a: input input/a has shrunk"),
        (
            refused(&|world| world.put("input/a", b"one\ntwi\nthree\nfour\n")),
            "input input/a has changed between byte 0 and byte 8",
        ),
    ] {
        assert_eq!(error.reaction, Reaction::GiveUp);
        assert!(error.message.starts_with(what), "{error}");
    }
}

#[test]
fn input_that_changed_behind_the_position_is_read_as_it_is_now() {
    let (world, source, positions) = halfway();
    world.put("input/a", b"one\ntwo\nTHREE\nfour\nfive\n");
    world.put("input/b", b"new\n");
    let mut reader = restored(&world, &source, &positions).expect("the part that was read is the same");
    // What was appended after the first listing is not part of the input.
    assert_eq!(rest(&mut reader), ["THREE", "four"]);
}

#[test]
fn input_that_ends_too_early_while_it_is_read_ends_the_job() {
    let (world, source, positions) = halfway();
    let mut reader = restored(&world, &source, &positions).expect("unchanged");
    world.put("input/a", b"one\ntwo\nth");
    let error = loop {
        match next(&mut reader) {
            Ok(batch) => assert!(batch.is_none_or(|lines| lines.is_empty()), "no line can be complete"),
            Err(error) => break error,
        }
    };
    assert_eq!(error, Error::give_up("input input/a has shrunk: it ends before byte 10"));
}

#[test]
fn positions_that_make_no_sense_are_corrupt() {
    let (world, source, positions) = halfway();
    for broken in [positions[..positions.len() - 1].to_vec(), b"nonsense".to_vec()] {
        assert_eq!(restored(&world, &source, &broken).err().expect("refused").reaction, Reaction::Corrupt);
    }
    let mut beyond: Option<Vec<split::Split>> = bincode::deserialize(&positions).expect("positions");
    beyond.as_mut().expect("listed")[0].offset = 1_000;
    let beyond = bincode::serialize(&beyond).expect("positions");
    let error = restored(&world, &source, &beyond).err().expect("refused");
    assert!(error.message.starts_with("a position in input input/a makes no sense"), "{error}");
}

#[test]
fn a_hiccup_of_storage_is_survived_and_an_outage_restarts_the_job() {
    let world = World::with(&[("input/a", b"one\ntwo\n")]);
    world.upset("input", Mood::Fail, 2);
    let mut patient = reader(&world, &source(100, 100), 0, 1, 9);
    assert_eq!(rest(&mut patient), ["one", "two"]);
    world.upset("input/a", Mood::LoseReply, 100);
    let mut hopeless = reader(&world, &source(100, 100), 0, 1, 9);
    let error = next(&mut hopeless).expect_err("an outage");
    assert_eq!(error.reaction, Reaction::Restart);
    assert!(error.message.starts_with("reading, 4 times: input/a"), "{error}");
    world.calm();
    assert_eq!(rest(&mut hopeless), ["one", "two"]);
}

#[test]
fn a_dropped_wait_is_taken_up_again_and_not_repeated() {
    let world = World::with(&[("input/a", b"one\ntwo\n")]);
    world.stop_clock();
    world.upset("input/a", Mood::Fail, 1);
    let mut reader = reader(&world, &source(100, 100), 0, 1, 9);
    assert!(reader.next_batch().now_or_never().is_none(), "it pauses before the second try");
    let requests = world.requests();
    for _ in 0..3 {
        assert!(reader.next_batch().now_or_never().is_none(), "still pausing");
    }
    assert_eq!(world.requests(), requests, "waiting asks for nothing");
    world.advance(std::time::Duration::from_secs(1));
    assert_eq!(rest(&mut reader), ["one", "two"]);
}

#[test]
fn every_split_has_exactly_one_owner() {
    let mut owners: BTreeMap<u64, Vec<u16>> = BTreeMap::new();
    for index in 0..7 {
        for split in split::Split::of("input/some", 1_000, 64, index, 7) {
            owners.entry(split.start).or_default().push(index);
        }
    }
    assert_eq!(owners.keys().copied().collect::<Vec<_>>(), (0..16).map(|k| k * 64).collect::<Vec<u64>>());
    assert!(owners.values().all(|owners| owners.len() == 1));
    let distinct: std::collections::BTreeSet<u16> = owners.values().map(|owners| owners[0]).collect();
    assert_eq!(distinct.len(), 7, "neighbours go to different subtasks");
}
