//! One page that shows a run: a space-time diagram in a single file, which needs nothing but a browser.
//!
//! 1. Every entry of the history goes to a lane ([`lanes`]) and is of a kind ([`kinds`]).
//! 2. What begins and ends becomes a span ([`spans`]), what is sent and arrives an arrow ([`arrows`]), the snapshots of
//!    a checkpoint its cut ([`cuts`]).
//! 3. All of it is numbers and interned words ([`words`]), put as JSON into `page/page.html` beside its style and its
//!    script. Places are indexes of entries throughout, so that the script may draw them by time or by order.
//!
//! A failing run is shown above the nearest one that passes: the same lanes, and the same entries up to where they
//! part, which are written once.
//!
//! Invariant: a page is a pure function of the outcomes. It loads nothing, and says nothing that the history does not.

pub mod arrows;
pub mod cuts;
pub mod excerpt;
pub mod kinds;
pub mod lanes;
pub mod spans;
pub mod words;

use crate::report;
use crate::story;
use crate::verdict::{Outcome, Verdict};
use cofferdam_engine::graph::JobGraph;
use cofferdam_properties::PROPERTIES;
use cofferdam_properties::history::{Fact, History, What};
use excerpt::Excerpt;
use kinds::Kind;
use lanes::Lanes;
use serde_json::{Value, json};
use words::Words;

/// A nearest passing run, and what it does without.
#[derive(Clone, Copy)]
pub struct Nearest<'a> {
    /// The run.
    pub outcome: &'a Outcome,
    /// How its plan differs, for people.
    pub about: &'a str,
}

/// The page of a run; `command` replays it.
pub fn page(outcome: &Outcome, graph: &JobGraph, nearest: Option<Nearest<'_>>, command: &str) -> String {
    let data = data(outcome, graph, nearest, command).to_string();
    // So that nothing in it can end the script that holds it.
    let data = data.replace('<', "\\u003c");
    let title = format!("{} {}", outcome.seed, outcome.verdict.label());
    let mut page = String::with_capacity(data.len() + 65_536);
    let mut rest = include_str!("page/page.html");
    while let Some((before, behind)) = rest.split_once("/*{") {
        let (slot, behind) = behind.split_once("}*/").expect("slots of the page are closed");
        page.push_str(before);
        match slot {
            "title" => page.push_str(&title),
            "style" => page.push_str(include_str!("page/page.css")),
            "data" => page.push_str(&data),
            "drawing" => page.push_str(include_str!("page/drawing.js")),
            "controls" => page.push_str(include_str!("page/controls.js")),
            other => unreachable!("the page has no slot {other}"),
        }
        rest = behind;
    }
    page.push_str(rest);
    page
}

/// Everything that the script of the page is told.
fn data(outcome: &Outcome, graph: &JobGraph, nearest: Option<Nearest<'_>>, command: &str) -> Value {
    let parting = nearest.map(|nearest| parting(&outcome.history, &nearest.outcome.history));
    let outcomes = [Some(outcome), nearest.map(|nearest| nearest.outcome)].into_iter().flatten();
    let shown: Vec<(&Outcome, Excerpt<'_>)> = outcomes.map(|outcome| (outcome, excerpt(outcome, parting))).collect();
    let histories: Vec<&History> = shown.iter().map(|(_, excerpt)| &*excerpt.history).collect();
    let mut lanes = Lanes::of(&histories, graph);
    lanes.all[0].tracks = outcome.plan.faults.len();
    let mut words = Words::default();
    // What both have in common is written once; excerpts may differ in what they leave out of it.
    let whole = shown.iter().all(|(_, excerpt)| excerpt.numbers.is_none());
    let shared = [0, parting.filter(|_| whole).unwrap_or_default()];
    let mut runs = Vec::new();
    for ((outcome, excerpt), shared) in shown.iter().zip(shared) {
        let mut run = run(outcome, excerpt, graph, (&lanes, &mut words), shared);
        run["parting"] = json!(parting.map(|at| excerpt.place(at)));
        run["about"] = json!(nearest.map(|nearest| nearest.about));
        runs.push(run);
    }
    let kinds: Vec<Value> = Kind::ALL.iter().map(|kind| json!([kind.name(), kind.about()])).collect();
    let lanes: Vec<Value> =
        lanes.all.iter().map(|lane| json!([lane.name, lane.group, lane.sort.name(), lane.tracks])).collect();
    json!({
        "header": header(outcome, graph, command),
        "kinds": kinds,
        "spans": spans::Sort::ALL.map(spans::Sort::name),
        "arrows": arrows::Sort::ALL.map(arrows::Sort::name),
        "lanes": lanes,
        "words": words.all(),
        "runs": runs,
    })
}

fn header(outcome: &Outcome, graph: &JobGraph, command: &str) -> Value {
    let (property, promise) = match &outcome.verdict {
        Verdict::Violation { property, .. } => {
            (Some(property), PROPERTIES.iter().find(|known| known.name == property).map(|known| known.about))
        }
        _ => (None, None),
    };
    json!({
        "seed": outcome.seed.to_string(),
        "passed": outcome.verdict.passed(),
        "verdict": outcome.verdict.label(),
        "property": property,
        "promise": promise,
        "what": spelled_out(outcome.verdict.what(), graph),
        "plan": outcome.plan.to_string(),
        "fingerprint": format!("{:016x}", outcome.fingerprint),
        "deliveries": outcome.events,
        "virtual_ms": outcome.virtual_ms,
        "completed": outcome.tally.history.checkpoints_completed,
        "restores": outcome.tally.history.restores,
        "command": command,
    })
}

/// A message with its channels named after their ends: `edge-2:0>1` says little to whoever has not drawn the graph.
fn spelled_out(what: &str, graph: &JobGraph) -> String {
    let mut spelled = String::new();
    let mut rest = what;
    while let Some((before, behind)) = rest.split_once("edge-") {
        spelled.push_str(before);
        let ends = cuts::channel_in(behind).and_then(|(channel, behind)| Some((cuts::ends(channel, graph)?, behind)));
        match ends {
            Some(((from, to), behind)) => {
                spelled.push_str(&format!("{} → {}", graph.show(from), graph.show(to)));
                rest = behind;
            }
            None => {
                spelled.push_str("edge-");
                rest = behind;
            }
        }
    }
    spelled + rest
}

/// Every fault of a plan, with the entry at which it struck.
fn faults(outcome: &Outcome, history: &History) -> Vec<(String, Option<usize>)> {
    let mut faults: Vec<(String, Option<usize>)> =
        outcome.plan.faults.iter().map(|fault| (fault.to_string(), None)).collect();
    for (at, entry) in history.entries.iter().enumerate() {
        if let What::Fact(Fact::FaultFired(n)) = entry.what
            && let Some((_, struck)) = faults.get_mut(n)
        {
            struck.get_or_insert(at);
        }
    }
    faults
}

/// What of a run is shown: of a very long one what lies near its first bad step, or its end, and the parting.
fn excerpt(outcome: &Outcome, parting: Option<usize>) -> Excerpt<'_> {
    let end = outcome.history.entries.len().saturating_sub(1);
    let focus = [Some(report::first_bad_step(outcome).unwrap_or(end)), parting];
    Excerpt::of(&outcome.history, &focus.into_iter().flatten().collect::<Vec<_>>(), excerpt::ENTRIES_MAX)
}

/// One run in columns, its entries from `from` on.
fn run(
    outcome: &Outcome,
    excerpt: &Excerpt<'_>,
    graph: &JobGraph,
    (lanes, words): (&Lanes, &mut Words),
    from: usize,
) -> Value {
    let history = &*excerpt.history;
    let own = history.entries.get(from..).unwrap_or_default();
    let mut last = 0;
    let mut columns = [const { Vec::<u64>::new() }; 5];
    let mut texts = Vec::new();
    for entry in own {
        let time = entry.time / 1_000;
        let checkpoint = match &entry.what {
            What::Claim(event) => event.checkpoint().map_or(0, |checkpoint| checkpoint.0),
            What::Fact(fact) => cuts::checkpoint_of(fact).map_or(0, |checkpoint| checkpoint.0),
        };
        let lane = lanes.of_entry(entry) as u64;
        let values = [time - last, lane, Kind::of(entry) as u64, checkpoint, u64::from(entry.by.number)];
        for (column, value) in columns.iter_mut().zip(values) {
            column.push(value);
        }
        last = time;
        words.intern(&story::what(entry, graph), &mut texts);
    }
    let [times, at, kinds, checkpoints, incarnations] = columns;
    let step = report::first_bad_step(outcome).map(|step| excerpt.place(step));
    let spans = spans::of(history, lanes);
    let arrows = arrows::of(history, graph);
    let torn = cuts::torn(outcome, graph).map(|torn| {
        let place = |at| excerpt.place(at);
        json!([place(torn.sent), place(torn.taken), torn.record.map(place), torn.about])
    });
    json!({
        "shared": from,
        "numbers": excerpt.numbers,
        "whole": outcome.history.entries.len(),
        "verdict": outcome.verdict.label(),
        "times": times,
        "lanes": at,
        "kinds": kinds,
        "checkpoints": checkpoints,
        "incarnations": incarnations,
        "texts": texts,
        "step": step,
        "spans": spans.iter().map(|s| json!([s.lane, s.from, s.to, s.sort as u8, s.checkpoint, s.track, u8::from(s.open)])).collect::<Vec<_>>(),
        "arrows": arrows.iter().map(|a| json!([a.from, a.to, a.sort as u8, a.checkpoint])).collect::<Vec<_>>(),
        "cuts": cuts::of(history).iter().map(|cut| json!([cut.checkpoint.0, cut.attempt.to_string(), cut.snapshots])).collect::<Vec<_>>(),
        "outcomes": cuts::outcomes(history).iter().map(|(id, (how, at))| json!([id.0, how.name(), at])).collect::<Vec<_>>(),
        "faults": faults(outcome, history),
        "torn": torn,
        "violated": cuts::violated(outcome).map(|checkpoint| checkpoint.0),
    })
}

/// The first entry at which two histories differ.
pub fn parting(one: &History, other: &History) -> usize {
    one.entries.iter().zip(&other.entries).take_while(|(one, other)| one == other).count()
}

#[cfg(test)]
mod tests;
