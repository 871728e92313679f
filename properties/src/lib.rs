//! Cofferdam's properties: pure judges over the recorded history of a run.

pub mod history;
