//! Operating errors, sorted by what to *do* about them. Bugs are not errors: they panic.

use std::fmt;

/// What the receiver of an error should do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, serde::Serialize, serde::Deserialize)]
pub enum Reaction {
    /// Restart the job from its latest completed checkpoint: a connection broke, storage failed for a while.
    Restart,
    /// End the job and report to the user: no restart can help (missing input, a mismatching checkpoint, a bad flag).
    GiveUp,
    /// End the job and report to the user which stored bytes are not what was written.
    Corrupt,
    /// Stop at once and touch nothing: a newer process owns the job.
    Fenced,
}

/// An operating error: a reaction and one clear line that names the thing.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct Error {
    /// What to do about it.
    pub reaction: Reaction,
    /// One line, naming the thing and what is wrong with it.
    pub message: String,
}

/// The engine's result type.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error that a restart may cure.
    pub fn restart(message: impl Into<String>) -> Self {
        Self { reaction: Reaction::Restart, message: message.into() }
    }

    /// An error that ends the job.
    pub fn give_up(message: impl Into<String>) -> Self {
        Self { reaction: Reaction::GiveUp, message: message.into() }
    }

    /// Stored bytes that are not what was written.
    pub fn corrupt(message: impl Into<String>) -> Self {
        Self { reaction: Reaction::Corrupt, message: message.into() }
    }

    /// A newer process owns the job.
    pub fn fenced(message: impl Into<String>) -> Self {
        Self { reaction: Reaction::Fenced, message: message.into() }
    }

    /// The same error, saying what was being done.
    pub fn while_doing(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
