//! Input that is not as it was listed: what a reader does about one object, and what the coordinator says about all.
//!
//! A reader compares an object when it opens a split of it, and again with each read, because a read says which version its
//! bytes are of. Finished splits are never compared. The rules, in this order:
//!
//! | the object now | the reader |
//! |---|---|
//! | the version and length that were accepted before | goes on; nothing consumed is read again |
//! | is shorter than listed | refuses |
//! | has the listed length, in another version | verifies what is consumed, then reads on |
//! | is longer, on a disk, and still the same file | verifies what is consumed, reads to the listed length if a line ends there |
//! | the same, and it grew again since that was verified | verifies all it has read, goes on |
//! | is longer, and another object | refuses: nothing says that its beginning is the listed object |
//!
//! What is not consumed has no checksum: it is read as it is now, up to the listed length.
//!
//! A file that grows says nothing about its beginning: it may have been emptied and written anew. So each growth is verified,
//! behind the read that has found it. Reason for that order: a file that is appended to all the time would be verified
//! without end, and never read.
//!
//! Pure functions. Does not own: reading, and whose message it becomes.

use crate::door::{ObjectMeta, Piece, Version};
use std::cmp::Ordering;

/// One state of an object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edition {
    /// Its length.
    pub bytes: u64,
    /// Its version.
    pub version: Version,
}

impl Edition {
    /// The one that a read was served from.
    pub fn of(piece: &Piece) -> Self {
        Self { bytes: piece.size, version: piece.version.clone() }
    }
}

/// What a reader does about an edition that it finds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Comparison {
    /// Reads on.
    Fits,
    /// As `ReadToListed`, but what is read and not consumed is verified as well, and stays: the file has only grown further.
    GrewAgain,
    /// Verifies the consumed prefix first.
    VerifyPrefix,
    /// Verifies the consumed prefix, and that a line ends where the listing says that the object ends.
    ReadToListed,
    /// Ends the job.
    Refuse(Refusal),
}

/// Why an object is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// There is no such object.
    Gone,
    /// It is shorter than listed.
    Shrunk {
        /// Its length.
        bytes: u64,
    },
    /// It is longer than listed, and another object.
    Replaced {
        /// Its length.
        bytes: u64,
    },
    /// It has grown, and the listed part ends in the middle of a line.
    CutOff {
        /// Its length.
        bytes: u64,
    },
    /// The bytes in this range were consumed, and are others now.
    Changed {
        /// The first.
        start: u64,
        /// The one behind the last.
        end: u64,
    },
}

/// Compares what is found with what was listed, and with what was accepted last: the listed edition, until another one was.
pub fn compare(listed: &Edition, accepted: &Edition, found: &Edition) -> Comparison {
    assert!(accepted.bytes >= listed.bytes, "what is shorter than listed is never accepted");
    if found == accepted {
        return Comparison::Fits;
    }
    match found.bytes.cmp(&listed.bytes) {
        Ordering::Less => Comparison::Refuse(Refusal::Shrunk { bytes: found.bytes }),
        Ordering::Equal => Comparison::VerifyPrefix,
        Ordering::Greater if !is_same_file(&listed.version, &found.version) => {
            Comparison::Refuse(Refusal::Replaced { bytes: found.bytes })
        }
        Ordering::Greater if accepted.bytes > listed.bytes && found.bytes > accepted.bytes => Comparison::GrewAgain,
        Ordering::Greater => Comparison::ReadToListed,
    }
}

/// Whether one is a later state of the very file that the other is of. An object of a store is never appended to.
fn is_same_file(one: &Version, other: &Version) -> bool {
    match (one, other) {
        (Version::File { inode: one, .. }, Version::File { inode: other, .. }) => one == other,
        (Version::File { .. } | Version::Tag(_), Version::File { .. } | Version::Tag(_)) => false,
    }
}

impl Refusal {
    /// One line for people; `name` is what they call the object, of which `listed` bytes were listed.
    pub fn explain(self, name: &str, listed: u64) -> String {
        assert!(!name.is_empty(), "people need a name to find the object");
        let what = match self {
            Self::Gone => {
                format!("does not exist, but {listed} bytes of it were listed and not all of them are processed")
            }
            Self::Shrunk { bytes } => format!("has shrunk: {listed} bytes were listed, and {bytes} are left"),
            Self::Replaced { bytes } => {
                format!("was replaced by a longer one: {listed} bytes were listed, and it has {bytes}")
            }
            Self::CutOff { bytes } => {
                format!(
                    "has grown from {listed} to {bytes} bytes, and no line ends at byte {listed}, where its listed part does"
                )
            }
            Self::Changed { start, end } => {
                format!("has changed between byte {start} and byte {end}, which are processed already")
            }
        };
        format!("input {name} {what}; put back what was listed and run the job again")
    }
}

/// What came to the input after it was listed, and is not read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Later {
    /// Objects that were not there.
    pub added: u64,
    /// Objects that are longer than they were.
    pub grown: u64,
    /// The first of all of them.
    pub first: Option<String>,
}

impl Later {
    /// Adds what `now` holds and `listed` does not; both are sorted by path.
    pub fn add(&mut self, listed: &[ObjectMeta], now: &[ObjectMeta]) {
        assert!(listed.is_sorted_by(|a, b| a.path < b.path), "a listing is in the order of paths");
        assert!(now.is_sorted_by(|a, b| a.path < b.path), "storage lists in the order of paths");
        let mut known = listed.iter().peekable();
        for object in now {
            while known.next_if(|listed| listed.path < object.path).is_some() {}
            let count = match known.next_if(|listed| listed.path == object.path) {
                None => &mut self.added,
                Some(listed) if listed.bytes < object.bytes => &mut self.grown,
                Some(_) => continue,
            };
            *count += 1;
            self.first.get_or_insert_with(|| object.path.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: u64, inode: u64, modified_ns: u64) -> Edition {
        Edition { bytes, version: Version::File { inode, modified_ns } }
    }

    fn tagged(bytes: u64, tag: &str) -> Edition {
        Edition { bytes, version: Version::Tag(tag.to_owned()) }
    }

    #[test]
    fn the_rules_are_those_of_the_table() {
        use Comparison::{Fits, ReadToListed, Refuse, VerifyPrefix};
        let listed = file(10, 1, 100);
        let at_first = |found: Edition| compare(&listed, &listed, &found);
        assert_eq!(at_first(file(10, 1, 100)), Fits);
        assert_eq!(at_first(file(10, 1, 101)), VerifyPrefix);
        assert_eq!(at_first(file(10, 2, 100)), VerifyPrefix, "another file of the same length");
        assert_eq!(at_first(file(9, 1, 100)), Refuse(Refusal::Shrunk { bytes: 9 }));
        assert_eq!(at_first(file(11, 1, 101)), ReadToListed);
        assert_eq!(at_first(file(11, 2, 101)), Refuse(Refusal::Replaced { bytes: 11 }));
        let listed = tagged(10, "a");
        assert_eq!(compare(&listed, &listed, &tagged(10, "b")), VerifyPrefix);
        assert_eq!(compare(&listed, &listed, &tagged(11, "b")), Refuse(Refusal::Replaced { bytes: 11 }));
        assert_eq!(compare(&listed, &listed, &file(11, 1, 1)), Refuse(Refusal::Replaced { bytes: 11 }));
    }

    #[test]
    fn what_was_accepted_is_not_verified_again_until_it_changes_otherwise_than_by_growing() {
        use Comparison::{Fits, GrewAgain, ReadToListed, Refuse, VerifyPrefix};
        let (listed, grown, touched) = (file(10, 1, 100), file(12, 1, 101), file(10, 1, 103));
        assert_eq!(compare(&listed, &grown, &grown), Fits);
        assert_eq!(compare(&listed, &grown, &file(13, 1, 102)), GrewAgain, "it went on growing, or was written anew");
        assert_eq!(compare(&listed, &grown, &file(12, 1, 102)), ReadToListed, "it did not grow, but it was written");
        assert_eq!(compare(&listed, &grown, &file(11, 1, 102)), ReadToListed, "it lost some of what it had got");
        assert_eq!(compare(&listed, &grown, &file(13, 2, 102)), Refuse(Refusal::Replaced { bytes: 13 }));
        assert_eq!(compare(&listed, &grown, &file(9, 1, 102)), Refuse(Refusal::Shrunk { bytes: 9 }));
        assert_eq!(compare(&listed, &touched, &touched), Fits);
        assert_eq!(compare(&listed, &touched, &file(10, 1, 104)), VerifyPrefix);
        assert_eq!(compare(&listed, &touched, &listed), VerifyPrefix, "what was read last was another one");
    }

    fn object(path: &str, bytes: u64) -> ObjectMeta {
        ObjectMeta { path: path.to_owned(), bytes, version: Version::Tag(bytes.to_string()) }
    }

    #[test]
    fn what_came_later_is_counted_and_the_first_of_it_named() {
        let listed = [object("b", 1), object("d", 1), object("e", 1)];
        let mut later = Later::default();
        later.add(&listed, &[object("b", 1), object("e", 1)]);
        assert_eq!(later, Later::default(), "what is gone did not come");
        later.add(&listed, &[object("a", 0), object("b", 1), object("c", 5), object("d", 2), object("f", 1)]);
        assert_eq!(later, Later { added: 3, grown: 1, first: Some("a".to_owned()) });
    }

    #[test]
    fn refusals_are_one_line_with_the_name() {
        let all = [
            Refusal::Gone,
            Refusal::Shrunk { bytes: 1 },
            Refusal::Replaced { bytes: 40 },
            Refusal::CutOff { bytes: 40 },
            Refusal::Changed { start: 0, end: 8 },
        ];
        for refusal in all {
            let line = refusal.explain("books/a.txt", 31);
            assert!(line.starts_with("input books/a.txt ") && !line.contains('\n'), "{line}");
        }
    }
}
