//! What a process says when it is refused.

use crate::binary::Ended;

/// One line on standard error with all of `parts`, and this exit code.
#[track_caller]
pub fn assert_ends(ended: &Ended, code: i32, parts: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    for part in parts {
        assert!(ended.stderr.contains(part), "{part:?} is not in {ended:?}");
    }
}
