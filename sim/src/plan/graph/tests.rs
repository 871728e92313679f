//! Random graphs are valid however they came about, and can be built and foretold. That the engine's result is the
//! reference's is what hunts show.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

fn builds(spec: &GraphSpec) {
    assert_eq!(spec.validate(), Ok(()), "{spec}");
    let graph = spec.build("input", "output").unwrap_or_else(|error| panic!("{error}\n{spec}"));
    assert_eq!(graph.operators.len(), spec.nodes.len(), "{spec}");
    assert_eq!(graph.subtasks().len() as u32, spec.subtasks(), "{spec}");
    let channels: usize = graph
        .edges
        .iter()
        .map(|edge| (0..graph.operator(edge.to).parallelism).map(|to| graph.producers(edge, to).len()).sum::<usize>())
        .sum();
    assert_eq!(channels as u32, spec.channels(), "{spec}");
    let (volumes, reference) = (spec.volumes(), spec.reference("output"));
    for (folder, lines) in &reference.outputs {
        let n: usize = folder.strip_prefix("output/n").and_then(|n| n.parse().ok()).expect("a sink's folder");
        assert!(lines.len() as u64 <= volumes[n], "{} lines below {folder}\n{spec}", lines.len());
    }
    assert!(reference.additive.iter().all(|folder| reference.outputs.contains_key(folder)), "{spec}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn drawn_graphs_are_built_and_so_is_whatever_they_shrink_to(number: u64, choices in prop::collection::vec(any::<prop::sample::Index>(), 0..24)) {
        let mut spec = draw(number);
        builds(&spec);
        for choice in choices {
            let smaller: Vec<GraphSpec> = spec.smaller().collect();
            if smaller.is_empty() {
                break;
            }
            for smaller in &smaller {
                prop_assert_eq!(smaller.validate(), Ok(()), "{}\nfrom {}", smaller, &spec);
            }
            spec = smaller[choice.index(smaller.len())].clone();
            builds(&spec);
        }
    }

    #[test]
    fn a_graph_survives_being_written_down(number: u64) {
        let spec = draw(number);
        let text = serde_json::to_string(&spec).expect("graphs serialise");
        prop_assert_eq!(serde_json::from_str::<GraphSpec>(&text).expect("and back"), spec);
    }
}

#[test]
fn everything_is_drawn_and_most_of_it_can_be_foretold() {
    let graphs: Vec<GraphSpec> = (0..2_000).map(|number| draw(number * 0x9e37_79b9)).collect();
    let nodes = || graphs.iter().flat_map(|graph| &graph.nodes);
    let names: BTreeSet<&str> = nodes().map(|node| node.operator.name()).collect();
    assert_eq!(names.len(), 23, "{names:?}");
    let travels: BTreeSet<Travel> = nodes().flat_map(|node| &node.inputs).map(|input| input.exchange).collect();
    assert_eq!(travels.len(), 4, "{travels:?}");
    let share = |what: fn(&GraphSpec) -> bool| graphs.iter().filter(|graph| what(graph)).count() * 100 / graphs.len();
    let consumers = |graph: &GraphSpec, n: usize| -> usize {
        graph.nodes.iter().map(|node| node.inputs.iter().filter(|input| input.from == n).count()).sum()
    };
    let shares = [
        share(|graph| graph.nodes.iter().filter(|node| node.is_source()).count() > 1),
        share(|graph| graph.nodes.iter().filter(|node| node.is_sink()).count() > 1),
        share(|graph| graph.nodes.iter().any(|node| node.operator.ports() == 2)),
        share(|graph| graph.nodes.iter().any(|node| node.inputs.len() > usize::from(node.operator.ports()))),
        graphs.iter().filter(|graph| (0..graph.nodes.len()).any(|n| consumers(graph, n) > 1)).count() * 100
            / graphs.len(),
        share(GraphSpec::writes_outside),
        share(|graph| !graph.reference("output").outputs.is_empty()),
        share(|graph| !graph.reference("output").additive.is_empty()),
    ];
    let least = [40, 20, 30, 30, 30, 10, 65, 30];
    assert!(shares.iter().zip(least).all(|(share, least)| *share >= least), "{shares:?} of {least:?}");
    assert!(graphs.iter().all(|graph| (2..=9).contains(&graph.nodes.len()) && graph.depth() >= 1));
}

#[test]
fn a_graph_is_shown_line_by_line() {
    let node = |operator, parallelism, inputs: &[(u16, usize, Travel)], fused| Node {
        operator,
        parallelism,
        inputs: inputs
            .iter()
            .map(|(port, from, exchange)| Input { port: *port, from: *from, exchange: *exchange })
            .collect(),
        fused,
    };
    let made = Operator::Generate { salt: 1, records: 5, interval_ms: 20, burst: 2 };
    let spec = GraphSpec {
        keys: 3,
        nodes: vec![
            node(made, 2, &[], Some(Step::Rekey(2))),
            node(Operator::Join, 1, &[(0, 0, Travel::ByKey), (1, 0, Travel::ByKey)], None),
            node(Operator::Write, 2, &[(0, 1, Travel::Rebalance), (0, 0, Travel::Forward)], None),
        ],
    };
    assert_eq!(spec.validate(), Ok(()));
    let shown = "\
3 operators, 5 subtasks, 3 key(s)
  n0-generate x2  5 records a subtask, 2 every 20 ms  then  rekey to 2
  n1-join     x1  <- n0 by key  and n0 by key
  n2-write    x2  <- n1 rebalance + n0 forward";
    assert_eq!(spec.to_string(), shown);
    let without = spec.without(1).expect("a simpler graph");
    assert_eq!(without.nodes[1].inputs.len(), 3, "the sink takes both inputs of the join, and what it took: {without}");
    assert_eq!(spec.without(0), None, "nothing is left without the source");
    assert_eq!(spec.without(2), None, "nothing is left without the sink");
}
