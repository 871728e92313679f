//! Complete simulated runs with at least one crash and a restore from state, on one core.
//!
//! The rate is that of criterion's throughput: runs a second. Budget: 300, then 500.

use cofferdam_sim::builtin;
use cofferdam_sim::plan::JobKind;
use cofferdam_sim::seed::Seed;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

/// Runs that are measured together, so that one odd plan does not decide.
const RUNS: usize = 50;

fn crash_and_restore(criterion: &mut Criterion) {
    let runner = builtin::runner();
    let mut group = criterion.benchmark_group("crash-and-restore");
    group.sample_size(10);
    for job in [JobKind::WordCount, JobKind::Join] {
        let fits = |seed: &Seed| {
            let outcome = runner.run(*seed);
            outcome.plan.job == job && outcome.verdict.passed() && outcome.tally.crash_plans_with_state > 0
        };
        let seeds: Vec<Seed> = (0..).map(Seed).filter(fits).take(RUNS).collect();
        group.throughput(Throughput::Elements(RUNS as u64));
        group.bench_with_input(BenchmarkId::from_parameter(job.name()), &seeds, |bencher, seeds| {
            bencher.iter(|| {
                for seed in seeds {
                    black_box(runner.run(*seed).fingerprint);
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, crash_and_restore);
criterion_main!(benches);
