//! A model folder: the only place from which this crate opens files.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// Largest JSON file that is read whole. `tokenizer.json` of the 1.5B model has 7 MB.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// A folder that exists.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    root: PathBuf,
}

impl ModelFolder {
    /// The folder at `root`.
    ///
    /// # Errors
    /// [`Error::FolderNotFound`] when nothing is there, or something that is not a folder.
    pub fn open(root: &Path) -> Result<Self> {
        let not_found = |reason, source| Error::FolderNotFound { path: root.to_owned(), reason, source };
        match fs::metadata(root) {
            Ok(found) if found.is_dir() => Ok(Self { root: root.to_owned() }),
            Ok(_) => Err(not_found("is not a folder", None)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(not_found("does not exist", None)),
            Err(e) => Err(not_found("cannot be opened", Some(e))),
        }
    }

    /// The path of `name` inside the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Whether a regular file `name` is there.
    pub fn has(&self, name: &str) -> bool {
        self.path(name).is_file()
    }

    /// Names of the folders directly inside, sorted, those that are not Unicode left out.
    ///
    /// # Errors
    /// [`Error::FileUnreadable`] when the folder cannot be listed.
    pub fn subfolders(&self) -> Result<Vec<String>> {
        let unreadable = |source| Error::FileUnreadable { path: self.root.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.root).map_err(unreadable)? {
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

    /// Opens a regular file and gives its length.
    ///
    /// # Errors
    /// [`Error::FileMissing`], with `needed_for` as the reason; [`Error::FileUnreadable`];
    /// [`Error::FileInvalid`] for anything but a regular file.
    pub fn open_file(&self, name: &str, needed_for: &str) -> Result<OpenFile> {
        let path = self.path(name);
        // Asked before the open, because opening a FIFO waits for a writer.
        match fs::metadata(&path) {
            Ok(found) if found.is_file() => {}
            Ok(_) => {
                let reason = "is not a regular file".to_owned();
                return Err(Error::FileInvalid { path, reason, source: None });
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::FileMissing { path, needed_for: needed_for.to_owned() });
            }
            Err(source) => return Err(Error::FileUnreadable { path, source }),
        }
        let opened = File::open(&path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((len, file)) => Ok(OpenFile { path, file, len }),
            Err(source) => Err(Error::FileUnreadable { path, source }),
        }
    }

    /// Reads a JSON file whole, as bytes.
    ///
    /// # Errors
    /// Those of [`Self::open_file`], and [`Error::FileInvalid`] for a file over the size limit.
    pub fn read(&self, name: &str, needed_for: &str) -> Result<Vec<u8>> {
        let opened = self.open_file(name, needed_for)?;
        if opened.len > MAX_JSON_BYTES {
            let reason = format!("has {} bytes; at most {MAX_JSON_BYTES} are read", opened.len);
            return Err(Error::FileInvalid { path: opened.path, reason, source: None });
        }
        let mut bytes = Vec::new();
        // The limit also holds for a file that grows while it is read.
        match opened.file.take(MAX_JSON_BYTES).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(source) => Err(Error::FileUnreadable { path: opened.path, source }),
        }
    }

    /// Reads a JSON file into `T`.
    ///
    /// # Errors
    /// Those of [`Self::read`], and [`Error::FileInvalid`] when it is not the JSON that `T` wants.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str, needed_for: &str) -> Result<T> {
        let bytes = self.read(name, needed_for)?;
        serde_json::from_slice(&bytes).map_err(|e| Error::FileInvalid {
            path: self.path(name),
            reason: "is not the JSON that is expected here".to_owned(),
            source: Some(Box::new(e)),
        })
    }
}

/// Whether `name`, which came from a file, is one plain component: such a name cannot lead out of the folder.
pub fn is_plain_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(only)), None) if only == name)
}

/// A regular file, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    /// Where it is.
    pub path: PathBuf,
    /// The open file.
    pub file: File,
    /// Its length in bytes when it was opened.
    pub len: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;

    #[test]
    fn a_missing_folder_and_a_file_in_its_place_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let missing = ModelFolder::open(&dir.path().join("none")).unwrap_err();
        assert_eq!(missing.code(), ErrorCode::ModelFolderNotFound);
        assert!(missing.to_string().contains("does not exist"));
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        assert!(ModelFolder::open(&file).unwrap_err().to_string().contains("is not a folder"));
    }

    #[test]
    fn a_missing_file_says_what_it_is_for() {
        let dir = tempfile::tempdir().unwrap();
        let folder = ModelFolder::open(dir.path()).unwrap();
        let error = folder.read("config.json", "it describes the model").unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelFileMissing);
        assert!(error.to_string().ends_with("config.json is missing: it describes the model"));
    }

    #[test]
    fn only_one_plain_component_is_a_plain_name() {
        assert!(is_plain_name("2_Dense_1024") && is_plain_name("model-00001-of-00002.safetensors"));
        for name in ["", ".", "..", "a/b", "a/", "/a", "../a"] {
            assert!(!is_plain_name(name), "{name}");
        }
    }

    #[test]
    fn a_directory_is_not_read_as_a_file() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("config.json")).unwrap();
        let error = ModelFolder::open(dir.path()).unwrap().read("config.json", "-").unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelFileInvalid);
    }

    #[test]
    fn json_errors_keep_the_parsers_words() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("config.json"), "{\"a\": }").unwrap();
        let folder = ModelFolder::open(dir.path()).unwrap();
        let error = folder.read_json::<serde_json::Value>("config.json", "-").unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelFileInvalid);
        assert!(
            error.chain().len() == 2 && error.chain()[1].contains("line 1 column 7"),
            "{:?}",
            error.chain()
        );
    }
}
