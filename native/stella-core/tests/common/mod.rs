//! Models for tests: copies of the fixtures, which a test may break.
// Each test takes what it needs of this.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

/// The folder of the fixture model `name`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models").join(name)
}

/// A copy of the model `name`, gone after the test.
pub fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    copy(&fixture(name), dir.path());
    dir
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            // Written anew: a copied file would keep the mode of one that may be read only.
            fs::write(target, fs::read(entry.path()).expect("read")).expect("written");
        }
    }
}
