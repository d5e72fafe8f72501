//! What tells that a file is still the file that was checked.

use std::fs::Metadata;
use std::time::SystemTime;

/// A file's identity, length and times. It notices accidents, not forgers: who owns a file can set its times.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Stamp {
    len: u64,
    modified: Option<SystemTime>,
    /// Device, inode and time of the last change of either content or attributes, where the system has them.
    identity: Option<(u64, u64, i64, i64)>,
}

impl Stamp {
    /// The stamp of a file of which this is the metadata.
    pub fn of(found: &Metadata) -> Self {
        Self { len: found.len(), modified: found.modified().ok(), identity: identity(found) }
    }
}

#[cfg(unix)]
fn identity(found: &Metadata) -> Option<(u64, u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64, i64, i64)> {
    None
}
