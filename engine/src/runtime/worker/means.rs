//! What every part of a worker process is given.

use super::Input;
use crate::door::{Env, Site};
use crate::graph::Job;
use crate::ids::WorkerId;
use crate::messages::ToCoordinator;
use crate::runtime::changes::Changes;
use crate::runtime::mailbox::Postbox;
use crate::secret::Secret;

/// See the head of the file.
pub(super) struct Means {
    pub env: Env,
    pub job: Job,
    pub me: WorkerId,
    pub secret: Secret,
    pub inputs: Postbox<Input>,
    /// What subtasks report.
    pub reports: Postbox<ToCoordinator>,
    /// What this process has under way in storage.
    pub changes: Changes,
}

/// A place of this process.
pub(super) fn site(what: &'static str, me: WorkerId) -> Site {
    Site::new(what, u64::from(me.0))
}
