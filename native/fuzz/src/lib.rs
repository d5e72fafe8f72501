//! What the fuzz targets share: model folders that a target may break, and what holds of every error.
#![allow(clippy::expect_used, clippy::panic)]

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use stella_core::text::tokenizer::{TokenCount, Truncation};
use stella_core::{Error, ErrorCode};

/// The folder of a fixture's model.
pub fn fixture(name: &str) -> PathBuf {
    fixtures().join("models").join(name)
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures")
}

/// A copy of a folder of the fixtures that lives as long as the process, in the folder that TMPDIR names.
pub fn copy_of(path: &str) -> PathBuf {
    let folder = empty_folder();
    copy(&fixtures().join(path), &folder);
    folder
}

/// An empty folder that lives as long as the process, in the folder that TMPDIR names.
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

/// What bad data may cause: any error but those that stand for a defect of ours.
pub fn check_error(error: &Error) {
    let code = error.code();
    if matches!(code, ErrorCode::Internal | ErrorCode::Panic) {
        panic!("{:?}", error.chain());
    }
    assert!(error.chain().iter().all(|message| !message.is_empty()), "{:?}", error.chain());
}

/// What holds of every text that was tokenized with [`LongText::Truncate`](stella_core::text::tokenizer::LongText).
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
        assert!(begin <= end && text.get(begin..end).is_some(), "{begin}..{end} is no part of {text:?}");
    }
}

/// Lets panics of other crates unwind to where they are caught, as they do outside of the fuzzer, whose own hook ends the
/// process at once. One that nobody catches still ends it.
pub fn errors_for_panics() {
    let at_once = panic::take_hook();
    panic::set_hook(Box::new(move |report| {
        // Paths of this workspace are relative.
        if report.location().is_none_or(|at| Path::new(at.file()).is_relative()) {
            at_once(report);
        }
    }));
}
