//! The whole test of a job: one line. And that it is worth something: it convicts sinks that are subtly wrong.

use cofferdam_sim::capsule::text;
use cofferdam_sim::check::{Check, Failure, check};
use cofferdam_sim::external::{Log, Table};
use outside::{Flaw, LOG, TABLE, orders};
use std::path::Path;
use std::process::Command;

fn with(flaw: Option<Flaw>) -> Check {
    check(move |job| orders(job, flaw)).named("orders").external(LOG, Log::new).external(TABLE, Table::new)
}

#[test]
fn every_order_is_in_the_log_and_in_its_customers_balance_exactly_once() {
    with(None).seeds(200).run();
}

fn convicted(flaw: Flaw) -> String {
    let failure = with(Some(flaw)).seeds(400).try_run().expect_err("it is wrong");
    println!("{failure}");
    failure.property().expect("a run failed").to_owned()
}

#[test]
fn a_sink_that_commits_in_prepare_is_convicted() {
    assert_eq!(convicted(Flaw::CommitsInPrepare), "external-output");
}

#[test]
fn a_sink_that_commits_again_under_another_name_is_convicted() {
    assert_eq!(convicted(Flaw::NewNameForEachCommit), "external-output");
}

#[test]
fn a_sink_that_forgets_what_was_restored_is_convicted() {
    assert_eq!(convicted(Flaw::ForgetsWhatWasRestored), "external-output");
}

#[test]
fn a_sink_that_puts_rows_into_the_table_again_is_convicted() {
    assert_eq!(convicted(Flaw::PutsRowsInAgain), "external-output");
}

/// What the screen of a failure offers: the same run again, told as far as the bad step, and drawn above one that passes. The
/// environment says so, so it is another process that does it: this program, with the test above.
#[test]
fn the_run_that_convicts_a_sink_can_be_told_and_drawn() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let (capsule, page) = (folder.join("forgets.toml"), folder.join("run.html"));
    let failure = with(Some(Flaw::ForgetsWhatWasRestored)).seeds(400).try_run().expect_err("it is wrong");
    let Failure::Run(run) = failure else { panic!("{failure}") };
    text::save(&capsule, &run.capsule).expect("written");

    let test = "a_sink_that_forgets_what_was_restored_is_convicted";
    let replay = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", test])
        .env("COFFERDAM_CAPSULE", &capsule)
        .env("COFFERDAM_UNTIL", "fault_fired")
        .env("COFFERDAM_HTML", &page)
        .output()
        .expect("this program starts");
    let told = String::from_utf8_lossy(&replay.stdout);
    assert!(replay.status.success() && told.contains("fault 0 strikes") && told.contains("log[0]"), "{told}");
    assert!(told.contains("above the nearest run that passes: without"), "{told}");
    let page = std::fs::read_to_string(page).expect("a page");
    assert!(page.contains("external-output") && page.contains(&format!("cargo test {test}")), "it says what it shows");
}

/// The log itself refuses to take more into a transaction that is closed, so the job never gets anywhere.
#[test]
fn a_sink_with_one_name_for_all_never_gets_done() {
    assert_eq!(convicted(Flaw::OneNameForAll), "progress-after-healing");
}
