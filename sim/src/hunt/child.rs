//! The child of a hunt: runs the seeds it is told, in order, and answers each with one line.
//!
//! It exits at once when its input ends, even in the middle of a run: then its parent is gone.

use super::wire::{Order, Report};
use crate::exit::Exit;
use crate::run::Runner;
use crate::{report, story};
use cofferdam_launch::out;
use std::io::{BufRead, Write};
use std::sync::mpsc;

/// Lines of the story that a failure screen shows before and after the first bad step.
const LINES_AROUND: usize = 12;

/// Runs until the input ends.
pub fn main(runner: &Runner) -> Exit {
    let (send, orders) = mpsc::channel();
    let reading = std::thread::Builder::new().name("orders".into()).spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let order: Result<Order, String> =
                line.map_err(|e| e.to_string()).and_then(|line| serde_json::from_str(&line).map_err(|e| e.to_string()));
            if send.send(order).is_err() {
                return;
            }
        }
        std::process::exit(Exit::Clean.code().into());
    });
    if let Err(error) = reading {
        out::complain(format_args!("error: cannot start a thread: {error}"));
        return Exit::Harness;
    }
    for order in orders {
        let answered = order.and_then(|order| answer(runner, &order));
        if let Err(error) = answered {
            out::complain(format_args!("error: a child of the hunt failed: {error}"));
            return Exit::Harness;
        }
    }
    Exit::Clean
}

fn answer(runner: &Runner, order: &Order) -> Result<(), String> {
    let line = runner.run_plan_then(order.seed, order.plan(), |outcome| {
        if let Some(path) = &order.keep {
            std::fs::write(path, story::in_full(&outcome.history)).map_err(|e| format!("{}: {e}", path.display()))?;
        }
        let screen = (!outcome.verdict.passed())
            .then(|| report::screen_of(runner, &outcome, LINES_AROUND, &order.drawn().to_string()));
        let mut line = serde_json::to_vec(&Report::of(&outcome, screen)).map_err(|e| e.to_string())?;
        line.push(b'\n');
        Ok::<_, String>(line)
    })?;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line).and_then(|()| stdout.flush()).map_err(|e| e.to_string())
}
