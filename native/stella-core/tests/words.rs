//! Ids by way of the known words are those that the tokenizer library gives for the whole text.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::path::Path;
use std::sync::LazyLock;

use common::{TEXT_PARTS, edited_tokenizer, read_tokenizer};
use proptest::prelude::*;
use serde_json::{Value, json};
use stella_core::files::folder::ModelFolder;
use stella_core::text::tokenizer::{LongText, Tokenizer};

/// As it is; with steps of the normalizer off; with tokens that look at what stands beside them, or in which a text
/// would be cut.
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
        // Normalised, the Greek question mark is a semicolon.
        added("e\u{37e}x", false, true),
    ]
});

fn check(tokenizer: &Tokenizer, text: &str) {
    let (mut ids, mut places) = (Vec::new(), Vec::new());
    let count =
        tokenizer.encode(0, text, LongText::Truncate, &mut ids, Some(&mut places)).expect("with places");
    // Twice: the words are new, and then they are known.
    for _ in 0..2 {
        let mut same = Vec::new();
        let again = tokenizer.encode(0, text, LongText::Truncate, &mut same, None).expect("without");
        assert_eq!((again, &same), (count, &ids), "{text:?}");
    }
}

proptest! {
    #[test]
    fn known_words_have_the_ids_that_the_whole_text_has(
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
fn no_token_of_the_file_is_cut_in_two() {
    for text in
        ["a_river", "river-river", "a. _b", "e;x", "[CLS]", "a[MASK]b", "x\u{c}y", "x\u{b}y ,\u{301}z"]
    {
        TOKENIZERS.iter().for_each(|tokenizer| check(tokenizer, text));
    }
}

#[test]
fn every_golden_text_has_its_ids_when_its_words_are_new_and_when_they_are_known() {
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
fn more_words_than_are_kept_and_words_of_any_length_keep_their_ids() {
    let tokenizer = &TOKENIZERS[0];
    for start in [0, 20_000, 0] {
        let text: Vec<String> = (start..start + 20_000).map(|i| format!("{i}")).collect();
        check(tokenizer, &text.join(" "));
    }
    for length in [31, 32, 33, 99, 100, 101] {
        check(tokenizer, &"a".repeat(length));
    }
}
