//! Regular files: opens them safely, and checks that they do not change while they are read.

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::files::file_stamp::FileStamp;
use crate::files::manifest::Expected;

/// A regular file, open for reading.
#[derive(Debug)]
pub struct OpenFile {
    /// Its path for messages.
    pub path: PathBuf,
    /// The open file.
    pub file: File,
    /// Its length in bytes when it was opened.
    pub len: u64,
    /// Its stamp when it was opened.
    pub stamp: FileStamp,
    /// Its entry in the manifest. The size was compared already.
    pub expected: Option<Expected>,
    /// The SHA-256 in the name of the blob, if the file is a link to a blob of a Hugging Face cache.
    pub(crate) blob: Option<[u8; 32]>,
}

impl OpenFile {
    /// Returns the SHA-256 of the file in the manifest, or else in the name of the blob. Does not compare the bytes with it.
    pub(crate) fn known_sha256(&self) -> Option<[u8; 32]> {
        self.expected.as_ref().map(|expected| expected.sha256).or(self.blob)
    }

    /// Checks that the file did not change since it was opened. `read` is the outcome of reading it.
    ///
    /// # Errors
    /// [`Error::FileUnreadable`] if it could not be read; [`Error::FileInvalid`] if it changed.
    pub(crate) fn check_unchanged(&self, read: std::io::Result<()>) -> Result<()> {
        match read.and_then(|()| self.file.metadata()) {
            Ok(found) if FileStamp::of(&found) == self.stamp => Ok(()),
            Ok(_) => Err(changed(self.path.clone(), "has changed")),
            Err(source) => Err(Error::FileUnreadable { path: self.path.clone(), source }),
        }
    }
}

/// Returns the error for a file that changed since the folder was pinned. `how` is a verb phrase, such as `has changed`.
pub(crate) fn changed(path: PathBuf, how: &str) -> Error {
    let reason = format!("The file {how} since the model was opened. Load the model again.");
    Error::FileInvalid { path, reason, source: None }
}

/// Resolves all links of the path `at`. Errors name `path`.
pub(crate) fn resolve(at: &Path, path: &Path, needed_for: &str) -> Result<PathBuf> {
    fs::canonicalize(at).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => {
            Error::FileMissing { path: path.to_owned(), needed_for: needed_for.to_owned() }
        }
        _ => Error::FileUnreadable { path: path.to_owned(), source: e },
    })
}

/// Opens the regular file `real`. Errors name `path`.
pub(crate) fn open_regular(real: &Path, path: &Path, needed_for: &str) -> Result<OpenFile> {
    let path = path.to_owned();
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt;
        // Without O_NONBLOCK, opening a FIFO would wait for a writer; the flag has no effect on a regular file. Links were
        // resolved before, so O_NOFOLLOW refuses a link that replaced the file since.
        options.custom_flags(libc::O_NONBLOCK | libc::O_NOFOLLOW | libc::O_NOCTTY);
    }
    // Not every system can open a folder. Asking first leads to the same message on all of them.
    let is_folder = fs::metadata(real).is_ok_and(|found| found.is_dir());
    let opened = match is_folder {
        true => None,
        false => Some(options.open(real).and_then(|file| Ok((file.metadata()?, file)))),
    };
    match opened {
        Some(Ok((found, file))) if found.is_file() => Ok(OpenFile {
            path,
            file,
            len: found.len(),
            stamp: FileStamp::of(&found),
            expected: None,
            blob: None,
        }),
        Some(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => {
            Err(Error::FileMissing { path, needed_for: needed_for.to_owned() })
        }
        Some(Err(source)) => Err(Error::FileUnreadable { path, source }),
        None | Some(Ok(_)) => {
            let reason = if is_folder {
                "The entry is a folder, not a file."
            } else {
                "The entry is not a regular file."
            };
            Err(Error::FileInvalid { path, reason: reason.to_owned(), source: None })
        }
    }
}

/// Reads an open file as a whole, and compares its hash with the manifest.
pub(crate) fn read_whole(opened: OpenFile, limit: u64) -> Result<Vec<u8>> {
    if opened.len > limit {
        let reason = format!("The file has {} bytes. At most {limit} bytes are supported.", opened.len);
        return Err(Error::FileInvalid { path: opened.path, reason, source: None });
    }
    let mut bytes = Vec::new();
    // Limit the length too, in case the file grows while it is read.
    let read = (&opened.file).take(limit).read_to_end(&mut bytes);
    opened.check_unchanged(read.map(drop))?;
    if let Some(expected) = opened.expected {
        let mut hash = expected.hasher();
        hash.update(&bytes);
        expected.check(&opened.path, hash)?;
    }
    Ok(bytes)
}
