//! Random graphs are valid however they came about, and can be built and foretold. That the engine's result is the
//! reference's is what hunts show.

use super::*;
use cofferdam_engine::config::CheckpointMode;
use proptest::prelude::*;

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
    for mode in [CheckpointMode::ExactlyOnce, CheckpointMode::AtLeastOnce] {
        let volumes = spec.volumes();
        for (folder, lines) in spec.reference("output", mode) {
            let n: usize = folder.strip_prefix("output/n").and_then(|n| n.parse().ok()).expect("a sink's folder");
            assert!(lines.len() as u64 <= volumes[n], "{} lines below {folder}\n{spec}", lines.len());
        }
    }
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
