//! Helpers of the fuzz targets: model folders that a target may change, and checks of errors and token counts.
#![allow(clippy::expect_used, clippy::panic)]

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use stella_core::text::tokenizer::{TokenCount, Truncation};
use stella_core::{Error, ErrorCode};

/// Returns the folder of the model of a fixture.
pub fn fixture(name: &str) -> PathBuf {
    fixtures().join("models").join(name)
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

/// Copies a folder of the fixtures to a new folder below TMPDIR, which is not deleted.
pub fn copy_of(path: &str) -> PathBuf {
    let folder = empty_folder();
    copy(&fixtures().join(path), &folder);
    folder
}

/// Creates an empty folder below TMPDIR, which is not deleted.
pub fn empty_folder() -> PathBuf {
    tempfile::tempdir().expect("a folder").keep()
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::write(target, fs::read(entry.path()).expect("read")).expect("written");
        }
    }
}

/// Checks an error that invalid data caused: any code is allowed except the codes for defects of the library.
pub fn check_error(error: &Error) {
    let code = error.code();
    if matches!(code, ErrorCode::Internal | ErrorCode::Panic) {
        panic!("{:?}", error.chain());
    }
    assert!(error.chain().iter().all(|message| !message.is_empty()), "{:?}", error.chain());
}

/// Checks the result of tokenizing a text with [`LongText::Truncate`](stella_core::text::tokenizer::LongText).
pub fn check_count(
    count: TokenCount,
    text: &str,
    ids: &[u32],
    places: &[(usize, usize)],
    max_tokens: usize,
    vocabulary: usize,
) {
    assert!(count.kept <= max_tokens && count.kept <= count.total, "{count:?}");
    assert_eq!((ids.len(), places.len()), (count.kept, count.kept));
    assert!(
        count.truncation == Truncation::Bytes
            || (count.truncation == Truncation::Tokens) == (count.kept < count.total),
        "{count:?}"
    );
    assert!(ids.iter().all(|&id| (id as usize) < vocabulary), "{ids:?}");
    for &(begin, end) in places {
        assert!(begin <= end && text.get(begin..end).is_some(), "{begin}..{end} is outside of {text:?}");
    }
}

/// Lets panics of other crates unwind, so that the library can catch them as it does outside of the fuzzer. The panic hook of
/// the fuzzer would end the process at once. A panic that is not caught still ends it.
pub fn let_foreign_panics_unwind() {
    let abort = panic::take_hook();
    panic::set_hook(Box::new(move |report| {
        // Only files of this workspace have relative paths.
        if report.location().is_none_or(|at| Path::new(at.file()).is_relative()) {
            abort(report);
        }
    }));
}
