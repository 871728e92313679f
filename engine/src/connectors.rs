//! Connectors: sources and sinks that come with the engine.
//!
//! | connector | what | exactly once because |
//! |---|---|---|
//! | [`lines::TextLines`] | lines of one object, or of every object under a prefix | positions and checksums are state |
//! | [`generator::Generator`] | records made from their index, paced or not | the index is state |
//! | [`files::FileSink`] | text files | staged invisibly, then moved by an idempotent commit |
//! | [`discard::Discard`] | nothing: for measurements | there is no output |

pub mod discard;
pub mod files;
pub mod generator;
pub mod lines;
mod objects;
pub mod text;

pub use discard::Discard;
pub use files::FileSink;
pub use generator::Generator;
pub use lines::TextLines;
pub use text::Text;

#[cfg(test)]
pub(crate) mod world;
