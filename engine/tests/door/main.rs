//! The production door: its promises, storage that breaks one, folders and files as mounts, peers that speak no frames.

mod folders;
mod production;
mod sabotage;
mod tcp;
