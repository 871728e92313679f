//! The file sink under failing storage, repeated commits and restarts.

use super::*;
use crate::connectors::world::{Mood, World, attempt, context};
use crate::error::Reaction;
use crate::persist::layout::CHECKSUMS;
use futures_util::FutureExt;

const FINAL: &str = "output/x/part-00001-0000000003";
const STAGED: &str = "output/x/.staging/end-1/a1.1-chk-3";

fn writer(world: &World, number: u32) -> FileWriter<u32> {
    let sink = FileSink::new("output/x/", |n: &u32, line| line.extend_from_slice(n.to_string().as_bytes()));
    let mut context = context(world, "end", 1, 2, 8);
    context.attempt = attempt(number);
    sink.writer(&context)
}

fn ready<T>(future: impl Future<Output = T>) -> T {
    future.now_or_never().expect("the world answers at once")
}

fn prepare(writer: &mut FileWriter<u32>, checkpoint: u64) -> Result<Option<Vec<u8>>> {
    ready(writer.prepare(CheckpointId(checkpoint)))
}

/// What is stored, but for the checksums of parts.
fn paths(world: &World) -> Vec<String> {
    world.under("output").into_keys().filter(|path| !path.contains(CHECKSUMS)).collect()
}

#[test]
fn a_part_has_its_checksum_beside_it_before_it_is_visible() {
    let world = World::default();
    let committable = staged(&world);
    world.upset(CHECKSUMS, Mood::Fail, 4);
    assert_eq!(ready(writer(&world, 1).commit(&committable)).expect_err("an outage").reaction, Reaction::Restart);
    assert_eq!(paths(&world), [STAGED], "the commit has not begun");
    for _ in 0..2 {
        ready(writer(&world, 2).commit(&committable)).expect("storage works");
    }
    let record = PartRecord::decode(RECORD, &world.under(RECORD)[RECORD]).expect("a record");
    let (name, checksum) = ("part-00001-0000000003".to_owned(), crc32c::crc32c(b"1\n"));
    assert_eq!(record, PartRecord { name, bytes: 2, checksum, staged: ".staging/end-1/a1.1-chk-3".to_owned() });
}

#[test]
fn lines_show_when_they_are_committed_and_not_before() {
    let world = World::default();
    let mut writer = writer(&world, 1);
    writer.write(vec![1, 2]);
    writer.write(vec![3]);
    assert!(paths(&world).is_empty(), "nothing is written before a checkpoint");
    let committable = prepare(&mut writer, 3).expect("storage works").expect("there are lines");
    assert_eq!(paths(&world), [STAGED]);
    ready(writer.commit(&committable)).expect("storage works");
    assert_eq!(paths(&world), [FINAL]);
    assert_eq!(&world.under("output")[FINAL][..], b"1\n2\n3\n");
}

#[test]
fn no_lines_need_no_file() {
    let world = World::default();
    let mut writer = writer(&world, 1);
    assert_eq!(prepare(&mut writer, 1), Ok(None));
    writer.write(vec![1]);
    prepare(&mut writer, 2).expect("storage works").expect("there are lines");
    assert_eq!(prepare(&mut writer, 3), Ok(None), "what is staged is not staged again");
}

#[test]
fn a_failed_prepare_keeps_its_lines_for_the_next_one_and_leaves_nothing_behind() {
    for mood in [Mood::Fail, Mood::LoseReply] {
        let world = World::default();
        let mut writer = writer(&world, 1);
        writer.write(vec![1]);
        world.upset(".staging", mood, 100);
        assert_eq!(prepare(&mut writer, 2).expect_err("an outage").reaction, Reaction::Restart);
        world.calm();
        writer.write(vec![2]);
        let committable = prepare(&mut writer, 3).expect("storage works").expect("there are lines");
        ready(writer.commit(&committable)).expect("storage works");
        assert_eq!(paths(&world), [FINAL], "{mood:?}");
        assert_eq!(&world.under("output")[FINAL][..], b"1\n2\n");
    }
}

#[test]
fn hiccups_of_storage_are_survived() {
    for mood in [Mood::Fail, Mood::LoseReply] {
        let world = World::default();
        let mut writer = writer(&world, 1);
        writer.write(vec![1]);
        world.upset("output", mood, 3);
        let committable = prepare(&mut writer, 3).expect("patience").expect("there are lines");
        world.upset("output", mood, 3);
        ready(writer.commit(&committable)).expect("patience");
        world.upset(".staging", mood, 3);
        ready(writer.commit(&committable)).expect("patience");
        assert_eq!(paths(&world), [FINAL]);
    }
}

/// A committable, staged by attempt 1.
fn staged(world: &World) -> Vec<u8> {
    let mut writer = writer(world, 1);
    writer.write(vec![1]);
    prepare(&mut writer, 3).expect("storage works").expect("there are lines")
}

#[test]
fn a_commit_interrupted_anywhere_can_be_repeated_by_a_later_attempt() {
    // The 4 tries of each request fail, at the read, the write or the delete.
    for (part, mood) in
        [(".staging", Mood::Fail), ("part-", Mood::Fail), (".staging/end-1/a1.1-chk-3", Mood::LoseReply)]
    {
        let world = World::default();
        let committable = staged(&world);
        world.upset(part, mood, 4);
        assert_eq!(ready(writer(&world, 1).commit(&committable)).expect_err("an outage").reaction, Reaction::Restart);
        let mut later = writer(&world, 2);
        for _ in 0..2 {
            ready(later.commit(&committable)).expect("storage works");
        }
        ready(later.recover()).expect("storage works");
        assert_eq!(paths(&world), [FINAL]);
        assert_eq!(&world.under("output")[FINAL][..], b"1\n");
    }
}

#[test]
fn a_delete_whose_reply_was_lost_was_still_a_commit() {
    let world = World::default();
    let committable = staged(&world);
    ready(writer(&world, 1).commit(&committable)).expect("storage works");
    assert_eq!(ready(writer(&world, 2).commit(&committable)), Ok(()));
}

#[test]
fn a_part_that_something_else_wrote_is_never_overwritten() {
    let world = World::default();
    let committable = staged(&world);
    world.put(FINAL, b"2\n");
    let error = ready(writer(&world, 2).commit(&committable)).expect_err("another's part");
    assert_eq!(error.reaction, Reaction::Corrupt);
    assert!(error.message.starts_with(&format!("{FINAL} exists with other content")), "{error}");
    assert_eq!(&world.under("output")[FINAL][..], b"2\n");
    world.put(FINAL, b"1\n");
    ready(writer(&world, 2).commit(&committable)).expect("the same bytes are no conflict");
    assert_eq!(paths(&world), [FINAL]);
}

#[test]
fn lost_output_is_never_a_success() {
    let world = World::default();
    let committable = staged(&world);
    world.remove(STAGED);
    let error = ready(writer(&world, 2).commit(&committable)).expect_err("lost");
    assert_eq!(error.reaction, Reaction::Corrupt);
    assert_eq!(error.message, format!("{STAGED} is gone, but {FINAL} was never written: output is lost"));
    world.put(FINAL, b"2\n");
    let error = ready(writer(&world, 2).commit(&committable)).expect_err("something else");
    assert!(error.message.starts_with(&format!("{FINAL} exists with other content, 2 bytes")), "{error}");
    world.remove(FINAL);
    world.put(STAGED, b"7\n");
    let error = ready(writer(&world, 2).commit(&committable)).expect_err("not what was staged");
    assert!(error.message.starts_with(&format!("{STAGED} is not what was staged")), "{error}");
    let error = ready(writer(&world, 2).commit(b"nonsense")).expect_err("no committable");
    assert_eq!(error.reaction, Reaction::Corrupt);
}

const RECORD: &str = "output/x/.checksums/part-00001-0000000003";

#[test]
fn a_part_that_its_reader_moved_away_is_committed_and_is_not_written_again() {
    let world = World::default();
    let committable = staged(&world);
    ready(writer(&world, 1).commit(&committable)).expect("storage works");
    world.remove(FINAL);
    ready(writer(&world, 2).commit(&committable)).expect("its record is there");
    assert!(paths(&world).is_empty(), "{:?}", paths(&world));
    world.remove(RECORD);
    let error = ready(writer(&world, 2).commit(&committable)).expect_err("there is no trace of it");
    assert!(error.message.ends_with("output is lost"), "{error}");
}

#[test]
fn a_part_is_visible_once_also_if_the_process_dies_in_between_and_its_reader_is_fast() {
    let world = World::default();
    let committable = staged(&world);
    // It dies before the part is visible, when the record is there.
    world.upset(FINAL, Mood::Fail, 4);
    assert_eq!(ready(writer(&world, 1).commit(&committable)).expect_err("an outage").reaction, Reaction::Restart);
    assert!(world.under(RECORD).contains_key(RECORD) && paths(&world) == [STAGED]);
    ready(writer(&world, 2).commit(&committable)).expect("storage works");
    assert_eq!(paths(&world), [FINAL]);
    // It dies in the instant after that, and the reader has moved the part away.
    world.remove(FINAL);
    ready(writer(&world, 3).commit(&committable)).expect("its record is there");
    assert!(paths(&world).is_empty(), "{:?}", paths(&world));
}

#[test]
fn a_part_that_is_gone_with_a_damaged_record_is_not_guessed_at() {
    let world = World::default();
    let committable = staged(&world);
    ready(writer(&world, 1).commit(&committable)).expect("storage works");
    let mut other = PartRecord::decode(RECORD, &world.under(RECORD)[RECORD]).expect("a record");
    other.checksum ^= 1;
    for record in [&b""[..], &other.encode()[..]] {
        world.put(RECORD, record);
        ready(writer(&world, 2).commit(&committable)).expect("the part itself is right");
        world.remove(FINAL);
        let error = ready(writer(&world, 2).commit(&committable)).expect_err("nothing is known of it");
        assert!(error.reaction == Reaction::Corrupt && error.message.contains(RECORD), "{error}");
        world.put(FINAL, b"1\n");
    }
}

#[test]
fn recovery_removes_what_older_attempts_of_this_subtask_staged() {
    let world = World::default();
    for path in [
        STAGED,
        "output/x/.staging/end-1/a1.2-chk-4",
        "output/x/.staging/end-1/a1.3-chk-5",
        "output/x/.staging/end-1/notes",
        "output/x/.staging/end-10/a1.1-chk-3",
        "output/x/.staging/end-0/a1.1-chk-3",
    ] {
        world.put(path, b"x");
    }
    ready(writer(&world, 2).recover()).expect("storage works");
    let expected = [
        "output/x/.staging/end-0/a1.1-chk-3",
        "output/x/.staging/end-1/a1.2-chk-4",
        "output/x/.staging/end-1/a1.3-chk-5",
        "output/x/.staging/end-1/notes",
        "output/x/.staging/end-10/a1.1-chk-3",
    ];
    assert_eq!(paths(&world), expected);
}

#[test]
fn attempts_are_read_back_from_names() {
    let of = Attempt { generation: Generation(3), number: 12 };
    assert_eq!(attempt_of(&format!("{of}-{}", CheckpointId(7))), Some(of));
    for name in ["", "a1.1", "a1.1-chk-", "b1.1-chk-1", "a1-chk-1", "a1.x-chk-1"] {
        assert_eq!(attempt_of(name), None, "{name}");
    }
}
