//! `tokenizer.json` is any bytes. What is read is then used: whatever it makes of a text stays within its limits.
#![no_main]
#![allow(clippy::expect_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stella_core::files::TOKENIZER_FILE;
use stella_core::folder::ModelFolder;
use stella_core::tokenizer::{LongText, Tokenizer};
use stella_fuzz::{check_count, check_error, empty_folder, errors_for_panics};

/// Rows of the embedding table.
const VOCABULARY: usize = 64;
const MAX_TOKENS: usize = 12;
const TEXTS: [&str; 4] =
    ["", "a bc, Aé b", " \u{fdfa}中\u{200d}\0🙂 a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"];

static FOLDER: LazyLock<PathBuf> = LazyLock::new(empty_folder);

fuzz_target!(init: errors_for_panics(), |data: &[u8]| {
    fs::write(FOLDER.join(TOKENIZER_FILE), data).expect("written");
    let folder = ModelFolder::open(&FOLDER, None).expect("a folder");
    let tokenizer = match Tokenizer::read(&folder, VOCABULARY, MAX_TOKENS) {
        Ok(tokenizer) => tokenizer,
        Err(error) => return check_error(&error),
    };
    for text in TEXTS {
        let (mut ids, mut places) = (Vec::new(), Vec::new());
        match tokenizer.encode(0, text, LongText::Truncate, &mut ids, Some(&mut places)) {
            Ok(count) => check_count(count, text, &ids, &places, MAX_TOKENS, VOCABULARY),
            Err(error) => check_error(&error),
        }
    }
});
