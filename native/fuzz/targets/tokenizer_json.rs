//! Reads arbitrary bytes as `tokenizer.json`. A tokenizer that is accepted must produce ids and places within its limits.
#![no_main]
#![allow(clippy::expect_used)]

use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stella_core::files::file_names::{TOKENIZER_CONFIG_FILE, TOKENIZER_FILE};
use stella_core::files::folder::ModelFolder;
use stella_core::files::pooling_config::PoolingMode;
use stella_core::text::text_settings::{TextSettings, TokenLimit};
use stella_core::text::tokenizer::{LongText, Tokenizer};
use stella_fuzz::{check_count, check_error, empty_folder, let_foreign_panics_unwind};

/// The rows of the embedding table.
const VOCABULARY: usize = 64;
const MAX_TOKENS: usize = 12;
const TEXTS: [&str; 4] =
    ["", "a bc, Aé b", " \u{fdfa}中\u{200d}\0🙂 a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab"];

/// The folders for the file: one without settings, and one whose settings add a token after every text.
static FOLDERS: LazyLock<[(PathBuf, PoolingMode); 2]> = LazyLock::new(|| {
    let settings = r#"{"add_eos_token": true, "eos_token": "a", "do_lower_case": true}"#;
    let with_eos = empty_folder();
    fs::write(with_eos.join(TOKENIZER_CONFIG_FILE), settings).expect("written");
    [(empty_folder(), PoolingMode::Mean), (with_eos, PoolingMode::LastToken)]
});

fuzz_target!(init: let_foreign_panics_unwind(), |data: &[u8]| {
    for (folder, pooling) in &*FOLDERS {
        fs::write(folder.join(TOKENIZER_FILE), data).expect("written");
        let folder = ModelFolder::open(folder, None).expect("a folder");
        let settings = TextSettings::read(&folder).expect("settings");
        match Tokenizer::read(&folder, VOCABULARY, &TokenLimit::asked(MAX_TOKENS), &settings, *pooling) {
            Ok(tokenizer) => {
                for text in TEXTS {
                    tokenize(&tokenizer, text);
                }
            }
            Err(error) => check_error(&error),
        }
    }
});

fn tokenize(tokenizer: &Tokenizer, text: &str) {
    let (mut ids, mut places) = (Vec::new(), Vec::new());
    match tokenizer.encode(0, text, LongText::Truncate, &mut ids, Some(&mut places)) {
        Ok(count) => check_count(count, text, &ids, &places, MAX_TOKENS, VOCABULARY),
        Err(error) => check_error(&error),
    }
}
