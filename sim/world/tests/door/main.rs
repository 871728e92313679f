//! The simulated door: its promises, and doors that break one.

mod sabotage;
mod simulated;
