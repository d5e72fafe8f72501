//! The fingerprint of a model: a hash of its weights and settings that tells two models apart, the same on every machine.
//!
//! The fingerprint is the SHA-256 of the lines that `sha256sum` prints for the files of the model, sorted by the bytes of
//! their paths. Paths are relative to the model folder and have forward slashes. So `LC_ALL=C sha256sum FILES | sha256sum`
//! computes it too. The files are those that [`ModelFolder`] opened during the load, so the list is complete by
//! construction. Of several heads, only the files of one head count: further heads in the folder do not change its vectors.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::base::error::Result;
use crate::base::fault_injection::{Stage, reach};
use crate::files::folder::ModelFolder;
use crate::files::hash::{Algorithm, Hasher, to_hex};
use crate::files::open_file::OpenFile;

/// Bytes of a piece that is hashed. It fits into the L2 cache.
const PIECE_BYTES: usize = 64 << 10;

/// The hashes of the files of a model. Each is computed once.
#[derive(Debug, Default)]
pub(crate) struct FileHashes(Mutex<BTreeMap<String, [u8; 32]>>);

impl FileHashes {
    /// Returns the fingerprint of the sorted `files` of a folder. Uses the SHA-256 of the manifest or of the name of a blob, and
    /// reads the other files. Callers take turns, so that each file is read once.
    ///
    /// # Errors
    /// Those of [`ModelFolder::open_file`]; [`Error::FileInvalid`](crate::base::error::Error::FileInvalid) for a file that
    /// changes while it is read.
    pub(crate) fn fingerprint<'f>(
        &self,
        folder: &ModelFolder,
        files: impl Iterator<Item = &'f String>,
    ) -> Result<[u8; 32]> {
        let started = Instant::now();
        // An insertion either happened or did not, so the hashes are valid even if the lock is poisoned.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fingerprint = Hasher::new(Algorithm::Sha256);
        let (mut count, mut added, mut bytes_read) = (0, 0, 0);
        for name in files {
            let sha256 = match known.get(name) {
                Some(sha256) => *sha256,
                None => {
                    let opened = folder.open_file(name, "it is part of the model's fingerprint")?;
                    let sha256 = match opened.known_sha256() {
                        Some(known) => known,
                        None => {
                            bytes_read += opened.len;
                            hash(&opened)?
                        }
                    };
                    known.insert(name.clone(), sha256);
                    added += 1;
                    sha256
                }
            };
            fingerprint.update(line(&sha256, name).as_bytes());
            count += 1;
        }
        let found = fingerprint.finish();
        if added > 0 {
            log::debug!(
                "{}: The fingerprint of {count} files is {}. Hashed {bytes_read} bytes in {:.0} ms.",
                folder.path("").display(),
                to_hex(&found),
                started.elapsed().as_secs_f64() * 1e3,
            );
        }
        Ok(found)
    }
}

/// Hashes an open file, piece by piece.
fn hash(opened: &OpenFile) -> Result<[u8; 32]> {
    reach(Stage::Fingerprint);
    let mut hash = Hasher::new(Algorithm::Sha256);
    let mut piece = vec![0; PIECE_BYTES];
    // Limit the length, so that a growing file is not read forever.
    let mut file = (&opened.file).take(opened.len);
    let read = loop {
        match file.read(&mut piece) {
            Ok(0) => break Ok(()),
            Ok(length) => hash.update(&piece[..length]),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => break Err(e),
        }
    };
    opened.check_unchanged(read)?;
    Ok(hash.finish())
}

/// Returns the line of a file as `sha256sum` prints it. A backslash or a line break in the name is escaped, so that a name
/// cannot look like another line.
fn line(sha256: &[u8; 32], name: &str) -> String {
    let escaped = name.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    let mark = if escaped == name { "" } else { "\\" };
    format!("{mark}{}  {escaped}\n", to_hex(sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_a_line_break_or_a_backslash_is_escaped_as_sha256sum_does() {
        let zeros = "0".repeat(64);
        for (name, escaped) in [
            ("1_Pooling/config.json", format!("{zeros}  1_Pooling/config.json\n")),
            ("a\nb", format!("\\{zeros}  a\\nb\n")),
            ("a\\nb", format!("\\{zeros}  a\\\\nb\n")),
            ("a\rb", format!("\\{zeros}  a\\rb\n")),
        ] {
            assert_eq!(line(&[0; 32], name), escaped);
        }
    }
}
