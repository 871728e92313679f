//! The chain of one subtask: a head, the transformations fused to it, and the routes of its output.
//!
//! Per batch, with every record-by-record loop monomorphic:
//! 1. the head turns the input batch into `produced` (for a source or a stateless operator: the batch itself);
//! 2. the fused transformations turn `produced` into `staged`;
//! 3. each edge but the last routes copies of `staged`, the last one takes it.
//!
//! Invariant: between calls `produced` and `staged` are empty; what waits, waits in the routes' lanes.

use super::head::Head;
use super::route::Route;
use super::transform::Transform;
use crate::element::{Batch, Record};
use crate::error::Result;
use crate::graph::{Chain, Outbox};
use crate::state::{Pages, Section};

/// A head and what is fused to it.
pub struct NodeChain<H: Head, X: Transform<H::Out>> {
    head: H,
    transform: X,
    produced: Vec<H::Out>,
    staged: Vec<X::Out>,
    routes: Vec<Box<dyn Route<X::Out>>>,
}

impl<H: Head, X: Transform<H::Out, Out: Record>> NodeChain<H, X> {
    /// A chain with its routes, one an outgoing edge, in edge order.
    pub fn new(head: H, transform: X, routes: Vec<Box<dyn Route<X::Out>>>) -> Self {
        assert!(!routes.is_empty(), "the builder rejects streams that nobody consumes");
        Self { head, transform, produced: Vec::new(), staged: Vec::new(), routes }
    }

    fn pass_on(&mut self, out: &mut Outbox) {
        self.transform.apply_all(&mut self.produced, &mut self.staged);
        if !self.staged.is_empty() {
            let (last, others) = self.routes.split_last_mut().expect("a chain has a route");
            others.iter_mut().for_each(|route| route.copy(&self.staged, out));
            last.take(&mut self.staged, out);
        }
        self.validate();
    }

    fn validate(&self) {
        assert!(self.produced.is_empty(), "everything produced was transformed");
        assert!(self.staged.is_empty(), "everything staged was routed");
        self.routes.iter().for_each(|route| route.validate());
        self.head.validate();
    }
}

impl<H: Head, X: Transform<H::Out, Out: Record>> Chain for NodeChain<H, X> {
    fn on_batch(&mut self, input: u16, batch: Batch, out: &mut Outbox) {
        assert!(!batch.is_empty(), "a batch has a record");
        self.head.on_batch(input, batch, &mut self.produced);
        self.pass_on(out);
    }

    fn on_end(&mut self, out: &mut Outbox) {
        self.head.on_end(&mut self.produced);
        self.pass_on(out);
    }

    fn flush(&mut self, out: &mut Outbox) {
        self.routes.iter_mut().for_each(|route| route.flush(out));
        self.validate();
    }

    fn snapshot(&mut self) -> Box<dyn Pages> {
        self.head.snapshot()
    }

    fn restore(&mut self, sections: &[Section]) -> Result<()> {
        self.head.restore(sections)?;
        self.validate();
        Ok(())
    }
}
