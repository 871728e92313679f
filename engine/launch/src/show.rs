//! Progress for people: a line that is redrawn on a terminal, a line every few seconds elsewhere, both on standard
//! error. Also the way log lines get past the redrawn one.

use cofferdam_engine::cores::statistics::{Counts, Statistics, Status};
use cofferdam_engine::graph::JobGraph;
use cofferdam_engine::os::trace::{Completed, Course, Progress};
use cofferdam_engine::statistics::SnapshotStatistics;
use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

/// Time between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// Failures of the same kind in a row, without a checkpoint in between, that are probably not transient.
const ALIKE: u32 = 5;
/// Time between two looks.
pub const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Which part of a job this process runs: what of its progress it knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// All of it.
    Whole,
    /// The coordinator's.
    Coordinator {
        /// How many workers are needed.
        workers: usize,
    },
    /// A worker's.
    Worker,
}

/// Shows a [`Progress`]. Told the time by whoever owns a clock.
pub struct Show {
    progress: Arc<Progress>,
    part: Part,
    bar: Option<ProgressBar>,
    last_look: Duration,
    last_line: Duration,
    last_records: u64,
    /// Records a second, smoothed over a few looks.
    rate: f64,
    failures_shown: u64,
    alike_shown: u32,
    aborts_shown: u64,
    last_abort_line: Option<Duration>,
    refusals_shown: u64,
    notices_shown: BTreeSet<String>,
    ignored_shown: Option<String>,
    last_waiting: Option<String>,
}

impl Show {
    /// A display on standard error.
    pub fn new(progress: Arc<Progress>, part: Part) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(ProgressStyle::with_template("{spinner} {msg}").expect("the template is well formed"));
            bar
        });
        Self {
            progress,
            part,
            bar,
            last_look: Duration::ZERO,
            last_line: Duration::ZERO,
            last_records: 0,
            rate: 0.0,
            failures_shown: 0,
            alike_shown: 0,
            aborts_shown: 0,
            last_abort_line: None,
            refusals_shown: 0,
            notices_shown: BTreeSet::new(),
            ignored_shown: None,
            last_waiting: None,
        }
    }

    /// Where log lines go.
    pub fn log_writer(&self) -> LogWriter {
        LogWriter { bar: self.bar.clone() }
    }

    /// Looks again, `since_start` after the start.
    pub fn look(&mut self, since_start: Duration) {
        let (records, course) = (self.progress.records(), self.progress.course());
        let passed = since_start.saturating_sub(self.last_look).as_secs_f64();
        if passed > 0.0 {
            let now = (records - self.last_records) as f64 / passed;
            self.rate = if self.last_look.is_zero() { now } else { 0.8 * self.rate + 0.2 * now };
            (self.last_look, self.last_records) = (since_start, records);
        }
        self.tell_troubles(since_start, &course);
        let line = describe(self.part, records, self.rate, &course);
        self.tell_refusals();
        self.tell_ignored_input();
        self.tell_waiting(&course);
        match &self.bar {
            Some(bar) => {
                bar.set_message(line);
                bar.tick();
            }
            None if since_start.saturating_sub(self.last_line) >= LINE_EVERY => {
                self.last_line = since_start;
                let _ = writeln!(io::stderr(), "{line}");
            }
            None => {}
        }
    }

    /// Says once why an attempt failed, and now and then why checkpoints do: a full disk aborts all of them.
    fn tell_troubles(&mut self, since_start: Duration, course: &Course) {
        let mut out = self.log_writer();
        // A display that cannot be written to must not stop the job.
        if course.failures > self.failures_shown {
            self.failures_shown = course.failures;
            // What was said once of the same failure need not be said again.
            let said = self.alike_shown;
            self.alike_shown = course.alike;
            if let Some(line) = trouble(course).filter(|_| said < ALIKE || course.alike < said) {
                let _ = writeln!(out, "{line}");
            }
        }
        let quiet = self.last_abort_line.is_none_or(|last| since_start.saturating_sub(last) >= LINE_EVERY);
        if let Some(reason) = course.last_abort.as_ref().filter(|_| quiet && course.aborted > self.aborts_shown) {
            (self.aborts_shown, self.last_abort_line) = (course.aborted, Some(since_start));
            let _ = writeln!(out, "checkpoint aborted, the next one will be tried in time: {reason}");
        }
    }

    /// Says whom a coordinator has refused since the last look. Also the last words: a job may end before the next look.
    pub fn tell_refusals(&mut self) {
        let course = self.progress.course();
        if let Some(reason) = course.last_refusal.as_ref().filter(|_| course.refusals > self.refusals_shown) {
            self.refusals_shown = course.refusals;
            let _ = writeln!(self.log_writer(), "refused a worker: {reason}");
        }
        self.tell_notices(course);
    }

    /// Says once what is noticed about other processes.
    fn tell_notices(&mut self, course: Course) {
        let mut out = self.log_writer();
        for notice in course.notices.difference(&self.notices_shown) {
            let _ = writeln!(out, "{notice}");
        }
        self.notices_shown = course.notices;
    }

    /// Says what came to the input after it was listed. Also the last words.
    pub fn tell_ignored_input(&mut self) {
        let ignored = self.progress.course().ignored_input;
        if let Some(line) = ignored.as_ref().filter(|_| ignored != self.ignored_shown) {
            let _ = writeln!(self.log_writer(), "warning: {line}");
        }
        self.ignored_shown = ignored;
    }

    /// Says at once what this part begins to wait for.
    fn tell_waiting(&mut self, course: &Course) {
        let mut out = self.log_writer();
        let waiting = waiting(self.part, course);
        if let Some(line) = waiting.as_ref().filter(|_| waiting != self.last_waiting) {
            let _ = writeln!(out, "{line}");
        }
        self.last_waiting = waiting;
    }

    /// Takes the line off the terminal.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// Why an attempt failed, and what comes of it.
fn trouble(course: &Course) -> Option<String> {
    let cause = course.last_failure.as_ref()?;
    if course.alike >= ALIKE {
        let times = course.alike;
        return Some(format!(
            "the same failure {times} times in a row without a checkpoint in between: probably not transient, and not said \
             again while it goes on: {cause}"
        ));
    }
    let from = course.last_completed.map(|last| last.checkpoint).or(course.resumed_from);
    let from = from.map_or("the beginning".to_owned(), |checkpoint| checkpoint.to_string());
    Some(format!("attempt failed, going on from {from}: {cause}"))
}

/// Whom or what this part waits for, if for anything.
fn waiting(part: Part, course: &Course) -> Option<String> {
    let workers = match part {
        Part::Whole => return None,
        Part::Worker => return course.waits.as_ref().map(|what| format!("waiting for {what}")),
        Part::Coordinator { workers } => workers,
    };
    let missing = workers.saturating_sub(course.workers.len());
    match course.leading {
        false => Some("standing by: leads once no other coordinator shows signs of life".to_owned()),
        true if missing > 0 => Some(format!("waiting for {missing} of {workers} workers")),
        true => None,
    }
}

fn describe(part: Part, records: u64, rate: f64, course: &Course) -> String {
    if let Some(waiting) = waiting(part, course) {
        return waiting;
    }
    let mut line = match part {
        Part::Whole => format!("{} records, {}/s", HumanCount(records), HumanCount(rate as u64)),
        Part::Coordinator { .. } => format!("{} workers", course.workers.len()),
        // Checkpoints and attempts are the coordinator's business.
        Part::Worker => return format!("{} records, {}/s", HumanCount(records), HumanCount(rate as u64)),
    };
    match &course.last_completed {
        Some(Completed { checkpoint, bytes, duration }) => {
            line += &format!(", {checkpoint} ({} in {} ms)", HumanBytes(*bytes), duration.as_millis());
        }
        None => line += ", no checkpoint yet",
    }
    match course.attempt {
        Some(attempt) => line += &format!(", attempt {attempt}"),
        None => line += ", starting",
    }
    if course.failures > 0 {
        line += &format!(", {} attempts failed", course.failures);
    }
    if course.aborted > 0 {
        line += &format!(", {} checkpoints aborted", course.aborted);
    }
    line
}

/// What the checkpoints of a run have cost: counts, the last one with its slowest subtask, and why others failed. Empty if
/// none was triggered.
pub fn summary(statistics: &Statistics, graph: &JobGraph) -> String {
    let Counts { triggered, in_progress, completed, failed, restored } = statistics.counts();
    if triggered == 0 {
        return String::new();
    }
    let mut text = format!(
        "checkpoints: {triggered} triggered, {completed} completed, {failed} failed, {in_progress} in progress, {restored} restored\n"
    );
    if let Some(last) = statistics.last_completed()
        && let Status::Completed { duration, bytes } = &last.status
    {
        text += &format!("last: {}, {} in {} ms", last.checkpoint, HumanBytes(*bytes), duration.as_millis());
        if let Some((subtask, spent)) = last.slowest() {
            let SnapshotStatistics { start_delay_ms, alignment_ms, sync_ms, async_ms, bytes: _ } = spent;
            let name = graph.show(subtask);
            text += &format!(
                "; slowest {name}: start delay {start_delay_ms} ms, alignment {alignment_ms} ms, sync {sync_ms} ms, async {async_ms} ms"
            );
        }
        text.push('\n');
    }
    if !statistics.failures().is_empty() {
        let failures = statistics.failures().iter().map(|(reason, count)| format!("{count} {reason}"));
        text += &format!("failed: {}\n", failures.collect::<Vec<_>>().join(", "));
    }
    if statistics.rejected() > 0 {
        text += &format!("rejected: {} reports that no right worker sends\n", statistics.rejected());
    }
    text
}

/// What could not be deleted, if anything: it takes room until somebody removes it.
pub fn undeleted(course: &Course) -> Option<String> {
    let cause = course.first_undeleted.as_ref()?;
    Some(format!("deletions: {} failed, the first because of {cause}", course.deletions_failed))
}

/// Writes to standard error, above the progress line if there is one.
#[derive(Clone, Debug)]
pub struct LogWriter {
    bar: Option<ProgressBar>,
}

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Nobody reading them is no reason for whoever logs to panic.
        let _ = match &self.bar {
            Some(bar) => bar.suspend(|| io::stderr().write_all(bytes)),
            None => io::stderr().write_all(bytes),
        };
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::door::Trace;
    use cofferdam_engine::event::Event;
    use cofferdam_engine::graph::{Instance, OperatorKind, OperatorNode};
    use cofferdam_engine::ids::{Attempt, CheckpointId, Generation, OperatorId, SubtaskId};
    use cofferdam_engine::os::trace::TracingTrace;
    use cofferdam_engine::reason::FailureReason;
    use std::collections::BTreeSet;

    #[test]
    fn a_line_tells_records_rate_checkpoint_and_attempt() {
        let mut course = Course::default();
        assert_eq!(describe(Part::Whole, 0, 0.0, &course), "0 records, 0/s, no checkpoint yet, starting");
        course.attempt = Some(Attempt { generation: Generation(2), number: 3 });
        course.failures = 2;
        course.aborted = 1;
        course.last_completed =
            Some(Completed { checkpoint: CheckpointId(7), bytes: 2048, duration: Duration::from_millis(41) });
        let line = describe(Part::Whole, 1_234_567, 1000.9, &course);
        assert_eq!(
            line,
            "1,234,567 records, 1,000/s, chk-7 (2.00 KiB in 41 ms), attempt a2.3, 2 attempts failed, 1 checkpoints aborted"
        );
    }

    #[test]
    fn the_end_of_a_run_tells_what_its_checkpoints_have_cost() {
        let graph = JobGraph { name: "words".into(), max_parallelism: 8, operators: vec![source()], edges: vec![] };
        let mut statistics = Statistics::default();
        assert_eq!(summary(&statistics, &graph), "");
        let subtask = SubtaskId { operator: OperatorId(0), index: 1 };
        let wait = BTreeSet::from([subtask]);
        statistics.on_triggered(CheckpointId(1), 0, wait.clone());
        statistics.on_failed(CheckpointId(1), FailureReason::Expired);
        statistics.on_triggered(CheckpointId(2), 0, wait);
        let spent = SnapshotStatistics { start_delay_ms: 1, alignment_ms: 2, sync_ms: 3, async_ms: 40, bytes: 2048 };
        statistics.on_ack(CheckpointId(2), subtask, spent);
        statistics.on_completed(CheckpointId(2), Duration::from_millis(50), 2048);
        let expected = "checkpoints: 2 triggered, 1 completed, 1 failed, 0 in progress, 0 restored\n\
            last: chk-2, 2.00 KiB in 50 ms; slowest lines[1]: start delay 1 ms, alignment 2 ms, sync 3 ms, async 40 ms\n\
            failed: 1 expired\n";
        assert_eq!(summary(&statistics, &graph), expected);
    }

    fn source() -> OperatorNode {
        OperatorNode {
            id: OperatorId(0),
            uid: "lines".into(),
            parallelism: 2,
            kind: OperatorKind::Source,
            states: vec![],
            staging: None,
            reads: None,
            factory: Arc::new(|_| -> Instance { panic!("nothing is run here") }),
        }
    }

    #[test]
    fn deletions_that_failed_are_told_with_the_first_cause() {
        let progress = Arc::new(Progress::default());
        let trace = TracingTrace::feeding(progress.clone());
        assert_eq!(undeleted(&progress.course()), None);
        for n in 1..=2 {
            let path = format!("checkpoints/chk-{n}/manifest-a1.1");
            trace.emit(Event::DeleteFailed { cause: format!("{path}: no permission"), path });
        }
        let told = undeleted(&progress.course());
        let expected = "deletions: 2 failed, the first because of checkpoints/chk-1/manifest-a1.1: no permission";
        assert_eq!(told.as_deref(), Some(expected));
    }

    #[test]
    fn a_coordinator_says_whom_it_waits_for() {
        let part = Part::Coordinator { workers: 3 };
        let mut course = Course::default();
        assert!(describe(part, 0, 0.0, &course).starts_with("standing by"));
        course.leading = true;
        course.workers.insert(cofferdam_engine::ids::WorkerId(1));
        assert_eq!(describe(part, 0, 0.0, &course), "waiting for 2 of 3 workers");
        course.workers.extend([0, 2].map(cofferdam_engine::ids::WorkerId));
        assert_eq!(describe(part, 0, 0.0, &course), "3 workers, no checkpoint yet, starting");
    }

    #[test]
    fn a_worker_says_what_it_waits_for() {
        assert_eq!(describe(Part::Worker, 5, 2.0, &Course::default()), "5 records, 2/s");
        let progress = Arc::new(Progress::default());
        let trace = TracingTrace::feeding(progress.clone());
        let what = "a coordinator that leads: cannot connect to nosuchhost:1: no such name".to_owned();
        trace.emit(Event::WorkerIdle { worker: cofferdam_engine::ids::WorkerId(0), what: what.clone() });
        assert_eq!(describe(Part::Worker, 0, 0.0, &progress.course()), format!("waiting for {what}"));
        let (attempt, subtask) = (Attempt::default(), SubtaskId { operator: OperatorId(0), index: 0 });
        trace.emit(Event::Restored { attempt, subtask, checkpoint: None, digest: 0, ended: false });
        assert_eq!(describe(Part::Worker, 0, 0.0, &progress.course()), "0 records, 0/s");
        trace.emit(Event::AttemptCancelled { attempt, worker: cofferdam_engine::ids::WorkerId(0) });
        assert_eq!(describe(Part::Worker, 0, 0.0, &progress.course()), "waiting for the next attempt");
    }

    #[test]
    fn a_failure_that_comes_again_and_again_is_told_as_such_once() {
        let progress = Arc::new(Progress::default());
        let trace = TracingTrace::feeding(progress.clone());
        let fail = |number: u32, cause: &str| {
            let attempt = Attempt { generation: Generation(1), number };
            trace.emit(Event::AttemptFailed { attempt, cause: cause.to_owned() });
            progress.course()
        };
        for number in 1..ALIKE {
            let course = fail(number, &format!("link to worker-1: connection to 127.0.0.1:{number} broke"));
            assert_eq!(course.alike, number);
            assert!(
                trouble(&course).expect("it failed").starts_with("attempt failed, going on from the beginning: link")
            );
        }
        let course = fail(ALIKE, "link to worker-1: connection to 127.0.0.1:55555 broke");
        let told = trouble(&course).expect("it failed");
        assert!(told.starts_with("the same failure 5 times in a row without a checkpoint in between"), "{told}");
        assert_eq!(fail(6, "something else").alike, 1);
        trace.emit(Event::CompletionDurable {
            checkpoint: CheckpointId(7),
            slot: 2,
            manifest: String::new(),
            bytes: 0,
            duration_ms: 0,
            last: false,
        });
        let course = fail(7, "something else");
        assert_eq!(trouble(&course).as_deref(), Some("attempt failed, going on from chk-7: something else"));
    }
}
