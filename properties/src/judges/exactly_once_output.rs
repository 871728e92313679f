//! Exactly-once output: what is visible outside is the effect of every record once, and nothing is visible before the
//! checkpoint that covers it is durable.
//!
//! Source: Flink, *An Overview of End-to-End Exactly-Once Processing* (two-phase commit).
//!
//! 1. Whenever an object becomes visible, a commit had been started that makes exactly this object visible with exactly
//!    these bytes (by the witness), and a checkpoint at or above the commit's was durable.
//! 2. No visible object is removed.
//! 3. Once the job has finished, what is visible is what the witness's commits make visible: path by path, byte by byte.
//! 4. A job that was cancelled has shown a part of that: no line that its whole run would not have shown.
//! 5. And, where the case has a reference and the job promises exactly once, its lines: the same lines as often, over all objects of a prefix.
//!
//! *Visible* is every object under `output/` with no path segment that starts with a dot. Output that existed before
//! the run is left alone. Does not check systems outside the storage (`external_output` does), nor the order of lines across objects.

use crate::case::{Case, Property, Reference, Violation};
use crate::history::{Fact, What};
use crate::ledger::is_visible;
use cofferdam_engine::config::CheckpointMode;
use std::str;

const NAME: &str = "exactly-once-output";

/// The property.
pub const PROPERTY: Property = Property {
    name: NAME,
    about: "visible output is the effect of every record once, and never ahead of a durable checkpoint",
    source: "Flink: End-to-End Exactly-Once Processing",
    judge,
};

fn judge(case: &Case<'_>) -> Option<Violation> {
    judge_facts(case).or_else(|| {
        let exactly = case.job.config.checkpoints.mode == CheckpointMode::ExactlyOnce;
        let reference = case.expected().filter(|_| exactly);
        match (case.ledger().finished(), case.ledger().cancelled()) {
            (Some(end), _) => judge_missing(case, end).or_else(|| judge_reference(case, end, Part::Whole, reference?)),
            (None, Some(end)) => judge_reference(case, end, Part::Begun, reference?),
            (None, None) => None,
        }
    })
}

fn judge_facts(case: &Case<'_>) -> Option<Violation> {
    let known = case.account().stopped.unwrap_or(usize::MAX);
    case.ledger().facts.iter().take_while(|at| **at < known).find_map(|&at| {
        let (path, message) = match &case.history.entries[at].what {
            What::Fact(Fact::Written { path, bytes }) if is_visible(path) => {
                (path, wrong_object(case, at, path, bytes)?)
            }
            What::Fact(Fact::Deleted { path }) if is_visible(path) => {
                case.ledger().object_at(path, at)?;
                (path, "was visible and is removed".to_owned())
            }
            What::Fact(_) | What::Claim(_) => return None,
        };
        Some(Violation::new(NAME, at, path, message))
    })
}

/// What is wrong with an object that becomes visible.
fn wrong_object(case: &Case<'_>, at: usize, path: &str, bytes: &[u8]) -> Option<String> {
    let shown = case.account().shown.get(path).filter(|shown| shown.at < at);
    let Some(shown) = shown else {
        return Some("becomes visible although no commit was started that shows it".to_owned());
    };
    if shown.bytes != bytes {
        return Some(format!("becomes visible with {}", difference(bytes, &shown.bytes)));
    }
    let mut durable = case.ledger().completed.iter().take_while(|completed| completed.at < at);
    let covered = durable.any(|completed| completed.checkpoint >= shown.checkpoint);
    (!covered).then(|| format!("becomes visible before {} is durable", shown.checkpoint))
}

/// Where two texts part.
fn difference(found: &[u8], expected: &[u8]) -> String {
    let lines = |bytes| str::from_utf8(bytes).unwrap_or("(no text)").lines().collect::<Vec<_>>();
    let (found, expected) = (lines(found), lines(expected));
    let at = found.iter().zip(&expected).take_while(|(a, b)| a == b).count();
    let show = |lines: &[&str]| lines.get(at).map_or("nothing".to_owned(), |line| format!("{line:?}"));
    let (f, e, line) = (show(&found), show(&expected), at + 1);
    format!("{f} in line {line} of {}, re-executed it is {e} of {}", found.len(), expected.len())
}

fn judge_missing(case: &Case<'_>, end: usize) -> Option<Violation> {
    if case.account().stopped.is_some() {
        return None;
    }
    let after = case.history.entries.len();
    case.account().shown.iter().find_map(|(path, shown)| match case.ledger().object_at(path, after) {
        Some(bytes) if *bytes == shown.bytes => None,
        Some(bytes) => Some(Violation::new(NAME, end, path, format!("ends with {}", difference(bytes, &shown.bytes)))),
        None => Some(Violation::new(NAME, end, path, "is missing at the end, although its commit was started")),
    })
}

/// How much of the reference is to be there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Whole,
    /// Nothing else.
    Begun,
}

fn judge_reference(case: &Case<'_>, end: usize, part: Part, reference: &Reference) -> Option<Violation> {
    reference.outputs.iter().find_map(|(prefix, expected)| {
        debug_assert!(expected.is_sorted(), "a reference is sorted");
        let objects = case.ledger().objects_under(prefix).filter(|(path, _)| is_visible(path));
        let texts = objects.map(|(_, bytes)| str::from_utf8(bytes).unwrap_or("(no text)"));
        let mut found: Vec<&str> = texts.flat_map(str::lines).collect();
        found.sort_unstable();
        let mut rest = expected.iter().peekable();
        let mut missing = None;
        let strange = found.iter().find(|line| {
            while let Some(passed) = rest.next_if(|wanted| wanted.as_str() < **line) {
                missing.get_or_insert(passed);
            }
            rest.next_if(|wanted| wanted.as_str() == **line).is_none()
        });
        let missing = missing.or_else(|| rest.next()).filter(|_| part == Part::Whole);
        let message = match (missing, strange) {
            (None, None) => return None,
            (Some(missing), Some(strange)) if missing.as_str() < *strange => format!("{missing:?} is missing"),
            (_, Some(strange)) => format!("{strange:?} is there and should not be"),
            (Some(missing), None) => format!("{missing:?} is missing"),
        };
        let message = format!("{message} ({} lines, the reference has {})", found.len(), expected.len());
        Some(Violation::new(NAME, end, prefix, message))
    })
}

#[cfg(test)]
mod tests {
    use super::NAME;
    use crate::case::Reference;
    use crate::history::{Fact, What};
    use crate::story::{Story, worker};
    use bytes::Bytes;
    use cofferdam_engine::event::Event;

    fn is_output(what: &What) -> bool {
        matches!(what, What::Fact(Fact::Written { path, .. }) if path.starts_with("output/sums/"))
    }

    fn message(story: &Story) -> String {
        story.judge_by(NAME).expect("a conviction").message
    }

    /// The lines that a finished story leaves behind, whatever they are.
    fn lines(story: &Story) -> Vec<String> {
        let outputs = story.history.entries.iter().filter_map(|entry| match &entry.what {
            What::Fact(Fact::Written { path, bytes }) if is_output(&entry.what) => Some((path, bytes)),
            _ => None,
        });
        let mut lines: Vec<String> = outputs
            .collect::<std::collections::BTreeMap<_, _>>()
            .values()
            .flat_map(|bytes| std::str::from_utf8(bytes).expect("text").lines().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        lines.sort_unstable();
        lines
    }

    fn reference(lines: Vec<String>) -> Reference {
        Reference { outputs: [("output/sums".to_owned(), lines)].into(), ..Reference::default() }
    }

    #[test]
    fn output_of_started_commits_passes() {
        let story = Story::whole();
        let lines = lines(&story);
        // Twelve running sums, and at the end the sum of each remainder: 22, 26 and 30.
        assert_eq!(lines.len(), 15);
        assert!(["1022", "1026", "1030"].iter().all(|sum| lines.iter().any(|line| line == sum)), "{lines:?}");
        assert_eq!(story.judge_against(&reference(lines)), []);
    }

    #[test]
    fn output_that_nobody_committed_convicts() {
        let mut story = Story::whole();
        story.wrote(worker(0), "output/sums/stray", Bytes::from_static(b"1\n"));
        assert_eq!(message(&story), "becomes visible although no commit was started that shows it");
    }

    #[test]
    fn output_before_its_checkpoint_is_durable_convicts() {
        let mut story = Story::begun();
        story.emit(0, 2);
        story.trigger();
        story.snapshot_all();
        story.complete();
        story.notify();
        let slot = story.drop_first(
            |what| matches!(what, What::Fact(Fact::Written { path, .. }) if path.ends_with("log/0000000002")),
        );
        story.history.entries.push(slot);
        assert_eq!(message(&story), "becomes visible before chk-1 is durable");
    }

    #[test]
    fn output_that_says_something_else_convicts() {
        let mut story = Story::whole();
        let at = story.find(is_output);
        let What::Fact(Fact::Written { bytes, .. }) = &mut story.history.entries[at].what else { unreachable!() };
        *bytes = Bytes::from_static(b"nonsense\n");
        assert!(message(&story).starts_with("becomes visible with \"nonsense\" in line 1 of 1"), "{}", message(&story));
    }

    #[test]
    fn output_that_is_missing_at_the_end_convicts() {
        let mut story = Story::whole();
        story.history.entries.retain(|entry| !is_output(&entry.what));
        assert_eq!(message(&story), "is missing at the end, although its commit was started");
    }

    #[test]
    fn output_that_is_removed_convicts() {
        let mut story = Story::whole();
        story.fact(worker(0), Fact::Deleted { path: "output/sums/chk-1-a1.1".to_owned() });
        assert_eq!(message(&story), "was visible and is removed");
    }

    #[test]
    fn a_line_too_many_and_a_line_too_few_convict_by_the_reference() {
        let story = Story::whole();
        let mut expected = lines(&story);
        let gone = expected.pop().expect("a line");
        let violation = story.judge_against(&reference(expected.clone())).pop().expect("a conviction");
        assert_eq!(violation.message, format!("{gone:?} is there and should not be (15 lines, the reference has 14)"));

        expected.extend([gone, "xyz".to_owned()]);
        let violation = story.judge_against(&reference(expected)).pop().expect("a conviction");
        assert_eq!(violation.message, "\"xyz\" is missing (15 lines, the reference has 16)");
    }

    #[test]
    fn a_cancelled_job_shows_a_part_of_the_reference_and_nothing_else() {
        let mut story = Story::begun();
        story.emit(0, 2);
        story.consume_all();
        story.checkpoint();
        story.cancel();
        let mut expected = lines(&story);
        assert_eq!(expected.len(), 2);
        expected.push("xyz".to_owned());
        assert_eq!(story.judge_against(&reference(expected.clone())), []);
        let gone = expected.remove(0);
        let violation = story.judge_against(&reference(expected)).pop().expect("a conviction");
        assert_eq!(violation.message, format!("{gone:?} is there and should not be (2 lines, the reference has 2)"));
    }

    #[test]
    fn a_run_that_has_not_finished_is_not_compared_with_the_reference() {
        let mut story = Story::whole();
        story.drop_first(
            |what| matches!(what, What::Fact(Fact::Written { path, .. }) if path.ends_with("log/0000000004")),
        );
        story.drop_first(|what| matches!(what, What::Claim(Event::JobFinished { .. })));
        assert_eq!(story.judge_against(&reference(Vec::new())), []);
    }
}
