//! What the [door](crate::door) promises, as bodies that run against any implementation of it: the production one and
//! the simulated one. A body panics where a promise is broken, naming the promise.
//!
//! [`sabotage`] holds doors that break one promise each, to show that the bodies notice.
//!
//! Bodies use nothing but the door itself, and assume a world that is in order: no faults, processes that stay up.
//! What may be lost or unknown *under* faults is the business of the simulated world's own tests.

pub mod clock;
pub mod external;
pub mod network;
pub mod sabotage;
pub mod schedule;
pub mod spawner;
pub mod storage;
pub mod trace;

use crate::door::{BoxFuture, Env, Site};
use crate::runtime::mailbox::Mailbox;

/// Runs the futures side by side and returns what they yield, in their order.
pub(crate) async fn all<T: Send + 'static>(env: &Env, futures: Vec<BoxFuture<'static, T>>) -> Vec<T> {
    let (postbox, mut mailbox) = Mailbox::new(env, Site::new("conformance", 0));
    let count = futures.len();
    for (index, future) in futures.into_iter().enumerate() {
        let postbox = postbox.clone();
        let task = async move { postbox.post((index, future.await)) };
        env.spawner.spawn(Site::new("conformance", index as u64), Box::pin(task));
    }
    let mut outputs = Vec::with_capacity(count);
    while outputs.len() < count {
        outputs.push(mailbox.take().await);
    }
    outputs.sort_by_key(|(index, _)| *index);
    outputs.into_iter().map(|(_, output)| output).collect()
}
