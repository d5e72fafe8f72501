//! Copies of the fixtures' models, which a test may break.

use std::fs;
use std::path::Path;

/// A copy of the model `name`, gone after the test.
pub fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models").join(name);
    copy(&from, dir.path());
    dir
}

fn copy(from: &Path, to: &Path) {
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
