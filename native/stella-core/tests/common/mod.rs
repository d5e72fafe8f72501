//! Helpers of the tests, such as copies of fixture models that a test may change.
// Each test file uses only some of these items.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use stella_core::files::file_names::TOKENIZER_FILE;
use stella_core::files::folder::ModelFolder;
use stella_core::files::folder_stamps::FolderStamps;
use stella_core::files::pooling_config::PoolingMode;
use stella_core::text::text_settings::{TextSettings, TokenLimit};
use stella_core::text::tokenizer::Tokenizer;

/// Pieces of text for each case of a tokenizer: whitespace, punctuation, accents, and characters that it drops, decomposes or
/// surrounds by whitespace. Also whole and partial special tokens, and words that are unknown or too long.
pub const TEXT_PARTS: [&str; 44] = [
    " ",
    "  ",
    "\t",
    "\n",
    "\r\n",
    "\u{a0}",
    "\u{3000}",
    "\u{2028}",
    "\u{c}",
    "\u{b}",
    "\0",
    "\u{200b}",
    "\u{fffd}",
    "\u{feff}",
    "\u{301}",
    "e\u{301}",
    "é",
    "İ",
    "ß",
    "ﬁ",
    "ǅ",
    "中",
    "文",
    "한",
    "か\u{3099}",
    "🌊",
    "river",
    "River",
    "STONE",
    "don't",
    "ing",
    "##ing",
    ".",
    ",",
    "_",
    "-",
    "$",
    "[",
    "]",
    "[CLS]",
    "[MASK",
    "[UNK]",
    "x7",
    "supercalifragilisticexpialidocious",
];

/// Returns the folder of the fixture model `name`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models").join(name)
}

/// Copies the fixture model `name` to a temporary folder.
pub fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a folder");
    copy(&fixture(name), dir.path());
    dir
}

/// Copies a folder and its content.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("created");
    for entry in fs::read_dir(from).expect("listed") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            // `fs::copy` would also copy the mode of a file, which may be read-only.
            fs::write(target, fs::read(entry.path()).expect("read")).expect("written");
        }
    }
}

/// Returns the SHA-256 of bytes as 64 lower-case hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// Returns the relative paths of all files in a folder and its subfolders, sorted, with forward slashes.
pub fn files_of(folder: &Path) -> Vec<String> {
    let stamps = FolderStamps::take(folder);
    let files = stamps.paths().filter(|path| folder.join(path).is_file());
    files.map(|path| path.to_str().expect("UTF-8").replace('\\', "/")).collect()
}

/// Writes a manifest of every file in the folder.
pub fn write_manifest(folder: &Path) {
    let mut files = serde_json::Map::new();
    for name in files_of(folder) {
        let bytes = fs::read(folder.join(&name)).expect("read");
        files.insert(name, serde_json::json!({"size": bytes.len(), "sha256": sha256(&bytes)}));
    }
    let manifest = serde_json::json!({"version": 1, "files": files});
    fs::write(folder.join("stella.manifest.json"), manifest.to_string()).expect("written");
}

/// Reads the tokenizer of a folder.
pub fn read_tokenizer(folder: &ModelFolder, vocab_size: usize, max_tokens: usize) -> Tokenizer {
    let settings = TextSettings::read(folder).expect("settings");
    Tokenizer::read(folder, vocab_size, &TokenLimit::asked(max_tokens), &settings, PoolingMode::Mean)
        .expect("a tokenizer")
}

/// Reads the tokenizer of the fixture tiny-new after edits of its file. An edit is a JSON pointer and a value.
pub fn edited_tokenizer(edits: &[(&str, Value)], max_tokens: usize) -> Tokenizer {
    let dir = copy_of("tiny-new");
    let path = dir.path().join(TOKENIZER_FILE);
    let mut file: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
    for (pointer, value) in edits {
        *file.pointer_mut(pointer).expect("a part") = value.clone();
    }
    fs::write(path, file.to_string()).expect("written");
    read_tokenizer(&ModelFolder::open(dir.path(), None).expect("opens"), 1216, max_tokens)
}
