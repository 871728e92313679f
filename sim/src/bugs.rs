//! Planted bugs: real bugs of real engines, re-created in a copy of this workspace, to prove that a hunt convicts.
//!
//! 1. [`planted`] reads `corpus/bugs/*.toml`: the story, the edits, the property that must convict.
//! 2. [`plant`] has the program of `cofferdam-planting` apply the edits. Each names an item and a text in it. The block
//!    around the text becomes `if planted::is(NUMBER) { … } else { … }`, so that one build serves most bugs; the others
//!    get a build of their own.
//! 3. [`copy`] mirrors the workspace under `target/bugs`, edited, and builds it there.
//! 4. Each bug is hunted until the first failure, and how it was caught is a line of the table.
//!
//! The engine's own source contains no planted code, and this program runs no edited code in its own process.

pub mod capsules;
pub mod copy;
pub mod plant;
pub mod planted;
pub mod table;

use crate::cli::{complain, fresh_seed};
use crate::exit::Exit;
use crate::hunt::ledger::Failure;
use crate::hunt::pool::{ChildCommand, hunt};
use crate::hunt::summary::Progress;
use crate::hunt::{HuntOptions, Output, Shard};
use crate::seed::Seed;
use crate::strategy::{Choice, Name};
use crate::verdict::Verdict;
use cofferdam_launch::out;
use planted::PlantedBug;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use table::{Catch, Compared, Row};

/// The variable that switches a planted bug on in the edited copy.
pub const SWITCH: &str = "COFFERDAM_PLANTED";

/// A strategy that is only compared may take so many times the runs of the first, and at least so many.
const COMPARED_FOR: u64 = 12;
const COMPARED_LEAST: u64 = 120;

/// How to hunt planted bugs.
#[derive(Clone, PartialEq, Debug)]
pub struct BugsOptions {
    /// Only these; all if empty.
    pub names: Vec<String>,
    /// How plans are drawn: the first must catch, the others are compared with it.
    pub strategies: Strategies,
    /// Seeds for each bug.
    pub seeds: u64,
    /// The first seed; a fresh one for each hunt if `None`.
    pub first: Option<Seed>,
    /// Hunts for each bug, for the median.
    pub repeat: u64,
    /// Child processes.
    pub jobs: usize,
    /// Machine-readable output.
    pub json: bool,
    /// Shrink what was caught, and keep the capsules.
    pub shrink: Option<Duration>,
    /// Only list them.
    pub list: bool,
}

/// Strategies in the order in which they were asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Strategies(pub Vec<Choice>);

/// Reads `mix`, `mix,times`, or `all`.
pub fn parse_strategies(text: &str) -> Result<Strategies, String> {
    if text == "all" {
        return Ok(Strategies(std::iter::once(Choice::Mix).chain(Name::ALL.map(Choice::One)).collect()));
    }
    text.split(',').map(str::parse).collect::<Result<_, _>>().map(Strategies)
}

/// Hunts the planted bugs of the workspace at `root`.
pub fn bugs(root: &Path, options: &BugsOptions) -> Exit {
    let all = match planted::load(&root.join("corpus/bugs")) {
        Ok(all) => all,
        Err(message) => return complain(&message, Exit::Usage),
    };
    let unknown = options.names.iter().find(|name| all.iter().all(|bug| bug.name != **name));
    if let Some(name) = unknown {
        let known: Vec<&str> = all.iter().map(|bug| bug.name.as_str()).collect();
        return complain(&format!("no planted bug is called `{name}`; there are {}", known.join(", ")), Exit::Usage);
    }
    let chosen: Vec<PlantedBug> =
        all.into_iter().filter(|bug| options.names.is_empty() || options.names.contains(&bug.name)).collect();
    if options.list {
        out::say(table::list(&chosen));
        return Exit::Clean;
    }
    match hunt_all(root, options, &chosen) {
        Ok(rows) => {
            out::say(if options.json { table::json(&rows) } else { table::text(&rows) });
            let silent: Vec<&str> =
                rows.iter().filter(|row| row.capsule_is_silent()).map(|row| row.bug.name.as_str()).collect();
            if !silent.is_empty() {
                let message = format!("capsules that do not convict their bug any more: {}", silent.join(", "));
                return complain(&message, Exit::Violation);
            }
            if rows.iter().any(Row::missed) { Exit::Violation } else { Exit::Clean }
        }
        Err(message) => complain(&message, Exit::Harness),
    }
}

fn hunt_all(root: &Path, options: &BugsOptions, chosen: &[PlantedBug]) -> Result<Vec<Row>, String> {
    let mut rows = Vec::new();
    for build in plant::builds(root, chosen)? {
        let names: Vec<&str> = build.bugs.iter().map(|bug| bug.name.as_str()).collect();
        out::complain(format_args!("building a copy with {}", names.join(", ")));
        let program = copy::build(root, &build)?;
        for bug in &build.bugs {
            let command = ChildCommand {
                program: program.clone(),
                arguments: vec!["hunt-child".into()],
                environment: vec![(SWITCH.into(), bug.name.clone())],
            };
            let row = hunt_one(root, options, bug, &command)?;
            out::complain(table::line(&row));
            rows.push(row);
        }
    }
    Ok(rows)
}

fn hunt_one(root: &Path, options: &BugsOptions, bug: &PlantedBug, command: &ChildCommand) -> Result<Row, String> {
    let capsule = capsules::replayed(root, bug, command)?;
    let (hunts, seeds) = (options.repeat, options.seeds);
    let Strategies(strategies) = &options.strategies;
    let mut row =
        Row { bug: bug.clone(), hunts, seeds, catches: Vec::new(), compared: Vec::new(), capsule, shrunk: None };
    for (n, &strategy) in strategies.iter().enumerate() {
        // What is only compared is given up once it has taken so many times longer.
        let enough = |median: u64| median.saturating_mul(COMPARED_FOR).max(COMPARED_LEAST);
        let seeds = if n == 0 { seeds } else { row.median_runs().map_or(seeds, enough).min(seeds) };
        let (mut catches, mut misses) = (Vec::new(), 0);
        // Nor has it a median any more once most of its hunts have missed.
        while (catches.len() as u64) + misses < hunts && (n == 0 || misses * 2 <= hunts) {
            let Some((catch, failure)) = hunt_once(options, strategy, seeds, command, bug)? else {
                misses += 1;
                continue;
            };
            if let Some(time) = options.shrink.filter(|_| row.shrunk.is_none() && catch.expected_of(bug)) {
                row.shrunk = capsules::shrink(root, bug, command, &failure, time, row.capsule.as_deref())?;
            }
            catches.push(catch);
        }
        if n == 0 {
            row.catches = catches;
        } else {
            row.compared.push(Compared { strategy, seeds, catches });
        }
    }
    Ok(row)
}

/// Hunts a bug until it is caught.
fn hunt_once(
    options: &BugsOptions,
    strategy: Choice,
    seeds: u64,
    command: &ChildCommand,
    bug: &PlantedBug,
) -> Result<Option<(Catch, Failure)>, String> {
    let hunting = HuntOptions {
        first: options.first.unwrap_or_else(fresh_seed),
        strategy,
        saturated_after: None,
        job: None,
        seeds: Some(seeds),
        time: None,
        shard: Shard::WHOLE,
        stop_after: 1,
        jobs: options.jobs,
        twice_every: 0,
        hang_after: Duration::from_secs(60),
        known: BTreeMap::new(),
        output: Output::Quiet,
    };
    let hunted = hunt(&hunting, command, &mut Progress::new(&hunting));
    if hunted.interrupted {
        return Err("interrupted".to_owned());
    }
    if let Some(trouble) = hunted.trouble {
        return Err(format!("{}: {trouble}", bug.name));
    }
    let Some(failure) = hunted.ledger.failures.into_iter().next() else { return Ok(None) };
    let drawn = failure.order.drawn();
    if let Verdict::HarnessError { message } = &failure.report.verdict {
        return Err(format!("{}: the harness failed on {drawn}: {message}", bug.name));
    }
    let runs = drawn.seed.0.wrapping_sub(hunting.first.0) + 1;
    Ok(Some((Catch { drawn, verdict: failure.report.verdict.clone(), runs }, failure)))
}
