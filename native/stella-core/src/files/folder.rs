//! A model folder: the only way for this crate to open files. It refuses links that lead out of the folder, files that changed
//! since the folder was pinned, and files that differ from the manifest.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use serde::de::DeserializeOwned;

use crate::base::error::{Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::files::contents::{BEGINNING, recognize};
use crate::files::file_names::MANIFEST_FILE;
use crate::files::folder_stamps::{FolderStamps, Lookup, Unlisted};
use crate::files::hash::from_hex;
use crate::files::manifest::Manifest;
use crate::files::open_file::{OpenFile, changed, open_regular, read_whole, resolve};

/// Size limit of a JSON file. `tokenizer.json` of Stella 1.5B has 7 MB.
const MAX_JSON_BYTES: u64 = 64 << 20;
/// Size limit of a settings file. The largest one, an index of ten thousand tensors, has one megabyte.
const MAX_SETTINGS_BYTES: u64 = 4 << 20;

/// An existing folder, with the manifest of its files if there is one.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    /// The path that the caller passed. Messages show it.
    root: PathBuf,
    /// The path with all links resolved.
    real: PathBuf,
    /// The blobs of the Hugging Face cache, if the folder is a snapshot in one. Links may lead there.
    blobs: Option<PathBuf>,
    manifest: Option<Manifest>,
    /// The stamps of the files when the folder was pinned.
    pins: Option<FolderStamps>,
    /// The names of the files that were opened, without the manifest.
    opened: Arc<Mutex<BTreeSet<String>>>,
}

impl ModelFolder {
    /// Opens the folder `root`. Its files are compared with `manifest`, or with the manifest in the folder.
    ///
    /// # Errors
    /// [`Error::FolderNotFound`] if the folder does not exist or is not a folder; the errors of [`Self::read`] for the
    /// manifest.
    pub fn open(root: &Path, manifest: Option<&Path>) -> Result<Self> {
        Self::at(root)?.with_manifest(manifest)
    }

    /// Opens the folder `root` like [`Self::open`], and pins it before it reads the manifest.
    ///
    /// # Errors
    /// Those of [`Self::open`].
    pub fn open_pinned(root: &Path, manifest: Option<&Path>) -> Result<Self> {
        Self::at(root)?.pinned().with_manifest(manifest)
    }

    /// Pins the folder: takes the stamps of its files. From then on, [`Self::open_file`] refuses files that changed, and
    /// [`Self::has`] and [`Self::subfolders`] use the stamps. Pinning a folder again has no effect.
    #[must_use]
    pub fn pinned(mut self) -> Self {
        self.pins.get_or_insert_with(|| FolderStamps::take(&self.real));
        self
    }

    /// Opens the folder without a manifest.
    fn at(root: &Path) -> Result<Self> {
        reach(Stage::Folder);
        let not_found = |reason, source| Error::FolderNotFound { path: root.to_owned(), reason, source };
        let real = match fs::canonicalize(root) {
            Ok(real) if real.is_dir() => real,
            Ok(_) => return Err(not_found("is not a folder", None)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(not_found("does not exist", None));
            }
            Err(e) => return Err(not_found("cannot be opened", Some(e))),
        };
        let blobs = blobs_of_snapshot(&real);
        Ok(Self { root: root.to_owned(), real, blobs, manifest: None, pins: None, opened: Arc::default() })
    }

    /// Reads the manifest.
    fn with_manifest(mut self, manifest: Option<&Path>) -> Result<Self> {
        self.manifest = match manifest {
            Some(path) => {
                let needed_for = "the options name it as the manifest";
                let real = resolve(path, path, needed_for)?;
                Some((path.to_owned(), read_whole(open_regular(&real, path, needed_for)?, MAX_JSON_BYTES)?))
            }
            // A manifest that cannot be read is an error. It must not count as a folder without manifest.
            None if self.lists(MANIFEST_FILE)? => {
                let opened = self.open_pinned_file(MANIFEST_FILE, "it lists the files of the model")?;
                Some((self.path(MANIFEST_FILE), read_whole(opened, MAX_JSON_BYTES)?))
            }
            None => None,
        }
        .map(|(path, bytes)| Manifest::parse(&path, &bytes))
        .transpose()?;
        Ok(self)
    }

    /// Gets the path of the folder with all links resolved. All spellings of a path have the same resolved path.
    pub fn real(&self) -> &Path {
        &self.real
    }

    /// Returns the path of `name` inside the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Returns whether the folder has a regular file `name`, or had it when the folder was pinned.
    ///
    /// # Errors
    /// [`Error::FileUnreadable`] if that is unknown, because a folder could not be listed when it was pinned.
    pub fn has(&self, name: &str) -> Result<bool> {
        match self.pins.as_ref().map(|pins| pins.find(name)) {
            None => Ok(self.real.join(name).is_file()),
            Some(Lookup::Found(stamp)) => Ok(stamp.is_file()),
            Some(Lookup::NoMetadata | Lookup::Absent) => Ok(false),
            Some(Lookup::Unknown(unlisted)) => Err(self.unreadable(unlisted)),
        }
    }

    /// Returns whether the manifest lists a file. Without a manifest, returns true.
    pub fn is_listed(&self, name: &str) -> bool {
        self.manifest.as_ref().is_none_or(|manifest| manifest.lists(name))
    }

    /// Returns whether the folder has an entry `name`, including dangling links, or had it when the folder was pinned.
    pub(crate) fn lists(&self, name: &str) -> Result<bool> {
        match self.pins.as_ref().map(|pins| pins.find(name)) {
            None => Ok(fs::symlink_metadata(self.real.join(name)).is_ok()),
            Some(Lookup::Found(_) | Lookup::NoMetadata) => Ok(true),
            Some(Lookup::Absent) => Ok(false),
            Some(Lookup::Unknown(unlisted)) => Err(self.unreadable(unlisted)),
        }
    }

    /// Returns the error for a folder that could not be listed when the model folder was pinned.
    fn unreadable(&self, unlisted: &Unlisted) -> Error {
        // Joining the empty path of the model folder itself would add a separator.
        let path = match unlisted.folder() {
            folder if folder.as_os_str().is_empty() => self.root.clone(),
            folder => self.root.join(folder),
        };
        Error::FileUnreadable { path, source: unlisted.error() }
    }

    /// Returns the names of the direct subfolders, now or when the folder was pinned. They are sorted. Names that are not
    /// Unicode are skipped.
    ///
    /// # Errors
    /// [`Error::FileUnreadable`] if the folder cannot be listed.
    pub fn subfolders(&self) -> Result<Vec<String>> {
        if let Some(pins) = &self.pins {
            return pins.subfolders().map_err(|unlisted| self.unreadable(unlisted));
        }
        let unreadable = |source| Error::FileUnreadable { path: self.root.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.real).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            if entry.path().is_dir()
                && let Ok(name) = entry.file_name().into_string()
            {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    /// Opens a regular file for reading. Never blocks: a FIFO or a device is refused. A link may lead to a file inside the
    /// folder or, in a snapshot of a Hugging Face cache, to a blob of the cache.
    ///
    /// # Errors
    /// - [`Error::FileMissing`], with `needed_for` as the reason.
    /// - [`Error::FileUnreadable`], also if the folder of the file could not be listed when the model folder was pinned.
    /// - [`Error::FileInvalid`] for an entry that is not a regular file, and for a link that leads elsewhere.
    /// - [`Error::FileInvalid`] for a file that changed since the folder was pinned.
    /// - [`Error::Inconsistent`] for a file that differs from the manifest.
    pub fn open_file(&self, name: &str, needed_for: &str) -> Result<OpenFile> {
        let mut opened = self.open_pinned_file(name, needed_for)?;
        if let Some(manifest) = &self.manifest {
            opened.expected = Some(manifest.expect(name, &opened.path, opened.len)?.clone());
        }
        // An insertion either happened or did not, so the set is valid even if the lock is poisoned.
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        Ok(opened)
    }

    /// Returns the names of the files that were opened, sorted by their bytes, without the manifest. The model depends on these
    /// files.
    pub fn opened_files(&self) -> BTreeSet<String> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens a file and compares it with its stamp, but not with the manifest.
    fn open_pinned_file(&self, name: &str, needed_for: &str) -> Result<OpenFile> {
        let found = self.find_file(name, needed_for);
        let Some(pins) = &self.pins else { return found };
        match (found, pins.find(name)) {
            (Ok(opened), Lookup::Found(pin)) if opened.stamp == *pin => Ok(opened),
            (Ok(_), Lookup::Unknown(unlisted)) => Err(self.unreadable(unlisted)),
            (Ok(opened), _) => Err(changed(opened.path, "has changed")),
            (Err(Error::FileMissing { path, .. }), Lookup::Found(_)) => Err(changed(path, "was removed")),
            (Err(error), _) => Err(error),
        }
    }

    /// Opens a file without comparing it with its stamp or the manifest.
    fn find_file(&self, name: &str, needed_for: &str) -> Result<OpenFile> {
        let path = self.path(name);
        // Use the resolved path, because the working directory or a link to the folder may have changed.
        let real = resolve(&self.real.join(name), &path, needed_for)?;
        let allowed =
            real.starts_with(&self.real) || self.blobs.as_ref().is_some_and(|blobs| real.starts_with(blobs));
        if !allowed {
            let reason = format!(
                "The link leads out of the model folder, to {}. Links must lead to a file in the folder, or to a blob of the \
                 Hugging Face cache that contains the folder. Copy the folder with `cp -RL`, which replaces links by files, \
                 and use the copy.",
                real.display()
            );
            return Err(Error::FileInvalid { path, reason, source: None });
        }
        let mut opened = open_regular(&real, &path, needed_for)?;
        opened.blob = self.blobs.as_ref().and_then(|blobs| blob_hash(blobs, &real));
        Ok(opened)
    }

    /// Reads a JSON file as bytes, and compares it with the manifest.
    ///
    /// # Errors
    /// Those of [`Self::open_file`]; [`Error::FileInvalid`] for a file over the size limit; [`Error::Inconsistent`] for a
    /// wrong hash.
    pub fn read(&self, name: &str, needed_for: &str) -> Result<Vec<u8>> {
        read_whole(self.open_file(name, needed_for)?, MAX_JSON_BYTES)
    }

    /// Returns the hash of the manifest, if there is one.
    pub fn manifest_hash(&self) -> Option<[u8; 32]> {
        self.manifest.as_ref().map(Manifest::hash)
    }

    /// Gets the stamps of the files when the folder was pinned.
    pub fn pins(&self) -> Option<&FolderStamps> {
        self.pins.as_ref()
    }

    /// Reads a JSON settings file into `T`.
    ///
    /// # Errors
    /// Those of [`Self::read`]; [`Error::FileInvalid`] if the JSON does not have the structure of `T`.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str, needed_for: &str) -> Result<T> {
        let bytes = read_whole(self.open_file(name, needed_for)?, MAX_SETTINGS_BYTES)?;
        serde_json::from_slice(&bytes).map_err(|e| Error::FileInvalid {
            path: self.path(name),
            reason: recognize(&bytes[..bytes.len().min(BEGINNING)])
                .unwrap_or("The file is not the JSON that this library expects.")
                .to_owned(),
            source: Some(Box::new(e)),
        })
    }
}

/// Returns the blobs folder of the Hugging Face cache, if `real` is a folder `models--…/snapshots/REVISION` in a cache.
fn blobs_of_snapshot(real: &Path) -> Option<PathBuf> {
    let snapshots = real.parent()?;
    let repository = snapshots.parent()?;
    let is_cache =
        snapshots.file_name()? == "snapshots" && repository.file_name()?.to_str()?.starts_with("models--");
    let blobs = fs::canonicalize(repository.join("blobs")).ok()?;
    (is_cache && blobs.is_dir()).then_some(blobs)
}

/// Returns the SHA-256 in the name of a blob of a Hugging Face cache. Blobs of small files have another hash as name, of 40
/// digits, so the result is `None`.
fn blob_hash(blobs: &Path, real: &Path) -> Option<[u8; 32]> {
    from_hex(real.strip_prefix(blobs).ok()?.to_str()?)
}

/// Returns whether `name`, which came from a file, is a single plain path component, so that it cannot lead out of the folder.
pub fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error_code::ErrorCode;

    #[test]
    fn a_missing_folder_and_a_file_instead_of_a_folder_have_different_errors() {
        let dir = tempfile::tempdir().unwrap();
        let missing = ModelFolder::open(&dir.path().join("none"), None).unwrap_err();
        assert_eq!(missing.code(), ErrorCode::ModelFolderNotFound);
        assert!(missing.to_string().contains("does not exist"));
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(ModelFolder::open(&file, None).unwrap_err().to_string().contains("is not a folder"));
    }

    #[test]
    fn the_error_for_a_missing_file_says_why_it_is_needed() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ModelFolder::open(dir.path(), None).unwrap();
        let error = folder.read("config.json", "it describes the model").unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelFileMissing);
        assert!(error.to_string().ends_with("config.json is missing: it describes the model."));
    }

    #[test]
    fn a_plain_name_has_a_single_component() {
        assert!(is_plain_name("2_Dense_1024") && is_plain_name("model-00001-of-00002.safetensors"));
        for name in ["", ".", "..", "a/b", "a/", "/a", "../a"] {
            assert!(!is_plain_name(name), "{name}");
        }
    }

    #[test]
    fn a_folder_with_the_name_of_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("config.json")).unwrap();
        let error = ModelFolder::open(dir.path(), None).unwrap().read("config.json", "-").unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelFileInvalid);
    }

    #[test]
    fn json_errors_keep_the_message_of_the_parser() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), "{\"a\": }").unwrap();
        let folder = ModelFolder::open(dir.path(), None).unwrap();
        let error = folder.read_json::<serde_json::Value>("config.json", "-").unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelFileInvalid);
        assert!(
            error.chain().len() == 2 && error.chain()[1].contains("line 1 column 7"),
            "{:?}",
            error.chain()
        );
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_folder_are_refused() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("model");
        fs::create_dir_all(root.join("deep")).unwrap();
        fs::write(root.join("deep/real.json"), "{}").unwrap();
        fs::write(dir.path().join("secret.json"), "{}").unwrap();
        symlink("deep/real.json", root.join("inside.json")).unwrap();
        symlink("../secret.json", root.join("outside.json")).unwrap();
        symlink("loop.json", root.join("loop.json")).unwrap();
        symlink(&root, dir.path().join("alias")).unwrap();
        for folder in [&root, &dir.path().join("alias")] {
            let folder = ModelFolder::open(folder, None).unwrap();
            assert_eq!(folder.read("inside.json", "-").unwrap(), b"{}");
            let error = folder.read("outside.json", "-").unwrap_err();
            assert!(
                error.code() == ErrorCode::ModelFileInvalid
                    && error.to_string().contains("leads out")
                    && error.to_string().contains("`cp -RL`"),
                "{error}"
            );
            assert_eq!(folder.read("loop.json", "-").unwrap_err().code(), ErrorCode::ModelFileUnreadable);
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_hugging_face_snapshot_may_lead_to_its_blobs() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let snapshot = dir.path().join("models--org--name/snapshots/abc");
        let blobs = dir.path().join("models--org--name/blobs");
        fs::create_dir_all(&snapshot).unwrap();
        fs::create_dir_all(&blobs).unwrap();
        fs::write(blobs.join("1234"), "{}").unwrap();
        fs::write(dir.path().join("other"), "{}").unwrap();
        symlink("../../blobs/1234", snapshot.join("config.json")).unwrap();
        symlink("../../../other", snapshot.join("other.json")).unwrap();
        let folder = ModelFolder::open(&snapshot, None).unwrap();
        assert_eq!(folder.read("config.json", "-").unwrap(), b"{}");
        assert!(folder.read("other.json", "-").unwrap_err().to_string().contains("leads out"));
    }

    #[cfg(unix)]
    #[test]
    fn a_fifo_and_a_device_are_refused_without_blocking() {
        let dir = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(dir.path().join("fifo")).status().unwrap();
        assert!(made.success());
        let folder = ModelFolder::open(dir.path(), None).unwrap();
        assert!(folder.read("fifo", "-").unwrap_err().to_string().contains("not a regular file"));
        let devices = ModelFolder::open(Path::new("/dev"), None).unwrap();
        assert!(devices.read("zero", "-").unwrap_err().to_string().contains("not a regular file"));
    }

    #[test]
    fn a_pinned_folder_refuses_changed_and_new_files_and_reads_the_others() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["same", "cut", "replaced", "removed"] {
            fs::write(dir.path().join(name), "{}").unwrap();
        }
        let folder = ModelFolder::open_pinned(dir.path(), None).unwrap();
        fs::write(dir.path().join("cut"), "{").unwrap();
        fs::write(dir.path().join("next"), "{}").unwrap();
        fs::rename(dir.path().join("next"), dir.path().join("replaced")).unwrap();
        fs::remove_file(dir.path().join("removed")).unwrap();
        fs::write(dir.path().join("appeared"), "{}").unwrap();
        assert_eq!(folder.read("same", "-").unwrap(), b"{}");
        for name in ["cut", "replaced", "removed", "appeared"] {
            let error = folder.read(name, "-").unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelFileInvalid, "{error}");
            let text = error.to_string();
            assert!(text.contains(name) && text.ends_with("Load the model again."), "{text}");
        }
        assert_eq!(folder.read("never", "-").unwrap_err().code(), ErrorCode::ModelFileMissing);
        let again = folder.pinned().read("cut", "-");
        assert_eq!(again.unwrap_err().code(), ErrorCode::ModelFileInvalid, "pinning again has no effect");
    }

    #[test]
    fn a_manifest_that_is_removed_after_the_folder_was_pinned_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(MANIFEST_FILE), "{}").unwrap();
        let pinned = ModelFolder::at(dir.path()).unwrap().pinned();
        fs::remove_file(dir.path().join(MANIFEST_FILE)).unwrap();
        let text = pinned.with_manifest(None).unwrap_err().to_string();
        assert!(text.contains(MANIFEST_FILE) && text.contains("was removed since"), "{text}");
        assert!(ModelFolder::open_pinned(dir.path(), None).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn a_manifest_that_is_a_dangling_link_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("none", dir.path().join(MANIFEST_FILE)).unwrap();
        for open in [ModelFolder::open, ModelFolder::open_pinned] {
            assert_eq!(open(dir.path(), None).unwrap_err().code(), ErrorCode::ModelFileMissing);
        }
    }

    #[test]
    fn a_pinned_folder_answers_from_its_stamps() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b", "a", "file.json"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        fs::write(dir.path().join("a/x"), "").unwrap();
        let loose = ModelFolder::open(dir.path(), None).unwrap();
        let pinned = loose.clone().pinned();
        let answers = |folder: &ModelFolder| {
            let has = ["a", "a/x", "b/x"].map(|name| folder.has(name).unwrap());
            (has, folder.subfolders().unwrap())
        };
        let before = answers(&loose);
        assert_eq!(before.0, [false, true, false]);
        assert_eq!(before.1, ["a", "b", "file.json"]);
        assert_eq!(answers(&pinned), before);
        fs::remove_dir_all(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("b/x"), "").unwrap();
        assert_eq!(answers(&pinned), before);
        assert_ne!(answers(&loose), before);
    }

    #[test]
    fn a_folder_that_cannot_be_listed_is_named_in_errors_and_its_known_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["head", "pooling"] {
            fs::create_dir(dir.path().join(name)).unwrap();
            for file in ["config.json", "other.json"] {
                fs::write(dir.path().join(name).join(file), "{}").unwrap();
            }
        }
        let pin = |unlisted: &str| {
            let mut folder = ModelFolder::open(dir.path(), None).unwrap();
            let unlisted = folder.real.join(unlisted);
            folder.pins = Some(FolderStamps::take_with(&folder.real, |folder| {
                if folder == unlisted {
                    return (Vec::new(), Some(std::io::ErrorKind::PermissionDenied.into()));
                }
                crate::files::folder_stamps::list(folder)
            }));
            folder
        };
        let folder = pin("head");
        for name in ["head/config.json", "pooling/config.json", "pooling/other.json"] {
            assert_eq!(folder.read(name, "-").unwrap(), b"{}", "{name}");
        }
        assert!(!folder.has("head/model.safetensors").unwrap());
        assert_eq!(folder.subfolders().unwrap(), ["head", "pooling"]);
        let names = |error: Error, path: &Path| {
            assert_eq!(error.code(), ErrorCode::ModelFileUnreadable, "{error}");
            assert_eq!(error.to_string(), format!("{} cannot be read.", path.display()));
            assert!(error.chain()[1].contains("permission denied"), "{:?}", error.chain());
        };
        names(folder.read("head/other.json", "-").unwrap_err(), &dir.path().join("head"));
        names(folder.has("head/other.json").unwrap_err(), &dir.path().join("head"));
        assert_eq!(folder.read("head/none", "-").unwrap_err().code(), ErrorCode::ModelFileMissing);

        let folder = pin("");
        names(folder.subfolders().unwrap_err(), dir.path());
        names(folder.has("pooling/other.json").unwrap_err(), dir.path());
        names(folder.with_manifest(None).unwrap_err(), dir.path());
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_opened_through_a_link_does_not_follow_a_change_of_the_link() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        for version in ["v1", "v2"] {
            fs::create_dir(dir.path().join(version)).unwrap();
            fs::write(dir.path().join(version).join("a"), version).unwrap();
        }
        let current = dir.path().join("current");
        symlink("v1", &current).unwrap();
        let folders = [ModelFolder::open, ModelFolder::open_pinned].map(|open| open(&current, None).unwrap());
        fs::remove_file(&current).unwrap();
        symlink("v2", &current).unwrap();
        for folder in folders {
            assert_eq!(folder.read("a", "-").unwrap(), b"v1");
            assert_eq!(folder.path("a"), current.join("a"), "messages show the caller's path");
        }
    }

    #[test]
    fn files_are_compared_with_the_manifest() {
        let dir = tempfile::tempdir().unwrap();
        // SHA-256 of "abc".
        let hash = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let manifest = format!(r#"{{"version":1,"files":{{"a.json":{{"size":3,"sha256":"{hash}"}}}}}}"#);
        let read = |content: &str, manifest_at: Option<&Path>| {
            fs::write(dir.path().join("a.json"), content).unwrap();
            ModelFolder::open(dir.path(), manifest_at)?.read("a.json", "-")
        };
        assert_eq!(read("xyz", None).unwrap(), b"xyz");
        let elsewhere = dir.path().join("elsewhere.json");
        fs::write(&elsewhere, &manifest).unwrap();
        assert!(read("xyz", Some(&elsewhere)).unwrap_err().to_string().contains("has the SHA-256"));
        fs::write(dir.path().join(MANIFEST_FILE), &manifest).unwrap();
        assert_eq!(read("abc", None).unwrap(), b"abc");
        assert!(read("abd", None).unwrap_err().to_string().contains("has the SHA-256"));
        assert!(read("ab", None).unwrap_err().to_string().contains("has 2 bytes"));
        let missing = read("abc", Some(&dir.path().join("none"))).unwrap_err();
        assert_eq!(missing.code(), ErrorCode::ModelFileMissing);
    }
}
