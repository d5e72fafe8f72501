//! A manifest: size and SHA-256 of every file of a model, made by somebody who had the right ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::json::once_each;

/// Name of the manifest inside a model folder.
pub const MANIFEST_FILE: &str = "stella.manifest.json";
/// The one version of the format.
const VERSION: u64 = 1;

/// What each file of a folder must be.
#[derive(Debug, Clone)]
pub struct Manifest {
    path: PathBuf,
    files: BTreeMap<String, Expected>,
}

/// What one file must be.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// The manifest that says so.
    pub manifest: PathBuf,
}

#[derive(Deserialize)]
struct Raw {
    version: u64,
    #[serde(deserialize_with = "once_each")]
    files: BTreeMap<String, RawFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    size: u64,
    sha256: String,
}

impl Manifest {
    /// Reads the manifest `bytes` that were found at `path`.
    ///
    /// # Errors
    /// [`Error::FileInvalid`] for another format or another version of it.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let invalid = |reason: String, source| Error::FileInvalid { path: path.to_owned(), reason, source };
        let raw: Raw = serde_json::from_slice(bytes)
            .map_err(|e| invalid("is not a manifest of a model".to_owned(), Some(Box::new(e))))?;
        if raw.version != VERSION {
            let reason = format!("has version {}; version {VERSION} is read here", raw.version);
            return Err(invalid(reason, None));
        }
        let mut files = BTreeMap::new();
        for (name, file) in raw.files {
            let Some(sha256) = from_hex(&file.sha256) else {
                let reason =
                    format!("sha256 of {name:?} is {:?}; it must be 64 hexadecimal digits", file.sha256);
                return Err(invalid(reason, None));
            };
            files.insert(name, Expected { size: file.size, sha256, manifest: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), files })
    }

    /// What the file `name` must be, after its size `len` has been compared. `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] for a file that the manifest does not list or that has another size.
    pub fn expect(&self, name: &str, path: &Path, len: u64) -> Result<&Expected> {
        let differs = |reason: String| Error::Inconsistent { path: path.to_owned(), reason };
        let manifest = self.path.display();
        let expected = self.files.get(name).ok_or_else(|| differs(format!("is not listed in {manifest}")))?;
        if expected.size != len {
            return Err(differs(format!("has {len} bytes, but {manifest} says {}", expected.size)));
        }
        Ok(expected)
    }
}

impl Expected {
    /// Compares the hash of a file's bytes. `path` names the file in the error.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when it is another.
    pub fn check(&self, path: &Path, hash: Sha256) -> Result<()> {
        let found: [u8; 32] = hash.finalize().into();
        if found == self.sha256 {
            return Ok(());
        }
        let reason = format!(
            "has SHA-256 {}, but {} says {}",
            to_hex(&found),
            self.manifest.display(),
            to_hex(&self.sha256)
        );
        Err(Error::Inconsistent { path: path.to_owned(), reason })
    }
}

fn from_hex(digits: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if digits.len() != 64 {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| char::from(c).to_digit(16);
        *byte = u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()?;
    }
    Some(bytes)
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn parse(json: &str) -> Result<Manifest> {
        Manifest::parse(Path::new("m/stella.manifest.json"), json.as_bytes())
    }

    #[test]
    fn a_file_is_compared_by_size_then_by_hash() {
        let json = format!(r#"{{"version":1,"model":"x/y","files":{{"a":{{"size":3,"sha256":"{ABC}"}}}}}}"#);
        let manifest = parse(&json).unwrap();
        let path = Path::new("m/a");
        let expected = manifest.expect("a", path, 3).unwrap();
        assert!(expected.check(path, Sha256::new_with_prefix("abc")).is_ok());
        let wrong = expected.check(path, Sha256::new_with_prefix("abd")).unwrap_err().to_string();
        assert!(wrong.starts_with("m/a: has SHA-256 a52d159f") && wrong.contains(ABC), "{wrong}");
        assert!(manifest.expect("a", path, 4).unwrap_err().to_string().contains("has 4 bytes"));
        assert!(manifest.expect("b", path, 3).unwrap_err().to_string().contains("not listed"));
    }

    #[test]
    fn a_file_that_is_listed_twice_is_refused() {
        let entry = format!(r#""a":{{"size":3,"sha256":"{ABC}"}}"#);
        let error = parse(&format!(r#"{{"version":1,"files":{{{entry},{entry}}}}}"#)).unwrap_err();
        assert!(error.chain().concat().contains("\"a\" is listed twice"), "{:?}", error.chain());
    }

    #[test]
    fn other_formats_are_refused() {
        for (json, says) in [
            ("[]", "is not a manifest"),
            (r#"{"version":2,"files":{}}"#, "version 2"),
            (r#"{"version":1,"files":{"a":{"size":3,"sha256":"ab"}}}"#, "64 hexadecimal digits"),
            (r#"{"version":1,"files":{"a":{"size":-3,"sha256":""}}}"#, "is not a manifest"),
        ] {
            let error = parse(json).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
