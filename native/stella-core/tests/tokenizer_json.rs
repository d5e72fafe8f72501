//! Files of a tokenizer that would cost the process its memory, its time or its life, and what they get instead.
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

/// The seeds of the fuzz target, small good tokenizers of both kinds among them.
fn seeds() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/tokenizer_json")
}

fn read(bytes: &[u8]) -> Result<Tokenizer> {
    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join(TOKENIZER_FILE), bytes).expect("written");
    let folder = ModelFolder::open(dir.path(), None).expect("opens");
    Tokenizer::read(&folder, 64, &TokenLimit::asked(16), &TextSettings::read(&folder)?, PoolingMode::Mean)
}

/// A good tokenizer with some of its parts replaced.
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
fn parts_that_a_text_grows_in_or_that_a_file_can_break_are_refused_by_name() {
    let replace = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    // The library looks at the fields when it does not like the type.
    let disguised = json!({"type": "BertNormalizer", "pattern": {"String": "a"}, "content": "aa"});
    // Four gigabytes for a trie of which no byte is there.
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
        ("bpe", "/pre_tokenizer", sequence("pretokenizers", &bytes, 2), "ByteLevel after one of its kind"),
        (
            "bpe",
            "/pre_tokenizer",
            json!({"type": "FixedLength", "length": 0}),
            "pre_tokenizer is FixedLength",
        ),
        ("wordpiece", "/post_processor", sequence("processors", &template, 40), "after one of its kind"),
        ("wordpiece", "/post_processor/single", json!([special("[CLS]"), text, text]), "keep the text, once"),
        ("wordpiece", "/post_processor/single", json!([special("[CLS]")]), "keep the text, once"),
        ("wordpiece", "/post_processor/special_tokens", json!({}), "fails on an empty text"),
        ("wordpiece", "/model/max_input_chars_per_word", json!(1 << 30), "at most 256 is supported"),
        ("wordpiece", "/model/continuing_subword_prefix", json!("#".repeat(65)), "at most 64 are supported"),
        ("bpe", "/model/end_of_word_suffix", json!("#".repeat(65)), "at most 64 are supported"),
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
        ("added", "/added_tokens/1/id", json!(9999), "has id 9999, but by its place it has 10"),
        ("added", "/added_tokens/2/id", json!(4), "has id 4, but by its place it has 5"),
    ];
    for (seed, pointer, value, says) in cases {
        let error = read(with(seed, &[(pointer, value)]).as_bytes()).expect_err(says);
        assert_eq!(error.code(), ErrorCode::TokenizerInvalid, "{error}");
        assert!(error.to_string().contains(says), "{error} does not say {says:?}");
    }
}

#[test]
fn a_panic_of_the_library_is_a_cause_and_not_the_end() {
    let file = with("wordpiece", &[("/post_processor/special_tokens", json!({}))]);
    let chain = read(file.as_bytes()).expect_err("refused").chain();
    assert!(chain.last().expect("a cause").contains("the tokenizer library panicked"), "{chain:?}");
}

#[test]
fn what_stella_has_and_what_is_like_it_is_read() {
    for seed in ["wordpiece", "bpe", "parts", "roberta", "added"] {
        let tokenizer = read(with(seed, &[]).as_bytes()).expect(seed);
        let (mut ids, mut places) = (Vec::new(), Vec::new());
        let count = tokenizer.encode(0, "a b", LongText::Truncate, &mut ids, Some(&mut places)).expect(seed);
        assert!(count.kept == ids.len() && ids.len() == places.len() && !ids.is_empty(), "{seed}: {count:?}");
    }
}
