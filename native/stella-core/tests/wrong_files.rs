//! Tests that wrong content is recognized in every file of a model folder.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::fs;

use stella_core::files::folder::ModelFolder;
use stella_core::model::Model;
use stella_core::model_options::ModelOptions;

const FILES: [&str; 10] = [
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "2_Dense_1024/config.json",
    "2_Dense_1024/model.safetensors",
    "config_sentence_transformers.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "model.safetensors",
    "stella.manifest.json",
];

fn load(folder: &std::path::Path) -> String {
    let loaded =
        ModelFolder::open(folder, None).and_then(|folder| Model::load(folder, &ModelOptions::default()));
    match loaded {
        Ok(_) => panic!("loads"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn wrong_content_of_any_file_is_recognized_and_the_error_has_its_path() {
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let kinds = [
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:17e549d1\nsize 1740000000\n".to_vec(),
            "Git LFS",
        ),
        (b"<!doctype html><html><body>404</body></html>".to_vec(), "HTML page"),
        ("\u{feff}{}".as_bytes().to_vec(), "byte order mark"),
        (utf16("\u{feff}{}"), "UTF-16"),
        (utf16("{\"a\": 1}"), "UTF-16"),
    ];
    for file in FILES {
        for (bytes, says) in &kinds {
            let dir = common::copy_of("tiny-new");
            fs::write(dir.path().join(file), bytes).expect("written");
            let error = load(dir.path());
            assert!(error.contains(file) && error.contains(says), "{file}: {error}");
        }
        let dir = common::copy_of("tiny-new");
        let path = dir.path().join(file);
        let _ = fs::remove_file(&path);
        fs::create_dir(&path).expect("made");
        let error = load(dir.path());
        // A folder in place of an optional file is an error too.
        assert!(error.contains(file) && error.contains("is a folder"), "{file}: {error}");
    }
}
