//! Lines against `slice::split`, however splits, chunks, batches and interruptions fall; and inputs that change.

use super::*;
use crate::connectors::world::{Mood, World, context};
use crate::door::{ObjectMeta, Version};
use crate::error::{Error, Reaction};
use crate::graph::SubtaskContext;
use crate::job::SourceReader;
use crate::persist::listing::Listing;
use futures_util::FutureExt;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn source(split_bytes: u64, chunk_bytes: u64) -> TextLines {
    TextLines::new("input").split_bytes(split_bytes).chunk_bytes(chunk_bytes)
}

/// A reader of a run whose input is listed now.
fn reader(world: &World, source: &TextLines, index: u16, parallelism: u16, batch_records: usize) -> LineReader {
    let listing = Some(world.list_input(&["input".to_owned()]));
    source.reader(&SubtaskContext { listing, ..context(world, "lines", index, parallelism, batch_records) })
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

/// A reader that goes on from `positions`, in a run whose input was listed before.
fn restored(world: &World, source: &TextLines, positions: &[u8]) -> Result<LineReader, Error> {
    let listed = world.under("checkpoints/").pop_first().expect("the input was listed");
    let listing = Some(Listing::handle(listed.0, &listed.1));
    let mut reader = source.reader(&SubtaskContext { listing, ..context(world, "lines", 0, 1, 2) });
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
fn input_of_which_no_listing_was_deployed_is_named() {
    let world = World::with(&[("input", b"x")]);
    let mut reader = source(4, 4).reader(&context(&world, "lines", 0, 1, 1));
    let error = next(&mut reader).expect_err("no listing");
    assert_eq!(error, Error::corrupt("the job reads input, but no listing of it was deployed"));
}

#[test]
fn a_listing_that_is_gone_or_damaged_is_named() {
    let world = World::with(&[("input", b"x")]);
    let mut one = reader(&world, &source(4, 4), 0, 1, 1);
    let mut other = reader(&world, &source(4, 4), 0, 1, 1);
    world.put("checkpoints/chk-0/listing-a1.1", b"else");
    let error = next(&mut one).expect_err("damaged");
    assert_eq!(error.reaction, Reaction::Corrupt);
    assert!(error.message.contains("listing-a1.1 is not the listing that was written"), "{error}");
    world.remove("checkpoints/chk-0/listing-a1.1");
    let error = next(&mut other).expect_err("gone");
    assert_eq!(error, Error::corrupt("checkpoints/chk-0/listing-a1.1, the listing of the input, does not exist"));
}

#[test]
fn what_is_not_listed_is_not_read() {
    let world = World::with(&[("input/a", b"one\n")]);
    let mut reader = reader(&world, &source(100, 100), 0, 1, 9);
    world.put("input/b", b"two\n");
    assert_eq!(rest(&mut reader), ["one"]);
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

/// What a reader that was halfway says once `change` has happened.
fn after(change: impl FnOnce(&World)) -> Result<Vec<String>, Error> {
    let (world, source, positions) = halfway();
    change(&world);
    let mut reader = restored(&world, &source, &positions).expect("restoring reads nothing");
    read_on(&mut reader)
}

fn read_on(reader: &mut LineReader) -> Result<Vec<String>, Error> {
    let mut lines = Vec::new();
    while let Some(batch) = next(reader)? {
        lines.extend(batch);
    }
    Ok(lines)
}

#[track_caller]
fn assert_refused(read: Result<Vec<String>, Error>, what: &str) {
    let error = read.expect_err("refused");
    assert_eq!(error.reaction, Reaction::GiveUp, "no restart helps: {error}");
    assert!(error.message.starts_with(&format!("input input/a {what}")), "{error}");
}

#[test]
fn input_that_vanished_shrank_or_changed_ends_the_job() {
    assert_refused(after(|world| world.remove("input/a")), "does not exist, but 19 bytes of it were listed");
    // Whatever is left: more than was consumed, less, or nothing.
    for left in [&b"one\ntwo\nthree\n"[..], b"one\n", b""] {
        let what = format!("has shrunk: 19 bytes were listed, and {} are left", left.len());
        assert_refused(after(|world| world.put("input/a", left)), &what);
        assert_refused(after(|world| world.write_into("input/a", left)), &what);
    }
    let changed = b"one\ntwi\nthree\nfour\n";
    assert_refused(after(|world| world.put("input/a", changed)), "has changed between byte 0 and byte 8");
    assert_refused(after(|world| world.write_into("input/a", changed)), "has changed between byte 0 and byte 8");
}

#[test]
fn a_version_that_is_another_one_with_the_same_bytes_is_read_on() {
    let same = b"one\ntwo\nthree\nfour\n";
    assert_eq!(after(|world| world.put("input/a", same)).expect("the same bytes"), ["three", "four"]);
    assert_eq!(after(|world| world.write_into("input/a", same)).expect("the same bytes"), ["three", "four"]);
}

#[test]
fn what_was_not_consumed_is_read_as_it_is_now() {
    let later = b"one\ntwo\nTHREE\nFOUR\n";
    assert_eq!(
        after(|world| world.write_into("input/a", later)).expect("what was read is the same"),
        ["THREE", "FOUR"]
    );
}

#[test]
fn a_file_that_grew_is_read_to_its_listed_length_if_a_line_ends_there() {
    let grown = b"one\ntwo\nthree\nfour\nfive\n";
    assert_eq!(after(|world| world.write_into("input/a", grown)).expect("it grew"), ["three", "four"]);
    assert_refused(
        after(|world| world.put("input/a", grown)),
        "was replaced by a longer one: 19 bytes were listed, and it has 24",
    );
    let changed = b"one\ntwi\nthree\nfour\nfive\n";
    assert_refused(after(|world| world.write_into("input/a", changed)), "has changed between byte 0 and byte 8");
    let joined = b"one\ntwo\nthree\nfours\nfive\n";
    assert_refused(
        after(|world| world.write_into("input/a", joined)),
        "has grown from 19 to 25 bytes, and no line ends at byte 19",
    );
}

#[test]
fn a_listed_part_without_a_last_line_feed_is_refused_once_the_file_grows() {
    let world = World::with(&[("input/a", b"amount=1")]);
    let mut reader = reader(&world, &source(100, 100), 0, 1, 9);
    world.write_into("input/a", b"amount=100\n");
    assert_refused(read_on(&mut reader), "has grown from 8 to 11 bytes, and no line ends at byte 8");
}

#[test]
fn a_finished_split_is_not_needed_any_more() {
    let world = World::with(&[("input/a", b"one\n"), ("input/b", b"two\n")]);
    let source = source(100, 100);
    let mut reader = reader(&world, &source, 0, 1, 1);
    assert_eq!(next(&mut reader), Ok(Some(vec!["one".into()])));
    world.remove("input/a");
    let mut reader = restored(&world, &source, &reader.positions()).expect("a is read");
    assert_eq!(rest(&mut reader), ["two"]);
    world.remove("input/b");
    let mut reader = restored(&world, &source, &reader.positions()).expect("b is read");
    assert_eq!(rest(&mut reader), [""; 0]);
}

#[test]
fn a_restart_reads_nothing_again_while_the_input_is_as_it_was_listed() {
    let (world, source, positions) = halfway();
    let before = world.bytes_read();
    let mut reader = restored(&world, &source, &positions).expect("unchanged");
    assert_eq!(world.bytes_read(), before, "restoring reads nothing");
    rest(&mut reader);
    assert_eq!(world.bytes_read() - before, 11, "three and four, and their line feeds");
}

#[test]
fn a_swap_between_two_reads_is_noticed() {
    let read = |change: &dyn Fn(&World)| {
        let world = World::with(&[("input/a", b"one\ntwo\nthree\nfour\n")]);
        let mut reader = reader(&world, &source(100, 5), 0, 1, 1);
        assert_eq!(next(&mut reader), Ok(Some(vec!["one".into()])));
        // Five bytes are read: the second line is half in the window.
        change(&world);
        read_on(&mut reader)
    };
    assert_refused(
        read(&|world| world.put("input/a", b"ONE\nTWO\nTHREE\nFOUR\n")),
        "has changed between byte 0 and byte 4",
    );
    let swapped = read(&|world| world.put("input/a", b"one\nTWO\nTHREE\nFOUR\n"));
    assert_eq!(swapped.expect("what was consumed is the same"), ["TWO", "THREE", "FOUR"], "no line is of two files");
    let grown = read(&|world| world.write_into("input/a", b"one\ntwo\nthree\nfour\nfive\n"));
    assert_eq!(grown.expect("it grew"), ["two", "three", "four"]);
}

#[test]
fn a_file_that_grows_between_all_reads_is_read_to_its_listed_length() {
    let world = World::with(&[("input/a", b"one\ntwo\nthree\nfour\n")]);
    let mut reader = reader(&world, &source(100, 2), 0, 1, 1);
    let (mut content, mut lines) = (b"one\ntwo\nthree\nfour\n".to_vec(), Vec::new());
    lines.extend(next(&mut reader).expect("unchanged").expect("a line"));
    let before = world.bytes_read();
    loop {
        content.extend(b"more\n");
        world.write_into("input/a", &content);
        let Some(batch) = next(&mut reader).expect("it only grows") else { break };
        lines.extend(batch);
    }
    assert_eq!(lines, ["one", "two", "three", "four"]);
    let read = world.bytes_read() - before;
    assert!(read < 100, "what is known is verified once for each growth: {read} bytes were read");
}

#[test]
fn a_file_that_is_written_again_while_it_is_verified_is_verified_again() {
    for times in 1..=7 {
        let (world, source, positions) = halfway();
        let mut reader = restored(&world, &source, &positions).expect("restoring reads nothing");
        world.rewrite_before_reads(times);
        assert_eq!(read_on(&mut reader).expect("the same bytes"), ["three", "four"], "written {times} times");
    }
    let (world, source, positions) = halfway();
    let mut reader = restored(&world, &source, &positions).expect("restoring reads nothing");
    world.rewrite_before_reads(u64::MAX);
    let error = read_on(&mut reader).expect_err("it never stands still");
    assert_eq!(error.reaction, Reaction::Restart, "its writer may be done by the next attempt");
    assert_eq!(error.message, "input input/a keeps changing while it is read");
}

#[test]
fn a_file_that_grew_and_is_then_written_anew_and_longer_is_refused() {
    let world = World::with(&[("input/a", b"one\ntwo\nthree\nfour\n")]);
    let mut reader = reader(&world, &source(100, 4), 0, 1, 1);
    assert_eq!(next(&mut reader), Ok(Some(vec!["one".into()])));
    world.write_into("input/a", b"one\ntwo\nthree\nfour\nfive\n");
    assert_eq!(next(&mut reader), Ok(Some(vec!["two".into()])), "it has grown");
    world.write_into("input/a", b"ONE\nTWO\nTHREE\nFOUR\nFIVE\nSIX\n");
    assert_refused(read_on(&mut reader), "has changed between byte 0 and byte 8");
}

#[test]
fn a_line_of_many_chunks_of_a_file_that_grows_with_every_read_is_read() {
    // The second of the small splits begins within the first line.
    for split_bytes in [100, 12] {
        let world = World::with(&[("input/a", b"a line of many chunks\nanother one\n")]);
        let mut readers = [0, 1].map(|index| reader(&world, &source(split_bytes, 3), index, 2, 1));
        world.grow_with_every_read();
        let mut lines = readers.each_mut().map(|reader| read_on(reader).expect("it only grows")).concat();
        lines.sort_unstable();
        assert_eq!(lines, ["a line of many chunks", "another one"]);
    }
}

#[test]
fn positions_that_make_no_sense_are_corrupt() {
    let (world, source, positions) = halfway();
    for broken in [positions[..positions.len() - 1].to_vec(), b"nonsense".to_vec()] {
        assert_eq!(restored(&world, &source, &broken).err().expect("refused").reaction, Reaction::Corrupt);
    }
    // Behind the end of the object; and at the end of the split, where there is no split any more.
    for offset in [1_000, 19] {
        let mut wrong: Option<Vec<split::Split>> = bincode::deserialize(&positions).expect("positions");
        wrong.as_mut().expect("listed")[0].offset = offset;
        let wrong = bincode::serialize(&wrong).expect("positions");
        let error = restored(&world, &source, &wrong).err().expect("refused");
        assert!(error.message.starts_with("a position in input input/a makes no sense"), "{error}");
    }
}

#[test]
fn a_hiccup_of_storage_is_survived_and_an_outage_restarts_the_job() {
    let world = World::with(&[("input/a", b"one\ntwo\n")]);
    let mut patient = reader(&world, &source(100, 100), 0, 1, 9);
    world.upset("listing", Mood::Fail, 2);
    world.upset("input/a", Mood::Fail, 2);
    assert_eq!(rest(&mut patient), ["one", "two"]);
    let mut hopeless = reader(&world, &source(100, 100), 0, 1, 9);
    world.upset("input/a", Mood::LoseReply, 100);
    let error = next(&mut hopeless).expect_err("an outage");
    assert_eq!(error.reaction, Reaction::Restart);
    assert!(error.message.starts_with("reading, 4 times: input/a"), "{error}");
    world.calm();
    assert_eq!(rest(&mut hopeless), ["one", "two"]);
}

#[test]
fn a_dropped_wait_is_taken_up_again_and_not_repeated() {
    let world = World::with(&[("input/a", b"one\ntwo\n")]);
    let mut reader = reader(&world, &source(100, 100), 0, 1, 9);
    world.stop_clock();
    world.upset("input/a", Mood::Fail, 1);
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
        let version = Version::Tag("one".to_owned());
        let object = ObjectMeta { path: "input/some".to_owned(), bytes: 1_000, version };
        for split in split::Split::of(&object, 64, index, 7) {
            owners.entry(split.start).or_default().push(index);
        }
    }
    assert_eq!(owners.keys().copied().collect::<Vec<_>>(), (0..16).map(|k| k * 64).collect::<Vec<u64>>());
    assert!(owners.values().all(|owners| owners.len() == 1));
    let distinct: std::collections::BTreeSet<u16> = owners.values().map(|owners| owners[0]).collect();
    assert_eq!(distinct.len(), 7, "neighbours go to different subtasks");
}
