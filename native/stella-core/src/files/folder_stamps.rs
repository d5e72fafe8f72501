//! The file stamps of a whole model folder, taken when the folder is pinned.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::files::file_names::{CONFIG_FILE, WEIGHTS_FILE};
use crate::files::file_stamp::FileStamp;
use crate::files::hash::{Algorithm, Hasher};

/// Files of a head or of the Pooling module. In a folder that cannot be listed, they are looked up by name.
const KNOWN_FILES: [&str; 2] = [CONFIG_FILE, WEIGHTS_FILE];

/// The stamps of the entries of a folder and of its subfolders, by path relative to the folder. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FolderStamps {
    /// Sorted by path. `None` marks a name without metadata: a dangling link, or a known file that does not exist in a folder
    /// that cannot be listed.
    entries: Arc<[(PathBuf, Option<FileStamp>)]>,
    unlisted: Arc<[Unlisted]>,
}

/// A folder that could not be listed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Unlisted {
    folder: PathBuf,
    kind: io::ErrorKind,
    /// The error code of the system, if the error came from the system.
    code: Option<i32>,
}

impl Unlisted {
    /// Gets the path of the folder, relative to the folder whose stamps were taken.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Recreates the error of the listing.
    pub fn error(&self) -> io::Error {
        self.code.map_or_else(|| self.kind.into(), io::Error::from_raw_os_error)
    }
}

/// The state of a path when the stamps were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// The path had this stamp.
    Found(&'a FileStamp),
    /// The path had no metadata, such as a dangling link.
    NoMetadata,
    /// The path did not exist.
    Absent,
    /// The folder of the path could not be listed, and the name is not a known file.
    Unknown(&'a Unlisted),
}

/// The paths in a folder, and the error that ended the listing early.
pub(crate) type Listing = (Vec<PathBuf>, Option<io::Error>);

/// Lists a folder. The paths before an error are kept.
pub(crate) fn list(folder: &Path) -> Listing {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return (Vec::new(), Some(error)),
    };
    let mut paths = Vec::new();
    for entry in entries {
        match entry {
            Ok(entry) => paths.push(entry.path()),
            Err(error) => return (paths, Some(error)),
        }
    }
    (paths, None)
}

impl FolderStamps {
    /// Takes the stamps of the folder `root`.
    pub fn take(root: &Path) -> Self {
        Self::take_with(root, list)
    }

    /// Takes the stamps of the folder `root`, with `list` as the listing of a folder.
    pub(crate) fn take_with(root: &Path, list: impl Fn(&Path) -> Listing) -> Self {
        let (mut entries, mut unlisted) = (Vec::new(), Vec::new());
        let mut add = |folder: &Path| -> Vec<PathBuf> {
            let Ok(relative) = folder.strip_prefix(root) else { return Vec::new() };
            let (paths, failure) = list(folder);
            for path in &paths {
                if let Some(name) = path.file_name() {
                    entries.push((relative.join(name), fs::metadata(path).ok().as_ref().map(FileStamp::of)));
                }
            }
            if let Some(error) = failure {
                // Look for files that a model may need. An unreadable folder such as lost+found is no error.
                for name in KNOWN_FILES {
                    match fs::metadata(folder.join(name)) {
                        Ok(found) => entries.push((relative.join(name), Some(FileStamp::of(&found)))),
                        Err(e) if e.kind() == io::ErrorKind::NotFound => {
                            entries.push((relative.join(name), None));
                        }
                        Err(_) => {}
                    }
                }
                let (kind, code) = (error.kind(), error.raw_os_error());
                unlisted.push(Unlisted { folder: relative.to_owned(), kind, code });
            }
            paths
        };
        for path in add(root) {
            if path.is_dir() {
                add(&path);
            }
        }
        entries.sort_by(|a, b| a.0.cmp(&b.0));
        // A listing that ended early may already contain the known files.
        entries.dedup_by(|a, b| a.0 == b.0);
        unlisted.sort_by(|a, b| a.folder.cmp(&b.folder));
        Self { entries: entries.into(), unlisted: unlisted.into() }
    }

    /// Looks up the path `name`, relative to the folder.
    pub fn find(&self, name: &str) -> Lookup<'_> {
        let name = Path::new(name);
        match self.entries.binary_search_by(|(path, _)| path.as_path().cmp(name)) {
            Ok(at) => self.entries[at].1.as_ref().map_or(Lookup::NoMetadata, Lookup::Found),
            Err(_) => name
                .ancestors()
                .skip(1)
                .find_map(|folder| self.unlisted(folder))
                .map_or(Lookup::Absent, Lookup::Unknown),
        }
    }

    /// Returns the names of the direct subfolders, sorted. Skips names that are not Unicode.
    ///
    /// # Errors
    /// The folder itself, if it could not be listed.
    pub fn subfolders(&self) -> Result<Vec<String>, &Unlisted> {
        if let Some(unlisted) = self.unlisted(Path::new("")) {
            return Err(unlisted);
        }
        let is_folder = |stamp: &Option<FileStamp>| stamp.as_ref().is_some_and(FileStamp::is_folder);
        Ok(self
            .entries
            .iter()
            .filter(|(path, stamp)| path.components().count() == 1 && is_folder(stamp))
            .filter_map(|(path, _)| path.to_str().map(str::to_owned))
            .collect())
    }

    fn unlisted(&self, folder: &Path) -> Option<&Unlisted> {
        self.unlisted.iter().find(|unlisted| unlisted.folder == folder)
    }

    /// Iterates over the relative paths that have a stamp, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter(|(_, stamp)| stamp.is_some()).map(|(path, _)| path.as_path())
    }

    /// Returns a hash of all stamps. It is the same in every process on this machine.
    pub fn digest(&self) -> u64 {
        let mut hash = Hasher::new(Algorithm::Blake3);
        for (path, stamp) in self.entries.iter() {
            let name = path.as_os_str().as_encoded_bytes();
            hash.update(&(name.len() as u64).to_le_bytes());
            hash.update(name);
            hash.update(&[u8::from(stamp.is_some())]);
            if let Some(stamp) = stamp {
                stamp.add_to(&mut hash);
            }
        }
        let [a, b, c, d, e, f, g, h, ..] = hash.finish();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    fn folder() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("head")).unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::write(dir.path().join("head/b"), "2").unwrap();
        dir
    }

    #[test]
    fn stamps_of_an_unchanged_folder_are_equal() {
        let dir = folder();
        let (first, second) = (FolderStamps::take(dir.path()), FolderStamps::take(dir.path()));
        assert_eq!((first.digest(), &first), (second.digest(), &second));
        assert!(matches!(first.find("head/b"), Lookup::Found(stamp) if stamp.is_file()));
        assert_eq!(first.find("head/c"), Lookup::Absent);
        assert_eq!(first.subfolders().unwrap(), ["head"]);
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
    fn the_digest_depends_on_relative_names_and_not_on_the_path_of_the_folder() {
        let dir = folder();
        let before = FolderStamps::take(&dir.path().join("head"));
        fs::rename(dir.path().join("head"), dir.path().join("tail")).unwrap();
        assert_eq!(FolderStamps::take(&dir.path().join("tail")).digest(), before.digest());
        let entry = ("other".into(), before.entries[0].1.clone());
        let renamed = FolderStamps { entries: Arc::new([entry]), unlisted: Arc::new([]) };
        assert_ne!(renamed.digest(), before.digest());
    }

    #[test]
    fn an_unlisted_folder_has_stamps_of_known_files_only() {
        let dir = folder();
        fs::write(dir.path().join("head").join(CONFIG_FILE), "{}").unwrap();
        let refuse = |name: &'static str| {
            let root = dir.path();
            FolderStamps::take_with(root, move |folder| {
                if folder == root.join(name) {
                    return (Vec::new(), Some(io::Error::from_raw_os_error(13)));
                }
                list(folder)
            })
        };
        let stamps = refuse("head");
        assert!(matches!(stamps.find("a"), Lookup::Found(_)) && stamps.find("c") == Lookup::Absent);
        assert!(matches!(stamps.find("head/config.json"), Lookup::Found(_)));
        assert_eq!(stamps.find("head/model.safetensors"), Lookup::NoMetadata);
        let Lookup::Unknown(unlisted) = stamps.find("head/b") else { panic!("{stamps:?}") };
        assert_eq!((unlisted.folder(), unlisted.error().raw_os_error()), (Path::new("head"), Some(13)));
        assert_eq!(stamps.subfolders().unwrap(), ["head"]);

        let stamps = refuse("");
        assert!(
            matches!(stamps.find("head/b"), Lookup::Unknown(unlisted) if unlisted.folder() == Path::new(""))
        );
        assert!(stamps.subfolders().is_err());
    }

    #[test]
    fn a_listing_that_ends_early_keeps_its_entries() {
        let dir = folder();
        fs::write(dir.path().join(CONFIG_FILE), "{}").unwrap();
        let stamps = FolderStamps::take_with(dir.path(), |folder| {
            (list(folder).0, Some(io::Error::from(io::ErrorKind::Other)))
        });
        assert!(matches!(stamps.find("a"), Lookup::Found(_)));
        assert!(matches!(stamps.find("head/b"), Lookup::Found(_)));
        assert!(matches!(stamps.find("c"), Lookup::Unknown(_)));
        assert_eq!(stamps.paths().filter(|path| *path == Path::new(CONFIG_FILE)).count(), 1);
    }
}
