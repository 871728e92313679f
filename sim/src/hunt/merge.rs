//! `merge`: the results of several hunts as one, whatever machines they ran on.
//!
//! It reads what `hunt --json` prints and what `hunt --coverage` writes: lines of JSON, of which those with a summary count.

use super::campaign::Campaign;
use super::publish::{PublishArgs, publish};
use crate::cli::complain;
use crate::exit::Exit;
use clap::Args;
use cofferdam_launch::out;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Options of `merge`.
#[derive(Args, Clone, Debug)]
pub struct MergeArgs {
    /// What `hunt --json` printed or `hunt --coverage` wrote
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// What to write beside the output
    #[command(flatten)]
    pub publish: PublishArgs,
    /// Print one line of JSON
    #[arg(long)]
    pub json: bool,
}

/// Merges files, prints the sum, and exits as a single hunt would.
pub fn command(args: &MergeArgs) -> Exit {
    if let Err(message) = args.publish.writable() {
        return complain(&message, Exit::Usage);
    }
    let mut sum = Campaign::default();
    for path in &args.files {
        match summaries(path) {
            Ok(campaigns) => campaigns.iter().for_each(|campaign| sum.add(campaign)),
            Err(message) => return complain(&message, Exit::Usage),
        }
    }
    conclude(&sum, &args.publish, || if args.json { out::say(json!({ "summary": sum })) } else { out::say(&sum) })
}

/// Publishes a campaign, lets it be told, and gives the exit code: marks that were asked for and missed are a failure.
pub fn conclude(campaign: &Campaign, args: &PublishArgs, tell: impl FnOnce()) -> Exit {
    tell();
    if let Err(message) = publish(campaign, args) {
        return complain(&message, Exit::Harness);
    }
    match campaign.exit() {
        Exit::Clean if args.require_marks && !campaign.missing_marks.is_empty() => {
            complain(&format!("never reached: {}", campaign.missing_marks.join("; ")), Exit::Violation)
        }
        exit => exit,
    }
}

fn summaries(path: &Path) -> Result<Vec<Campaign>, String> {
    let wrong = |cause: String| format!("{}: {cause}", path.display());
    let text = std::fs::read_to_string(path).map_err(|e| wrong(e.to_string()))?;
    let mut campaigns = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let mut value: Value = serde_json::from_str(line).map_err(|e| wrong(format!("not lines of JSON: {e}")))?;
        let Some(summary) = value.get_mut("summary").map(Value::take) else { continue };
        campaigns.push(serde_json::from_value(summary).map_err(|e| wrong(format!("no summary of this build: {e}")))?);
    }
    if campaigns.is_empty() {
        return Err(wrong("there is no summary of a hunt in it".to_owned()));
    }
    Ok(campaigns)
}
