//! Tests that hostile `tokenizer.json` files are refused before they exhaust memory or time, or crash the process.
#![allow(clippy::expect_used, clippy::panic)]

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use stella_core::files::file_names::TOKENIZER_FILE;
use stella_core::files::folder::ModelFolder;
use stella_core::files::pooling_config::PoolingMode;
use stella_core::text::text_settings::{TextSettings, TokenLimit};
use stella_core::text::tokenizer::{LongText, Tokenizer};
use stella_core::{ErrorCode, Result};

/// Returns the folder of the seeds of the fuzz target, which include small valid WordPiece and BPE tokenizers.
fn seeds() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/tokenizer_json")
}

fn read(bytes: &[u8]) -> Result<Tokenizer> {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join(TOKENIZER_FILE), bytes).expect("written");
    let folder = ModelFolder::open(dir.path(), None).expect("opens");
    Tokenizer::read(&folder, 64, &TokenLimit::asked(16), &TextSettings::read(&folder)?, PoolingMode::Mean)
}

/// Returns a valid tokenizer with some of its parts replaced.
fn with(seed: &str, edits: &[(&str, Value)]) -> String {
    let text = fs::read_to_string(seeds().join(seed)).expect("a seed");
    let mut file: Value = serde_json::from_str(&text).expect("JSON");
    for (pointer, value) in edits {
        let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
        file.pointer_mut(parent).expect("a part")[key] = value.clone();
    }
    file.to_string()
}

fn sequence(list: &str, part: &Value, times: usize) -> Value {
    json!({"type": "Sequence", list: vec![part; times]})
}

#[test]
fn unsupported_and_hostile_parts_are_refused_by_name() {
    let replace = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    // If the fields do not fit the type, the library guesses another type from the fields.
    let disguised = json!({"type": "BertNormalizer", "pattern": {"String": "a"}, "content": "aa"});
    // Announces a trie of four gigabytes without a byte of content.
    let precompiled = json!({"type": "Precompiled", "precompiled_charsmap": "/////w=="});
    let bytes =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false});
    let seed_template = with("wordpiece", &[]);
    let template = serde_json::from_str::<Value>(&seed_template).expect("JSON")["post_processor"].clone();
    let text = json!({"Sequence": {"id": "A", "type_id": 0}});
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let mut deep = json!({"type": "NFC"});
    for _ in 0..40 {
        deep = sequence("normalizers", &deep, 1);
    }
    let cases: Vec<(&str, &str, Value, &str)> = vec![
        ("wordpiece", "/normalizer", precompiled.clone(), "normalizer is Precompiled"),
        ("wordpiece", "/normalizer", sequence("normalizers", &precompiled, 1), "normalizer is Precompiled"),
        ("wordpiece", "/normalizer", sequence("normalizers", &replace, 40), "normalizer is Replace"),
        ("wordpiece", "/normalizer", disguised, "normalizer is Replace"),
        ("wordpiece", "/normalizer", json!({"type": "Prepend", "prepend": "a"}), "normalizer is Prepend"),
        (
            "wordpiece",
            "/normalizer",
            sequence("normalizers", &json!({"type": "NFC"}), 9),
            "more than 8 parts",
        ),
        ("wordpiece", "/normalizer", deep, "more than 8 parts"),
        (
            "bpe",
            "/pre_tokenizer",
            sequence("pretokenizers", &bytes, 2),
            "more than one part that lengthens the text, such as ByteLevel",
        ),
        (
            "bpe",
            "/pre_tokenizer",
            json!({"type": "FixedLength", "length": 0}),
            "pre_tokenizer is FixedLength",
        ),
        (
            "wordpiece",
            "/post_processor",
            sequence("processors", &template, 40),
            "more than one part that lengthens the text",
        ),
        ("wordpiece", "/post_processor/single", json!([special("[CLS]"), text, text]), "keep the text, once"),
        ("wordpiece", "/post_processor/single", json!([special("[CLS]")]), "keep the text, once"),
        ("wordpiece", "/post_processor/special_tokens", json!({}), "fails on an empty text"),
        ("wordpiece", "/model/max_input_chars_per_word", json!(1 << 30), "At most 256 is supported"),
        ("wordpiece", "/model/continuing_subword_prefix", json!("#".repeat(65)), "At most 64 are supported"),
        ("bpe", "/model/end_of_word_suffix", json!("#".repeat(65)), "At most 64 are supported"),
        ("bpe", "/model/dropout", json!(0.5), "dropout is 0.5"),
        (
            "wordpiece",
            "/model",
            json!({"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"}),
            "model is WordLevel",
        ),
        ("unigram", "/version", json!("1.0"), "is Metaspace"),
        ("unigram", "/pre_tokenizer", Value::Null, "model is Unigram"),
        ("wordpiece", "/version", json!("2.0"), "version \"2.0\""),
        (
            "added",
            "/added_tokens/1/id",
            json!(9999),
            "has id 9999, but its position in the file leads to id 10",
        ),
        ("added", "/added_tokens/2/id", json!(4), "has id 4, but its position in the file leads to id 5"),
    ];
    for (seed, pointer, value, says) in cases {
        let error = read(with(seed, &[(pointer, value)]).as_bytes()).expect_err(says);
        assert_eq!(error.code(), ErrorCode::TokenizerInvalid, "{error}");
        assert!(error.to_string().contains(says), "{error} does not say {says:?}");
    }
}

#[test]
fn a_panic_of_the_tokenizer_library_becomes_the_cause_of_an_error() {
    let file = with("wordpiece", &[("/post_processor/special_tokens", json!({}))]);
    let chain = read(file.as_bytes()).expect_err("refused").chain();
    assert!(chain.last().expect("a cause").contains("The tokenizer library panicked"), "{chain:?}");
}

#[test]
fn valid_wordpiece_and_bpe_tokenizers_are_read() {
    for seed in ["wordpiece", "bpe", "parts", "roberta", "added"] {
        let tokenizer = read(with(seed, &[]).as_bytes()).expect(seed);
        let (mut ids, mut offsets) = (Vec::new(), Vec::new());
        let count = tokenizer.encode(0, "a b", LongText::Truncate, &mut ids, Some(&mut offsets)).expect(seed);
        assert!(
            count.kept == ids.len() && ids.len() == offsets.len() && !ids.is_empty(),
            "{seed}: {count:?}"
        );
    }
}
