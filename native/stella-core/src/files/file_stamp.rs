//! File stamps: device, inode, length and times of a file. They tell whether a file changed under us. To tell two models
//! apart, see the module `fingerprint`.

use std::fs::Metadata;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::files::hash::Hasher;

/// The identity, length and times of a file. A stamp detects accidental changes. It is no protection against an attacker,
/// because the owner of a file can set its times.
///
/// The resolution of the times is that of the file system, often a few milliseconds. A file keeps its stamp if it is
/// rewritten in place with the same length within the same clock tick.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileStamp {
    kind: Kind,
    len: u64,
    modified: Option<SystemTime>,
    /// On Unix: device, inode and time of the last change of content or attributes. On Windows: the creation time alone.
    identity: Option<(u64, u64, i64, i64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    File,
    Folder,
    Other,
}

impl FileStamp {
    /// Creates the stamp of a file from its metadata.
    pub fn of(found: &Metadata) -> Self {
        let kind = match found.file_type() {
            kind if kind.is_file() => Kind::File,
            kind if kind.is_dir() => Kind::Folder,
            _ => Kind::Other,
        };
        Self { kind, len: found.len(), modified: found.modified().ok(), identity: identity(found) }
    }

    /// Returns whether this is the stamp of a regular file.
    pub fn is_file(&self) -> bool {
        self.kind == Kind::File
    }

    /// Returns whether this is the stamp of a folder.
    pub(crate) fn is_folder(&self) -> bool {
        self.kind == Kind::Folder
    }

    /// Adds every field to a hash, each with a fixed length.
    pub(crate) fn add_to(&self, hash: &mut Hasher) {
        hash.update(&[self.kind as u8]);
        hash.update(&self.len.to_le_bytes());
        let (before, since_epoch) = match self.modified.map(|time| time.duration_since(UNIX_EPOCH)) {
            None => (0, Duration::ZERO),
            Some(Ok(after)) => (1, after),
            Some(Err(e)) => (2, e.duration()),
        };
        hash.update(&[before]);
        hash.update(&since_epoch.as_nanos().to_le_bytes());
        let (device, inode, seconds, nanoseconds) = self.identity.unwrap_or_default();
        hash.update(&[u8::from(self.identity.is_some())]);
        hash.update(&device.to_le_bytes());
        hash.update(&inode.to_le_bytes());
        hash.update(&seconds.to_le_bytes());
        hash.update(&nanoseconds.to_le_bytes());
    }
}

#[cfg(unix)]
fn identity(found: &Metadata) -> Option<(u64, u64, i64, i64)> {
    use std::os::unix::fs::MetadataExt;
    Some((found.dev(), found.ino(), found.ctime(), found.ctime_nsec()))
}

/// On Windows a rewritten file keeps its creation time. A replaced file usually has another one.
#[cfg(windows)]
fn identity(found: &Metadata) -> Option<(u64, u64, i64, i64)> {
    use std::os::windows::fs::MetadataExt;
    Some((found.creation_time(), 0, 0, 0))
}

#[cfg(not(any(unix, windows)))]
fn identity(_: &Metadata) -> Option<(u64, u64, i64, i64)> {
    None
}
