//! A manifest: size and hashes of every file of a model, made by somebody who had the right ones.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::files::contents::{BEGINNING, recognize};
use crate::files::hash::{Algorithm, Hasher, from_hex, to_hex};
use crate::files::json::once_each;
use serde::Deserialize;

/// The versions of the format that are read. Version 1 knows SHA-256; version 2 also BLAKE3, for any of its files.
const VERSIONS: [u64; 2] = [1, 2];

/// What each file of a folder must be.
#[derive(Debug, Clone)]
pub struct Manifest {
    path: PathBuf,
    files: BTreeMap<String, Expected>,
    /// BLAKE3 of the bytes that were parsed.
    hash: [u8; 32],
}

/// What one file must be.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its length in bytes.
    pub size: u64,
    /// The hash that it is held against: the fastest that the manifest has.
    pub algorithm: Algorithm,
    /// That hash of its bytes.
    pub hash: [u8; 32],
    /// SHA-256 of its bytes, which every manifest has.
    pub sha256: [u8; 32],
    /// The manifest that says so.
    pub manifest: PathBuf,
}

/// Read first, so that a newer format is refused by its number, whatever else it holds.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(deserialize_with = "once_each")]
    files: BTreeMap<String, RawFile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    size: u64,
    sha256: String,
    blake3: Option<String>,
}

impl Manifest {
    /// Reads the manifest `bytes` that were found at `path`.
    ///
    /// # Errors
    /// [`Error::FileInvalid`] for another format or another version of it.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let invalid = |reason: String, source| Error::FileInvalid { path: path.to_owned(), reason, source };
        let no_manifest = |e: serde_json::Error| {
            let what =
                recognize(&bytes[..bytes.len().min(BEGINNING)]).unwrap_or("is not a manifest of a model");
            invalid(what.to_owned(), Some(Box::new(e)))
        };
        let Version { version } = serde_json::from_slice(bytes).map_err(no_manifest)?;
        if !VERSIONS.contains(&version) {
            return Err(invalid(format!("has version {version}; versions 1 and 2 are read here"), None));
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(no_manifest)?;
        let mut files = BTreeMap::new();
        for (name, file) in raw.files {
            let digits = |key: &str, digits: &str| {
                from_hex(digits).ok_or_else(|| {
                    let reason = format!("{key} of {name:?} is {digits:?}; it must be 64 hexadecimal digits");
                    invalid(reason, None)
                })
            };
            let sha256 = digits("sha256", &file.sha256)?;
            let (algorithm, hash) = match &file.blake3 {
                Some(_) if version == 1 => {
                    let reason = format!("gives a blake3 of {name:?}, which version 1 does not know");
                    return Err(invalid(reason, None));
                }
                Some(blake3) => (Algorithm::Blake3, digits("blake3", blake3)?),
                None => (Algorithm::Sha256, sha256),
            };
            let manifest = path.to_owned();
            files.insert(name, Expected { size: file.size, algorithm, hash, sha256, manifest });
        }
        let mut hash = Hasher::new(Algorithm::Blake3);
        hash.update(bytes);
        Ok(Self { path: path.to_owned(), files, hash: hash.finish() })
    }

    /// The hash of the manifest's bytes. It tells two manifests apart.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Whether a file is listed.
    pub fn lists(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// What the file `name` must be, after its size `len` has been compared. `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] for a file that is not listed or that has another size.
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
    /// A hash to which the file's bytes are to be given.
    pub fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm)
    }

    /// Compares the hash of a file's bytes. `path` names the file in the error.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when it is another.
    pub fn check(&self, path: &Path, hash: Hasher) -> Result<()> {
        let found = hash.finish();
        if found == self.hash {
            return Ok(());
        }
        let reason = format!(
            "has {} {}, but {} says {}",
            self.algorithm.name(),
            to_hex(&found),
            self.manifest.display(),
            to_hex(&self.hash)
        );
        Err(Error::Inconsistent { path: path.to_owned(), reason })
    }
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
        assert!(expected.check(path, hash_of(expected, "abc")).is_ok());
        let wrong = expected.check(path, hash_of(expected, "abd")).unwrap_err().to_string();
        assert!(wrong.starts_with("m/a: has SHA-256 a52d159f") && wrong.contains(ABC), "{wrong}");
        assert!(manifest.expect("a", path, 4).unwrap_err().to_string().contains("has 4 bytes"));
        assert!(manifest.expect("b", path, 3).unwrap_err().to_string().contains("not listed"));
    }

    fn hash_of(expected: &Expected, bytes: &str) -> Hasher {
        let mut hash = expected.hasher();
        hash.update(bytes.as_bytes());
        hash
    }

    #[test]
    fn blake3_is_compared_where_it_is_given() {
        const BLAKE3: &str = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        // The other hash is wrong and not looked at.
        let wrong = "0".repeat(64);
        let json = format!(
            r#"{{"version":2,"files":{{"a":{{"size":3,"sha256":"{wrong}","blake3":"{BLAKE3}"}},
                                       "b":{{"size":3,"sha256":"{ABC}"}}}}}}"#
        );
        let manifest = parse(&json).unwrap();
        for name in ["a", "b"] {
            let (path, expected) = (Path::new("m"), manifest.expect(name, Path::new("m"), 3).unwrap());
            assert!(expected.check(path, hash_of(expected, "abc")).is_ok(), "{name}");
            assert!(expected.check(path, hash_of(expected, "abd")).is_err(), "{name}");
        }
        let expected = manifest.expect("a", Path::new("m"), 3).unwrap();
        let error = expected.check(Path::new("m"), hash_of(expected, "abd")).unwrap_err().to_string();
        assert!(error.starts_with("m: has BLAKE3 ") && error.contains(BLAKE3), "{error}");
    }

    #[test]
    fn a_file_that_is_listed_twice_is_refused() {
        let entry = format!(r#""a":{{"size":3,"sha256":"{ABC}"}}"#);
        let error = parse(&format!(r#"{{"version":1,"files":{{{entry},{entry}}}}}"#)).unwrap_err();
        assert!(error.chain().concat().contains("\"a\" is listed twice"), "{:?}", error.chain());
    }

    #[test]
    fn other_formats_are_refused() {
        let both = |version, blake3: &str| {
            format!(
                r#"{{"version":{version},"files":{{"a":{{"size":3,"sha256":"{ABC}","blake3":"{blake3}"}}}}}}"#
            )
        };
        let (early, short) = (both(1, ABC), both(2, "ab"));
        for (json, says) in [
            (early.as_str(), "which version 1 does not know"),
            (short.as_str(), "blake3 of \"a\" is \"ab\"; it must be 64"),
            ("[]", "is not a manifest"),
            (r#"{"version":3,"files":{"a":{"sha512":""}}}"#, "has version 3"),
            (r#"{"version":"1","files":{}}"#, "is not a manifest"),
            (r#"{"version":1,"version":1,"files":{}}"#, "is not a manifest"),
            (r#"{"version":2,"files":{"a":{"size":3,"blake3":""}}}"#, "is not a manifest"),
            (r#"{"version":2,"files":{"a":{"size":3,"sha256":"","md5":""}}}"#, "is not a manifest"),
            (r#"{"version":1,"files":{"a":{"size":3,"sha256":"ab"}}}"#, "64 hexadecimal digits"),
            (r#"{"version":1,"files":{"a":{"size":-3,"sha256":""}}}"#, "is not a manifest"),
        ] {
            let error = parse(json).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
