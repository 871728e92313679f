//! Processes for real, killed at random: a cluster, a single process, and one whose output is read along.

#[path = "../launch/binary.rs"]
mod binary;
#[cfg(unix)]
mod cluster;
#[cfg(unix)]
mod leftovers;
mod random;
#[cfg(unix)]
mod single;
#[cfg(unix)]
mod text;
mod word_count;
