//! A random graph as a job, through the public API.

use super::functions::{self, CoGroup, Datum, Enrich, Gate, Hold, Join, Number, Session, Tag, Tick, Total, told};
use super::outside::LogSink;
use super::{GraphSpec, Node, Operator, Step, Travel};
use cofferdam_engine::connectors::{FileSink, Generator, TextLines};
use cofferdam_engine::error::Result;
use cofferdam_engine::graph::JobGraph;
use cofferdam_engine::job::{Emit, Head, JobBuilder, Keyed, Origin, Shared, Stream, Transform};
use std::time::Duration;

/// A stream of the graph, keyed.
type ByKey<'j> = Keyed<'j, Datum, u32, fn(&Datum) -> u32>;

impl GraphSpec {
    /// The graph that the engine runs: sources read below `input`, sinks write below `output`.
    pub fn build(&self, input: &str, output: &str) -> Result<JobGraph> {
        let job = JobBuilder::new("graph");
        let mut streams: Vec<Option<Shared<'_, Datum>>> = Vec::with_capacity(self.nodes.len());
        for n in 0..self.nodes.len() {
            let stream = Site { spec: self, job: &job, n, streams: &streams, input, output }.add();
            streams.push(stream);
        }
        drop(streams);
        job.build()
    }
}

/// The uid of a node.
pub fn uid(n: usize, node: &Node) -> String {
    format!("n{n}-{}", node.operator.name())
}

/// Where a node is added: after all that come before it.
struct Site<'s, 'j> {
    spec: &'s GraphSpec,
    job: &'j JobBuilder,
    n: usize,
    streams: &'s [Option<Shared<'j, Datum>>],
    input: &'s str,
    output: &'s str,
}

impl<'j> Site<'_, 'j> {
    /// Adds it; a sink has no stream.
    fn add(&self) -> Option<Shared<'j, Datum>> {
        let uid = &uid(self.n, self.node())[..];
        Some(match self.node().operator {
            Operator::Generate { .. } | Operator::Read { .. } => self.source(uid),
            Operator::Apply(step) => self.apply(uid, step),
            Operator::Sum => self.end(self.keyed(0).emit(Emit::AtEnd).aggregate(uid, Total).map(&told_by(uid), told)),
            Operator::RunningSum => self.end(self.keyed(0).aggregate(uid, Total).map(&told_by(uid), told)),
            Operator::Greatest => {
                let greatest = self.keyed(0).emit(Emit::AtEnd).reduce(uid, |most: &mut Datum, datum| {
                    *most = datum.max(most.clone());
                });
                self.end(greatest.map(&told_by(uid), |(_, datum)| datum))
            }
            Operator::Last => {
                let last = self.keyed(0).emit(Emit::AtEnd).reduce(uid, |last, datum| *last = datum);
                self.end(last.map(&told_by(uid), |(_, datum)| datum))
            }
            Operator::Distinct => self.end(self.keyed(0).process(uid, functions::distinct)),
            Operator::Tick { every } => self.end(self.keyed(0).process_with(uid, Tick(every))),
            Operator::Session { every } => self.end(self.keyed(0).process_with(uid, Session(every))),
            Operator::Number => self.end(self.stream(0).process_local(uid, Number)),
            Operator::Hold => self.end(self.stream(0).process_local(uid, Hold(usize::MAX))),
            Operator::Gather { size } => self.end(self.stream(0).process_local(uid, Hold(size))),
            Operator::Join => self.end(self.keyed(0).connect(self.keyed(1)).process_with(uid, Join)),
            Operator::CoGroup => self.end(self.keyed(0).connect(self.keyed(1)).process_with(uid, CoGroup)),
            Operator::Gate => self.end(self.keyed(0).connect(self.keyed(1)).process_with(uid, Gate)),
            Operator::Tag => self.end(self.stream(0).process_local_with(uid, self.stream(1), Tag)),
            Operator::Enrich => self.end(self.stream(0).process_local_with(uid, self.stream(1), Enrich)),
            Operator::Write => {
                let sink = FileSink::new(&functions::folder_of(self.output, self.n), Datum::format);
                let _ = self.stream(0).sink(uid, sink).parallelism(self.node().parallelism);
                return None;
            }
            Operator::Append => {
                let _ = self.stream(0).sink(uid, LogSink).parallelism(self.node().parallelism);
                return None;
            }
        })
    }

    fn node(&self) -> &Node {
        &self.spec.nodes[self.n]
    }

    fn source(&self, uid: &str) -> Shared<'j, Datum> {
        let (keys, parallelism) = (self.spec.keys, u64::from(self.node().parallelism));
        match self.node().operator {
            Operator::Generate { salt, records, interval_ms, burst } => {
                let made =
                    move |subtask: u16, index: u64| Datum::made(salt, index * parallelism + u64::from(subtask), keys);
                let source = Generator::new(made).records(records).paced(Duration::from_millis(interval_ms), burst);
                self.end(self.job.source(uid, source))
            }
            Operator::Read { split_bytes, chunk_bytes, .. } => {
                let lines = TextLines::new(&functions::folder_of(self.input, self.n));
                let lines = lines.split_bytes(split_bytes).chunk_bytes(chunk_bytes);
                self.end(self.job.source(uid, lines).map(&format!("{uid}-parse"), |line| Datum::parse(&line)))
            }
            _ => unreachable!("asked for a source"),
        }
    }

    fn apply(&self, uid: &str, step: Step) -> Shared<'j, Datum> {
        let stream = self.stream(0);
        match step {
            Step::Add(number) => self.end(stream.map(uid, move |datum| functions::add(number, datum))),
            Step::Rekey(keys) => self.end(stream.map(uid, move |datum| functions::rekey(keys, datum))),
            Step::Drop(one_in) => self.end(stream.filter(uid, move |datum| functions::keeps(one_in, datum))),
            Step::Expand(copies) => {
                self.end(stream.flat_map(uid, move |datum, out| functions::expand(copies, &datum, out)))
            }
        }
    }

    /// What arrives on a port, each producer's records in their own way.
    fn stream(&self, port: u16) -> Shared<'j, Datum> {
        let inputs = self.node().inputs.iter().filter(|input| input.port == port);
        let streams = inputs.map(|input| {
            let stream = self.streams[input.from].clone().expect("nobody consumes a sink");
            match input.exchange {
                Travel::Forward => stream.forward(),
                Travel::Rebalance => stream.rebalance(),
                Travel::Broadcast => stream.broadcast(),
                Travel::ByKey => stream,
            }
        });
        streams.reduce(Shared::union).expect("every port has an input")
    }

    fn keyed(&self, port: u16) -> ByKey<'j> {
        self.stream(port).key_by(|datum: &Datum| datum.key)
    }

    /// Fuses what shall be fused, and ends the operator.
    fn end<O, X>(&self, stream: Stream<'j, O, X>) -> Shared<'j, Datum>
    where
        O: Origin,
        X: Transform<<O::Head as Head>::Out, Out = Datum>,
    {
        let stream = stream.parallelism(self.node().parallelism);
        let uid = &format!("n{}-fused", self.n)[..];
        match self.node().fused {
            None => stream.shared(),
            Some(Step::Add(number)) => stream.map(uid, move |datum| functions::add(number, datum)).shared(),
            Some(Step::Rekey(keys)) => stream.map(uid, move |datum| functions::rekey(keys, datum)).shared(),
            Some(Step::Drop(one_in)) => stream.filter(uid, move |datum| functions::keeps(one_in, datum)).shared(),
            Some(Step::Expand(copies)) => {
                stream.flat_map(uid, move |datum, out| functions::expand(copies, &datum, out)).shared()
            }
        }
    }
}

fn told_by(uid: &str) -> String {
    format!("{uid}-told")
}
