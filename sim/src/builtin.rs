//! The built-in subject: the jobs that come with the engine, run by its coordinator and workers as they are.

mod client;
mod stranger;

use crate::plan::{InputShape, Plan};
use crate::run::{GAVE_UP, Runner, Staging};
use crate::seed::Seed;
use crate::world::{self, Main, OnError, ProcessSpec};
use cofferdam_engine::door::Env;
use cofferdam_engine::error::Reaction;
use cofferdam_engine::graph::Job;
use cofferdam_engine::ids::{ClientId, CoordinatorId, WorkerId};
use cofferdam_engine::jobs::{self, BuiltIn, JobParameters};
use cofferdam_engine::runtime::coordinator::{self, CoordinatorOptions, JobEnd, LEASE, Listen, Rivalry, Start};
use cofferdam_engine::runtime::mailbox::{Either, race};
use cofferdam_engine::runtime::worker::{self, WorkerOptions};
use cofferdam_engine::secret::Secret;
use cofferdam_properties::Reference;
use cofferdam_properties::external::Models;
use cofferdam_properties::history::Process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

const INPUT: &str = "input";
const OUTPUT: &str = "output";

/// Runs seeds of the built-in jobs.
pub fn runner() -> Runner {
    Runner::new(Arc::new(stage), world::run_here)
}

fn stage(seed: Seed, plan: &Plan) -> Result<Staging, String> {
    let initial = plan.input.objects(seed, INPUT);
    let mut models = Models::default();
    let (job, reference) = match &plan.input {
        InputShape::Graph(spec) => {
            models = spec.models();
            let graph = spec.build(INPUT, OUTPUT).map_err(|e| e.to_string())?;
            (Job { graph: Arc::new(graph), config: plan.config() }, spec.reference(OUTPUT))
        }
        InputShape::Own(_) => {
            return Err("it runs a job that is not built in: replay it by the test it belongs to".to_owned());
        }
        InputShape::Files { .. } | InputShape::Generated { .. } => {
            let built_in: &BuiltIn = jobs::find(plan.job.name()).map_err(|e| e.to_string())?;
            let parameters = parameters(plan);
            let job = (built_in.build)(&parameters).map_err(|e| e.to_string())?;
            let outputs = (built_in.reference)(&parameters, &initial);
            // What a stateless pipeline writes: a record processed again is written again.
            let additive = outputs.keys().filter(|prefix| *prefix == "output/tokens").cloned().collect();
            (job, Reference { outputs, additive })
        }
    };
    let processes = processes(plan, &job);
    Ok(Staging { job, initial, reference: Some(reference), models, processes })
}

fn parameters(plan: &Plan) -> JobParameters {
    let mut parameters = JobParameters { parallelism: plan.parallelism, config: plan.config(), ..Default::default() };
    match plan.input {
        InputShape::Graph(_) | InputShape::Own(_) => {}
        InputShape::Files { split_bytes, chunk_bytes, .. } => {
            parameters.split_bytes = split_bytes;
            parameters.chunk_bytes = chunk_bytes;
        }
        InputShape::Generated { records, keys, interval_ms, burst } => {
            parameters.records = records;
            parameters.keys = keys;
            parameters.interval = Duration::from_millis(interval_ms);
            parameters.burst = burst;
        }
    }
    parameters
}

/// Who runs a job under a plan.
pub fn processes(plan: &Plan, job: &Job) -> Vec<ProcessSpec> {
    let over = Arc::new(AtomicBool::new(false));
    let given_up = Arc::new(AtomicU16::new(0));
    let on_error = OnError::Restart { after_ms: plan.supervisor_delay_ms };
    let coordinator = |id| ProcessSpec {
        process: Process::Coordinator(id),
        main: coordinator_main(job.clone(), plan, id, over.clone(), given_up.clone()),
        on_error,
    };
    let addresses: Vec<String> = (0..plan.coordinators()).map(CoordinatorId).map(address).collect();
    let worker = |worker| ProcessSpec {
        process: Process::Worker(worker),
        main: worker_main(job.clone(), worker, addresses.clone(), over.clone()),
        on_error,
    };
    let coordinators = (0..plan.coordinators()).map(CoordinatorId).map(coordinator);
    let workers = (0..plan.workers).map(WorkerId).map(worker);
    let clients = plan.clients.iter().zip(0..).map(|(client, number)| ProcessSpec {
        process: Process::Client(ClientId(number)),
        main: match client.stranger {
            None => client::main(client.clone(), addresses.clone(), over.clone()),
            Some(_) => {
                let victims = stranger::victims(&addresses, plan.workers);
                stranger::main(client.clone(), job.graph.fingerprint(), victims, over.clone())
            }
        },
        on_error: OnError::StayDown,
    });
    coordinators.chain(workers).chain(clients).collect()
}

/// What members of a job know in this world.
fn secret() -> Secret {
    Secret::new(b"known to members of the job only".to_vec()).expect("it is long enough")
}

/// Where a coordinator listens.
fn address(id: CoordinatorId) -> String {
    format!("{id}:6123")
}

/// A coordinator under a supervisor: one that is deposed or cannot work now comes up again, one that gives the job up
/// does not. One of two watches the other, and neither submits the job: an end that one of them announces is the end of the
/// job. One that gives up (there is no input, say) speaks for itself: the other still leads, and needs its workers.
fn coordinator_main(job: Job, plan: &Plan, id: CoordinatorId, over: Arc<AtomicBool>, given_up: Arc<AtomicU16>) -> Main {
    let (workers, lease) = (plan.needed_workers(), plan.standby_lease_ms.map(Duration::from_millis));
    let coordinators = plan.coordinators();
    let submitted = AtomicBool::new(lease.is_some());
    Arc::new(move |env: Env| {
        let (job, over, given_up) = (job.clone(), over.clone(), given_up.clone());
        // One that comes up again only leads on.
        let start = if submitted.swap(true, Ordering::Relaxed) { Start::Resume } else { Start::Submit };
        let options = CoordinatorOptions {
            listen: Listen::At(address(id)),
            workers,
            spare: true,
            start,
            rivalry: if lease.is_some() { Rivalry::Standby } else { Rivalry::Depose },
            lease: lease.unwrap_or(LEASE),
            ready: None,
            statistics: None,
            secret: secret(),
        };
        Box::pin(async move {
            let (is_over, end) = match coordinator::run(env, job, options).await {
                Ok(JobEnd::Finished { checkpoint }) => (true, Ok(format!("finished with {checkpoint}"))),
                Ok(JobEnd::AlreadyFinished { checkpoint }) => (true, Ok(format!("had finished with {checkpoint}"))),
                Ok(JobEnd::Cancelled) => (true, Ok("was cancelled".to_owned())),
                Err(error) => match error.reaction {
                    Reaction::Restart | Reaction::Fenced => (false, Err(error.to_string())),
                    Reaction::GiveUp | Reaction::Corrupt => {
                        let all = given_up.fetch_add(1, Ordering::Relaxed) + 1 == coordinators;
                        (all, Ok(format!("{GAVE_UP}{error}")))
                    }
                },
            };
            over.fetch_or(is_over, Ordering::Relaxed);
            end
        })
    })
}

/// How often a worker looks whether the job is over.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// What it has then to end by itself.
const GRACE: Duration = Duration::from_secs(3);

/// A worker, until it ends or is taken down because the job is over: one that comes up after that finds no coordinator
/// and would look for one for ever.
fn worker_main(job: Job, worker: WorkerId, coordinators: Vec<String>, over: Arc<AtomicBool>) -> Main {
    Arc::new(move |env: Env| {
        let (job, over) = (job.clone(), over.clone());
        let options = WorkerOptions {
            worker,
            coordinators: coordinators.clone(),
            listen: format!("{worker}:0"),
            announce: None,
            secret: secret(),
        };
        Box::pin(async move {
            let taken_down = taken_down(env.clone(), over);
            match race(Box::pin(worker::run(env, job, options)), Box::pin(taken_down)).await {
                Either::First(Ok(())) => Ok("done".to_owned()),
                Either::First(Err(error)) => Err(error.to_string()),
                Either::Second(()) => Ok("taken down after the job".to_owned()),
            }
        })
    })
}

/// Ready once the job is over, and whoever can end by itself has.
async fn taken_down(env: Env, over: Arc<AtomicBool>) {
    while !over.load(Ordering::Relaxed) {
        env.sleep(LOOK_EVERY).await;
    }
    env.sleep(GRACE).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::JobKind;
    use crate::strategy::sweep;
    use crate::world::{CheckpointAt, Fault, FaultKind, Forgery, Point, Target, Trigger};
    use cofferdam_engine::event::Event;
    use cofferdam_properties::history::What;

    #[test]
    fn every_plan_can_be_staged() {
        for seed in (0..200).map(Seed) {
            let plan = Plan::of(seed);
            let staging = stage(seed, &plan).expect("it can be staged");
            assert_eq!(staging.processes.len(), usize::from(plan.workers + plan.coordinators()) + plan.clients.len());
            assert_eq!(staging.job.graph.subtasks().len() as u32, plan.input.subtasks(plan.parallelism));
            let outputs = staging.reference.expect("every job has one").outputs;
            assert!(plan.job == JobKind::Graph || !outputs.is_empty(), "{plan}");
        }
    }

    /// A small job in which one worker says this once, at this event.
    fn struck(forgery: Forgery, event: &str, instead: bool) -> (bool, u32, usize) {
        let mut plan = sweep::tiny(false);
        let checkpoint = (event == "upload_ended").then_some(CheckpointAt::Ordinal(1));
        let at = Trigger::Point(Point { event: event.to_owned(), checkpoint, ..Point::default() });
        plan.faults = vec![Fault { at, what: FaultKind::Rogue { process: Target::Announcer, forgery, instead } }];
        let outcome = runner().run_plan(Seed(7), plan);
        let is_rejection = |what: &What| matches!(what, What::Claim(Event::ReportRejected { .. }));
        let rejections = outcome.history.entries.iter().filter(|entry| is_rejection(&entry.what)).count();
        assert!(outcome.verdict.passed(), "{forgery} at {event}: {:?}", outcome.verdict);
        (outcome.tally.history.finished == 1, outcome.faults[0].struck, rejections)
    }

    #[test]
    fn every_forgery_costs_the_connection_and_the_job_finishes() {
        for instead in [false, true] {
            for forgery in Forgery::ALL {
                assert_eq!(struck(forgery, "upload_ended", instead), (true, 1, 1), "{forgery}");
            }
            for forgery in [Forgery::ForeignSubtask, Forgery::OtherAttempt, Forgery::Repeated, Forgery::Early] {
                assert_eq!(struck(forgery, "restored", instead), (true, 1, 1), "{forgery}");
                assert_eq!(struck(forgery, "input_ended", instead), (true, 1, 1), "{forgery}");
            }
        }
    }
}
