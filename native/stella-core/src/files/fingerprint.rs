//! The fingerprint of a model: one hash of its weights and settings that is the same on every machine.
//!
//! It is the SHA-256 of the lines that `sha256sum` prints for the files that a load opens, in the order of the bytes of
//! their paths, which are relative to the model folder and have forward slashes. So `LC_ALL=C sha256sum FILES | sha256sum`
//! computes it too. The files are those that [`ModelFolder`] opened, so no list of names can miss one. Of several heads the
//! files of one count: a folder with more heads gives the same vectors.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::base::error::Result;
use crate::base::fault_injection::{Stage, reach};
use crate::files::folder::{ModelFolder, OpenFile};
use crate::files::hash::{Algorithm, Hasher, to_hex};

/// Bytes that are hashed at once. They fit into the second cache.
const PIECE_BYTES: usize = 64 << 10;

/// The hashes of a model's files, each computed once.
#[derive(Debug, Default)]
pub(crate) struct FileHashes(Mutex<BTreeMap<String, [u8; 32]>>);

impl FileHashes {
    /// Returns the fingerprint of the `files` of a folder, which are sorted. A SHA-256 that the manifest or the name of a
    /// blob says is taken; other files are read whole. Callers take turns, so that each file is read once.
    ///
    /// # Errors
    /// Those of [`ModelFolder::open_file`], and [`crate::Error::FileInvalid`] for a file that changes while it is read.
    pub(crate) fn fingerprint<'f>(
        &self,
        folder: &ModelFolder,
        files: impl Iterator<Item = &'f String>,
    ) -> Result<[u8; 32]> {
        let started = Instant::now();
        // An insertion is whole or was not made, so a poisoned lock guards hashes that are right.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut fingerprint = Hasher::new(Algorithm::Sha256);
        let (mut count, mut added, mut bytes_read) = (0, 0, 0);
        for name in files {
            let sha256 = match known.get(name) {
                Some(sha256) => *sha256,
                None => {
                    let opened = folder.open_file(name, "it is part of the model's fingerprint")?;
                    let sha256 = match opened.known_sha256() {
                        Some(said) => said,
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
                "{}: fingerprint {}, of {count} files; {bytes_read} bytes hashed in {:.0} ms",
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
    // A file that grows is not read forever.
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

/// Returns the line of a file as `sha256sum` prints it. Names with a backslash or a line break are escaped, so that no
/// name can look like a line of its own.
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
