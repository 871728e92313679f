//! The whole test of a job: one line. And that it is worth something: it convicts sinks that are subtly wrong.

use cofferdam_sim::check::{Check, check};
use cofferdam_sim::external::{Log, Table};
use outside::{Flaw, LOG, TABLE, orders};

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

/// The log itself refuses to take more into a transaction that is closed, so the job never gets anywhere.
#[test]
fn a_sink_with_one_name_for_all_never_gets_done() {
    assert_eq!(convicted(Flaw::OneNameForAll), "progress-after-healing");
}
