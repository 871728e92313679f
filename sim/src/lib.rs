//! Skeleton.

pub mod world;
