//! Farewell: a coordinator that finds the job over tells the workers that still look for one, and leaves.
//!
//! Whoever wrote the end may have died before it told its workers; they would dial for ever. Nobody knows who is still
//! there, so this lasts until as many workers as the job needs have been told and are gone, or until a worker must have
//! noticed the loss of its coordinator and dialled again.
//!
//! Owns: nothing but open connections. Nothing is decided here: the log has said it.

use super::connections::Connections;
use super::{ConnectionId, Input};
use crate::config::JobConfig;
use crate::door::Env;
use crate::ids::WorkerId;
use crate::messages::{ToCoordinator, ToWorker};
use crate::runtime::mailbox::{Mailbox, Postbox};
use std::collections::BTreeSet;

/// Answers every registration with the end of the job, for a while.
pub(super) async fn tell(
    env: &Env,
    config: &JobConfig,
    workers: u16,
    inbox: Postbox<Input>,
    mailbox: &mut Mailbox<Input>,
) {
    let mut connections = Connections::new(env.clock.now(), config);
    let mut told = BTreeSet::new();
    // Silence is noticed after one timeout; dialling again may take another.
    let until = env.clock.now() + config.heartbeat_timeout * 2;
    while env.clock.now() < until && (told.len() < usize::from(workers) || !connections.is_empty()) {
        let mut alarm = env.clock.sleep_until(connections.deadline().min(until));
        match mailbox.take_before(&mut alarm).await {
            Some(Input::Accepted(connection)) => connections.open(env, inbox.clone(), connection),
            Some(Input::Message(id, message)) => told.extend(answer(env, &mut connections, id, message)),
            Some(Input::Broken(id, _)) => connections.close(id),
            Some(Input::NotListening(_)) => break,
            // Nothing else was asked for, and the job is over already.
            Some(_) => {}
            None => {
                let silent = connections.on_alarm(env.clock.now());
                silent.into_iter().for_each(|id| connections.close(id));
            }
        }
    }
    connections.close_all();
}

fn answer(env: &Env, connections: &mut Connections, id: ConnectionId, message: ToCoordinator) -> Option<WorkerId> {
    let open = connections.heard(env.clock.now(), id)?;
    let ToCoordinator::Register { worker, data_address, .. } = message else { return None };
    open.worker = Some((worker, data_address));
    connections.send(id, &ToWorker::JobDone);
    Some(worker)
}
