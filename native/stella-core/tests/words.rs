//! Tests that the word cache leads to the same ids as the tokenizer library does for the whole text.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;
use std::sync::LazyLock;

use common::{TEXT_PARTS, edited_tokenizer, read_tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};
use stella_core::files::folder::ModelFolder;
use stella_core::text::tokenizer::{LongText, Tokenizer};

/// BERT tokenizers: unchanged, with steps of the normalizer switched off, with added tokens that depend on their neighbors,
/// and with added tokens that the cache would split.
static TOKENIZERS: LazyLock<[Tokenizer; 6]> = LazyLock::new(|| {
    let off = |names: &[&str]| {
        let edits: Vec<_> = names.iter().map(|name| (format!("/normalizer/{name}"), json!(false))).collect();
        edited_tokenizer(
            &edits.iter().map(|(pointer, off)| (pointer.as_str(), off.clone())).collect::<Vec<_>>(),
            512,
        )
    };
    let added = |content: &str, single_word: bool, normalized: bool| {
        let token = json!({"id": 1200, "content": content, "single_word": single_word, "lstrip": false,
                           "rstrip": true, "normalized": normalized, "special": !normalized});
        edited_tokenizer(&[("/added_tokens", json!([token]))], 512)
    };
    [
        off(&[]),
        off(&["clean_text", "handle_chinese_chars"]),
        off(&["handle_chinese_chars", "lowercase"]),
        added("river", true, false),
        added(". _", false, false),
        // The normalizer turns the Greek question mark into a semicolon.
        added("e\u{37e}x", false, true),
    ]
});

fn check(tokenizer: &Tokenizer, text: &str) {
    let (mut ids, mut offsets) = (Vec::new(), Vec::new());
    let count =
        tokenizer.encode(0, text, LongText::Truncate, &mut ids, Some(&mut offsets)).expect("with offsets");
    // The second run finds its words in the cache.
    for _ in 0..2 {
        let mut same = Vec::new();
        let again = tokenizer.encode(0, text, LongText::Truncate, &mut same, None).expect("without");
        assert_eq!((again, &same), (count, &ids), "{text:?}");
    }
}

proptest! {
    #[test]
    fn cached_words_have_the_ids_of_the_whole_text(
        parts in proptest::collection::vec(
            prop_oneof![4 => proptest::sample::select(&TEXT_PARTS[..]).prop_map(str::to_owned), 1 => ".{1,3}"],
            0..40,
        ),
    ) {
        for tokenizer in &*TOKENIZERS {
            check(tokenizer, &parts.concat());
        }
    }
}

#[test]
fn the_cache_does_not_split_an_added_token() {
    for text in
        ["a_river", "river-river", "a. _b", "e;x", "[CLS]", "a[MASK]b", "x\u{c}y", "x\u{b}y ,\u{301}z"]
    {
        TOKENIZERS.iter().for_each(|tokenizer| check(tokenizer, text));
    }
}

#[test]
fn golden_texts_have_their_ids_with_an_empty_and_a_filled_cache() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = ModelFolder::open(&root.join("src/StellaInterop.Models.Mini/model"), None).expect("opens");
    let tokenizer = read_tokenizer(&folder, 30528, 8192);
    let bytes =
        std::fs::read(root.join("tests/fixtures/golden/tokenizer-bert.json")).expect("the golden file");
    let golden: Value = serde_json::from_slice(&bytes).expect("JSON");
    let cases = golden["cases"].as_array().expect("cases");
    assert_eq!(cases.len(), 100);
    for case in cases.iter().chain(cases) {
        let mut ids = Vec::new();
        let text = case["text"].as_str().expect("text");
        tokenizer.encode(0, text, LongText::Truncate, &mut ids, None).expect("ids");
        assert_eq!(json!(ids), case["token_ids"], "{}", case["name"]);
    }
}

#[test]
fn ids_are_right_after_the_cache_was_cleared_and_for_words_of_any_length() {
    let tokenizer = &TOKENIZERS[0];
    for start in [0, 20_000, 0] {
        let text: Vec<String> = (start..start + 20_000).map(|i| format!("{i}")).collect();
        check(tokenizer, &text.join(" "));
    }
    for length in [31, 32, 33, 99, 100, 101] {
        check(tokenizer, &"a".repeat(length));
    }
}
