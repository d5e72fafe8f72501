//! Tests that a condensed text has the tokens of the original, with their offsets in the original.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::sync::LazyLock;

use common::{TEXT_PARTS, edited_tokenizer, fixture, read_tokenizer};
use proptest::prelude::*;
use serde_json::json;
use stella_core::files::folder::ModelFolder;
use stella_core::text::condense::{CondensedText, Sources};
use stella_core::text::tokenizer::{LongText, Prompted, TokenCount, Tokenizer, Truncation};

/// Maximum number of letters of a word that the tokenizer looks up.
const LONGEST_WORD: usize = 100;

/// BERT tokenizers, with different steps of the normalizer switched off.
static TOKENIZERS: LazyLock<Vec<Tokenizer>> = LazyLock::new(|| {
    let off =
        [&[][..], &["clean_text"], &["handle_chinese_chars"], &["lowercase"], &["clean_text", "lowercase"]];
    off.iter()
        .map(|names| {
            let edits: Vec<_> =
                names.iter().map(|name| (format!("/normalizer/{name}"), json!(false))).collect();
            let edits: Vec<_> = edits.iter().map(|(pointer, off)| (pointer.as_str(), off.clone())).collect();
            edited_tokenizer(&edits, 8192)
        })
        .collect()
});

/// The ids, the offsets and the token count of a text.
type Tokens = (Vec<u32>, Vec<(usize, usize)>, TokenCount);

fn tokens(tokenizer: &Tokenizer, text: Prompted<'_>) -> Tokens {
    let (mut ids, mut offsets, mut same) = (Vec::new(), Vec::new(), Vec::new());
    let count = tokenizer.encode(0, text, LongText::Truncate, &mut ids, Some(&mut offsets)).expect("tokens");
    let again = tokenizer.encode(0, text, LongText::Truncate, &mut same, None).expect("tokens");
    assert_eq!((count, &ids), (again, &same), "with and without offsets");
    (ids, offsets, count)
}

/// Checks that a condensed text has the tokens of the original, and that their offsets map back to the original.
fn check(tokenizer: &Tokenizer, text: &str) -> CondensedText {
    let found = tokenizer.condense(text, Sources::Record);
    let (ids, offsets, _) = tokens(tokenizer, text.into());
    let (same, condensed_offsets, _) = tokens(tokenizer, found.text.as_str().into());
    assert_eq!(ids, same, "{text:?} condensed to {:?}", found.text);
    // The tokenizer library swaps the offsets of combining marks that the normalizer reorders.
    if text.contains(['\u{1d16d}', '\u{1d165}', '\u{302e}']) {
        return found;
    }
    for (expected, condensed) in offsets.into_iter().zip(condensed_offsets) {
        let mapped = (found.sources[condensed.0], found.sources[condensed.1]);
        // The range of a word may extend over dropped characters at its end.
        let excess = text.get(expected.1..mapped.1).expect("at least the word");
        let has_no_token =
            excess.is_empty() || tokens(tokenizer, excess.into()).0.len() == tokenizer.special_tokens();
        assert!(mapped.0 == expected.0 && has_no_token, "{text:?}: {expected:?} mapped to {mapped:?}");
    }
    found
}

/// Generates texts with runs of characters that condensing leaves out, and with characters that it must keep.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        8 => proptest::sample::select(&TEXT_PARTS[..]).prop_map(str::to_owned),
        1 => ".{1,3}",
        2 => proptest::sample::select(&["\u{e31}", "\u{1d16d}", "\u{1d165}", "\u{302e}", "\u{2260}", "\u{1fef}", "\u{e000}", "[C\u{200b}LS]", "\u{85}"][..]).prop_map(str::to_owned),
        3 => (proptest::sample::select(&["x", "é", "ก", "𝒳", "İ"][..]), 95..110usize).prop_map(|(letter, n)| letter.repeat(n)),
    ];
    proptest::collection::vec((part, prop_oneof![3 => Just(1), 1 => 2..4usize]), 0..30)
        .prop_map(|parts| parts.into_iter().map(|(part, n)| part.repeat(n)).collect())
}

proptest! {
    #[test]
    fn a_condensed_text_has_the_tokens_of_the_original(text in texts()) {
        for tokenizer in &*TOKENIZERS {
            check(tokenizer, &text);
        }
    }

    #[test]
    fn condensing_part_by_part_equals_condensing_at_once(text in texts(), more in texts()) {
        for tokenizer in &*TOKENIZERS {
            let first = tokenizer.condense(&text, Sources::Omit).text;
            let both = tokenizer.condense(&format!("{first}{more}"), Sources::Omit);
            prop_assert_eq!(both, tokenizer.condense(&format!("{text}{more}"), Sources::Omit));
        }
    }
}

/// The positions are: inside a word, at its end, after a word that is too long, and repeated.
#[test]
fn condensing_keeps_the_tokens_for_every_character_of_the_first_two_planes_in_any_position() {
    let tokenizer = edited_tokenizer(&[("/model/max_input_chars_per_word", json!(6))], 8192);
    let ids = |text: &str| {
        let mut ids = Vec::new();
        tokenizer.encode(0, text, LongText::Truncate, &mut ids, None).expect("tokens");
        ids
    };
    let characters: Vec<char> = ('\0'..'\u{20000}').collect();
    for some in characters.chunks(16) {
        let text: String =
            some.iter().map(|c| format!("a{c}a b{c}{c} seven77{c}q sixsix{c}[C{c}LS]")).collect();
        assert_eq!(ids(&tokenizer.condense(&text, Sources::Omit).text), ids(&text), "{some:?}");
    }
}

/// A byte limit that counts every character would leave no word of these texts.
#[test]
fn characters_without_a_token_do_not_count_towards_the_byte_limit() {
    let tokenizer = edited_tokenizer(&[], 16);
    let (expected, expected_offsets, _) = tokens(&tokenizer, "a river".into());
    let word_at = |range: (usize, usize)| &"a river"[range.0..range.1];
    let long = |part: &str| part.repeat(10 * tokenizer.max_bytes() / part.len());
    for filler in
        [" ", "\t\n", "\u{3000} ", "\u{200b}", "\0", " \u{200b}\u{200b} ", "\u{301}", "\u{e31}\u{301}"]
    {
        let filler = long(filler);
        for prompt in ["", "a ", "a"] {
            let text = format!("{filler}{} river", if prompt.is_empty() { " a" } else { "" });
            let text = Prompted { prompt, text: &text };
            let (ids, offsets, count) = tokens(&tokenizer, text);
            assert_eq!(
                (&ids, count.truncation),
                (&expected, Truncation::None),
                "{:?} {prompt:?}",
                &filler[..4]
            );
            let whole = format!("{prompt}{}", text.text);
            for (range, &expected) in offsets.into_iter().zip(&expected_offsets) {
                assert!(whole[range.0..range.1].starts_with(word_at(expected)), "{prompt:?} {range:?}");
            }
        }
    }
    // Each word alone reaches the byte limit, but all three words and the last one get their tokens.
    for letter in ["x", "é", "ก", "𝒳", "x\u{200b}", "𝒳\u{e31}\u{301}"] {
        let word = letter.repeat(tokenizer.max_bytes());
        let text = format!("{word} {word} {word} river");
        let (ids, offsets, count) = tokens(&tokenizer, text.as_str().into());
        assert_eq!(
            (ids[4..].to_vec(), count.truncation),
            (expected[2..].to_vec(), Truncation::None),
            "{letter:?}"
        );
        assert_eq!(ids[1..4], [ids[1]; 3]);
        assert_eq!(
            offsets[1..5].iter().map(|&(begin, _)| begin).collect::<Vec<_>>(),
            [0, 1, 2, 3].map(|n| n * (word.len() + 1))
        );
        assert!(offsets[1].1 >= word.len() - letter.len(), "the range covers the whole word");
        let many = format!("{} ", letter.repeat(LONGEST_WORD + 1)).repeat(300);
        assert_eq!(tokens(&tokenizer, many.as_str().into()).2.truncation, Truncation::Bytes);
    }
}

#[test]
fn a_text_beyond_the_byte_limit_still_fills_the_token_limit() {
    for max_tokens in [3, 16] {
        let tokenizer = edited_tokenizer(&[], max_tokens);
        for part in [
            "x",
            "é ",
            "ก",
            "𝒳",
            "𝒳\u{e31}\u{301}\u{3000}",
            "𝒳\u{200b}\u{e31}",
            "\u{200b}.",
            "[SEP]",
            "中",
            "\u{2260}",
            "[C\u{200b}LS]",
        ] {
            for length in [1, 50, LONGEST_WORD, LONGEST_WORD + 1] {
                let text = format!("{}\u{3000}", part.repeat(length)).repeat(64 * max_tokens);
                let (ids, _, count) = tokens(&tokenizer, text.as_str().into());
                assert_eq!(ids.len(), max_tokens, "{part:?} {length}: {count:?}");
            }
        }
    }
}

/// The tokenizer finds added tokens before it drops a character. One of these tokens occurs inside a word, and the other one
/// surrounds as many letters as condensing keeps of a word.
#[test]
fn condensing_neither_destroys_nor_creates_added_tokens() {
    let (word, longer) = ("x".repeat(LONGEST_WORD + 1), "x".repeat(3 * LONGEST_WORD));
    for content in ["madeup", &format!("[{word}]")] {
        let added = json!([{"id": 1200, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                            "normalized": false, "special": true}]);
        let tokenizer = edited_tokenizer(&[("/added_tokens", added)], 8192);
        let text = format!("{longer}madeup [{longer}] [{word}]");
        assert!(tokens(&tokenizer, text.as_str().into()).0.contains(&1200), "{content} is found");
        check(&tokenizer, &text);
    }
}

/// A dropped character of combining class 0 keeps the normalizer from reordering the marks before and after it.
#[test]
fn dropped_characters_that_separate_combining_marks_are_kept() {
    let condensed = |text: &str| TOKENIZERS[0].condense(text, Sources::Omit).text;
    for (text, short) in [
        ("a\u{1d16d}\u{301}\u{e31}\u{1d165}", "a\u{1d16d}\u{301}\u{e31}\u{1d165}"),
        ("a\u{301}\u{e31}\u{301}\u{e31}\u{e31}\u{200b}b", "a\u{301}\u{e31}b"),
        ("a\u{200b}\u{301}\0b", "a\u{200b}b"),
        ("a \u{e31}\u{301}\u{3000}\tb", "a b"),
    ] {
        assert_eq!(condensed(text), short);
    }
}

/// Every byte of a text is part of a token, so the byte limit follows from the longest token.
#[test]
fn a_byte_level_tokenizer_condenses_nothing_and_stops_after_the_byte_limit() {
    let folder = ModelFolder::open(&fixture("tiny-qwen2"), None).expect("opens");
    let tokenizer = read_tokenizer(&folder, 1216, 16);
    let text = " ".repeat(3 * tokenizer.max_bytes());
    let (ids, _, count) = tokens(&tokenizer, text.as_str().into());
    assert_eq!((ids.len(), count.truncation), (16, Truncation::Bytes));
    let found = tokenizer.condense(&text, Sources::Record);
    assert!(found.has_more && text.starts_with(&found.text) && found.text.len() > tokenizer.max_bytes());
    assert_eq!(found.sources, (0..=found.text.len()).collect::<Vec<_>>());
}
