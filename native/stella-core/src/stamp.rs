//! File stamps: tell whether a file is still the file that was checked.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::hash::{Algorithm, Hasher};

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

    /// Feeds every field to a hash, each with a fixed length.
    fn feed(&self, hash: &mut Hasher) {
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

#[cfg(not(unix))]
fn identity(_: &Metadata) -> Option<(u64, u64, i64, i64)> {
    None
}

/// The stamps of everything in a folder and its subfolders, by path relative to the folder. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FolderStamps(Arc<[(PathBuf, Stamp)]>);

impl FolderStamps {
    /// Takes the stamps of the folder `root`. Entries without metadata, such as dangling links, are left out.
    pub fn take(root: &Path) -> Self {
        let list = |folder: &Path| -> Vec<PathBuf> {
            fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
        };
        let mut paths = list(root);
        let inner: Vec<PathBuf> = paths.iter().filter(|p| p.is_dir()).flat_map(|p| list(p)).collect();
        paths.extend(inner);
        let mut stamps: Vec<_> = paths
            .into_iter()
            .filter_map(|path| {
                let stamp = Stamp::of(&fs::metadata(&path).ok()?);
                Some((path.strip_prefix(root).ok()?.to_owned(), stamp))
            })
            .collect();
        stamps.sort_by(|a, b| a.0.cmp(&b.0));
        Self(stamps.into())
    }

    /// The stamp of the file `name`, if the file was there.
    pub fn of(&self, name: &str) -> Option<&Stamp> {
        let at = self.0.binary_search_by(|(path, _)| path.as_path().cmp(Path::new(name))).ok()?;
        Some(&self.0[at].1)
    }

    /// The relative paths that have a stamp, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|(path, _)| path.as_path())
    }

    /// One number for all stamps, the same in every process on this machine.
    pub fn digest(&self) -> u64 {
        let mut hash = Hasher::new(Algorithm::Blake3);
        for (path, stamp) in self.0.iter() {
            let name = path.as_os_str().as_encoded_bytes();
            hash.update(&(name.len() as u64).to_le_bytes());
            hash.update(name);
            stamp.feed(&mut hash);
        }
        let [a, b, c, d, e, f, g, h, ..] = hash.finish();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("head")).unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::write(dir.path().join("head/b"), "2").unwrap();
        dir
    }

    #[test]
    fn stamps_of_an_untouched_folder_are_equal() {
        let dir = folder();
        let (first, second) = (FolderStamps::take(dir.path()), FolderStamps::take(dir.path()));
        assert_eq!((first.digest(), &first), (second.digest(), &second));
        assert!(first.of("head/b").is_some() && first.of("head/c").is_none());
    }

    #[test]
    fn a_file_that_is_touched_replaced_added_or_removed_changes_the_digest() {
        let touch = |path: PathBuf| {
            let file = fs::OpenOptions::new().write(true).open(path).unwrap();
            file.set_modified(UNIX_EPOCH + Duration::from_secs(1)).unwrap();
        };
        type Change<'a> = &'a dyn Fn(&Path);
        let changes: [(&str, Change<'_>); 5] = [
            ("touched", &|dir| touch(dir.join("a"))),
            ("touched in a subfolder", &|dir| touch(dir.join("head/b"))),
            ("replaced", &|dir| {
                fs::write(dir.join("new"), "2").unwrap();
                fs::rename(dir.join("new"), dir.join("head/b")).unwrap();
            }),
            ("added", &|dir| fs::write(dir.join("c"), "").unwrap()),
            ("removed", &|dir| fs::remove_file(dir.join("head/b")).unwrap()),
        ];
        for (what, change) in changes {
            let dir = folder();
            let before = FolderStamps::take(dir.path());
            change(dir.path());
            let after = FolderStamps::take(dir.path());
            assert!(before.digest() != after.digest() && before != after, "{what}");
        }
    }

    #[test]
    fn the_digest_depends_on_names_and_not_on_where_the_folder_is() {
        let dir = folder();
        let before = FolderStamps::take(&dir.path().join("head"));
        fs::rename(dir.path().join("head"), dir.path().join("tail")).unwrap();
        assert_eq!(FolderStamps::take(&dir.path().join("tail")).digest(), before.digest());
        let renamed = FolderStamps(Arc::new([("other".into(), before.0[0].1.clone())]));
        assert_ne!(renamed.digest(), before.digest());
    }
}
