//! The manifest of a model: the expected size and hashes of its files.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::base::error::{Error, Result};
use crate::files::contents::{BEGINNING, recognize};
use crate::files::hash::{Algorithm, Hasher, from_hex, to_hex};
use crate::files::json::unique_keys;
use serde::Deserialize;

/// The supported versions of the format. Version 1 has SHA-256. Version 2 may also have BLAKE3 for any file.
const VERSIONS: [u64; 2] = [1, 2];

/// The expected files of a folder.
#[derive(Debug, Clone)]
pub struct Manifest {
    path: PathBuf,
    files: BTreeMap<String, Expected>,
    /// BLAKE3 of the bytes that were parsed.
    hash: [u8; 32],
}

/// The expected size and hashes of a file.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its length in bytes.
    pub size: u64,
    /// The hash function that is checked: the fastest one in the manifest.
    pub algorithm: Algorithm,
    /// The hash of its bytes.
    pub hash: [u8; 32],
    /// The SHA-256 of its bytes, which every manifest contains.
    pub sha256: [u8; 32],
    /// The path of the manifest, for messages.
    pub manifest: PathBuf,
}

/// The version of the format. It is parsed first, so that a newer version is refused by its number, regardless of the rest.
#[derive(Deserialize)]
struct Version {
    version: u64,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(deserialize_with = "unique_keys")]
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
    /// Parses a manifest. `path` names it in errors.
    ///
    /// # Errors
    /// [`Error::FileInvalid`] for another format or an unsupported version.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let invalid = |reason: String, source| Error::FileInvalid { path: path.to_owned(), reason, source };
        let no_manifest = |e: serde_json::Error| {
            let reason = recognize(&bytes[..bytes.len().min(BEGINNING)])
                .unwrap_or("The file is not a manifest of a model.");
            invalid(reason.to_owned(), Some(Box::new(e)))
        };
        let Version { version } = serde_json::from_slice(bytes).map_err(no_manifest)?;
        if !VERSIONS.contains(&version) {
            return Err(invalid(
                format!("The manifest has version {version}. Supported: versions 1 and 2."),
                None,
            ));
        }
        let raw: Raw = serde_json::from_slice(bytes).map_err(no_manifest)?;
        let mut files = BTreeMap::new();
        for (name, file) in raw.files {
            let digits = |key: &str, digits: &str| {
                from_hex(digits).ok_or_else(|| {
                    let reason =
                        format!("The {key} of {name:?} is {digits:?}. It must be 64 hexadecimal digits.");
                    invalid(reason, None)
                })
            };
            let sha256 = digits("sha256", &file.sha256)?;
            let (algorithm, hash) = match &file.blake3 {
                Some(_) if version == 1 => {
                    let reason = format!(
                        "The file {name:?} has a blake3, which version 1 does not support. Set the version to 2."
                    );
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

    /// Gets the hash of the bytes of the manifest. It tells two manifests apart.
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Returns whether the manifest lists a file.
    pub fn lists(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// Returns the entry of the file `name`, and compares its size with `len`. `path` names the file in errors.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] for a file that is not listed or has another size.
    pub fn expect(&self, name: &str, path: &Path, len: u64) -> Result<&Expected> {
        let differs = |reason: String| Error::Inconsistent { path: path.to_owned(), reason };
        let manifest = self.path.display();
        let expected =
            self.files.get(name).ok_or_else(|| differs(format!("The file is not listed in {manifest}.")))?;
        if expected.size != len {
            return Err(differs(format!(
                "The file has {len} bytes, but {manifest} lists {} bytes.",
                expected.size
            )));
        }
        Ok(expected)
    }
}

impl Expected {
    /// Starts the hash that [`Self::check`] compares.
    pub fn hasher(&self) -> Hasher {
        Hasher::new(self.algorithm)
    }

    /// Compares the hash of the bytes of a file. `path` names the file in the error.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] if the hashes differ.
    pub fn check(&self, path: &Path, hash: Hasher) -> Result<()> {
        let found = hash.finish();
        if found == self.hash {
            return Ok(());
        }
        let reason = format!(
            "The file has the {} {}, but {} lists it with {}.",
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
        assert!(
            wrong.starts_with("m/a: The file has the SHA-256 a52d159f") && wrong.contains(ABC),
            "{wrong}"
        );
        assert!(manifest.expect("a", path, 4).unwrap_err().to_string().contains("has 4 bytes"));
        assert!(manifest.expect("b", path, 3).unwrap_err().to_string().contains("not listed"));
    }

    fn hash_of(expected: &Expected, bytes: &str) -> Hasher {
        let mut hash = expected.hasher();
        hash.update(bytes.as_bytes());
        hash
    }

    #[test]
    fn blake3_is_compared_if_the_manifest_contains_it() {
        const BLAKE3: &str = "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85";
        // The SHA-256 is wrong, but not compared.
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
        assert!(error.starts_with("m: The file has the BLAKE3 ") && error.contains(BLAKE3), "{error}");
    }

    #[test]
    fn a_duplicate_file_is_refused() {
        let entry = format!(r#""a":{{"size":3,"sha256":"{ABC}"}}"#);
        let error = parse(&format!(r#"{{"version":1,"files":{{{entry},{entry}}}}}"#)).unwrap_err();
        assert!(error.chain().concat().contains("\"a\" is listed twice"), "{:?}", error.chain());
    }

    #[test]
    fn unsupported_formats_are_refused() {
        let both = |version, blake3: &str| {
            format!(
                r#"{{"version":{version},"files":{{"a":{{"size":3,"sha256":"{ABC}","blake3":"{blake3}"}}}}}}"#
            )
        };
        let (early, short) = (both(1, ABC), both(2, "ab"));
        for (json, says) in [
            (early.as_str(), "which version 1 does not support"),
            (short.as_str(), "blake3 of \"a\" is \"ab\". It must be 64"),
            ("[]", "is not a manifest of a model"),
            (r#"{"version":3,"files":{"a":{"sha512":""}}}"#, "has version 3"),
            (r#"{"version":"1","files":{}}"#, "is not a manifest of a model"),
            (r#"{"version":1,"version":1,"files":{}}"#, "is not a manifest of a model"),
            (r#"{"version":2,"files":{"a":{"size":3,"blake3":""}}}"#, "is not a manifest of a model"),
            (
                r#"{"version":2,"files":{"a":{"size":3,"sha256":"","md5":""}}}"#,
                "is not a manifest of a model",
            ),
            (r#"{"version":1,"files":{"a":{"size":3,"sha256":"ab"}}}"#, "64 hexadecimal digits"),
            (r#"{"version":1,"files":{"a":{"size":-3,"sha256":""}}}"#, "is not a manifest of a model"),
        ] {
            let error = parse(json).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
