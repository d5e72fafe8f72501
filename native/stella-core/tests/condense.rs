//! A long text is shortened without a change of its tokens, and those behind the gaps are found.
#![allow(clippy::expect_used, clippy::panic)]

mod common;

use std::sync::LazyLock;

use common::{TEXT_PARTS, edited_tokenizer, fixture, read_tokenizer};
use proptest::prelude::*;
use serde_json::json;
use stella_core::files::folder::ModelFolder;
use stella_core::text::condense::Beginning;
use stella_core::text::tokenizer::{Cut, LongText, Prompted, TokenCount, Tokenizer};

/// Letters of a word that is looked up.
const LONGEST_WORD: usize = 100;

/// With each step of BERT's normalizer on and off.
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

/// Tokens, where they come from, and what cut them.
type Tokens = (Vec<u32>, Vec<(usize, usize)>, TokenCount);

fn tokens(tokenizer: &Tokenizer, text: Prompted<'_>) -> Tokens {
    let (mut ids, mut places, mut same) = (Vec::new(), Vec::new(), Vec::new());
    let count = tokenizer.encode(0, text, LongText::Truncate, &mut ids, Some(&mut places)).expect("tokens");
    let again = tokenizer.encode(0, text, LongText::Truncate, &mut same, None).expect("tokens");
    assert_eq!((count, &ids), (again, &same), "with places and without");
    (ids, places, count)
}

/// Checks that a shortened text has the tokens of the whole, each from its place.
fn check(tokenizer: &Tokenizer, text: &str) -> Beginning {
    let found = tokenizer.condense(text, true);
    let (ids, places, _) = tokens(tokenizer, text.into());
    let (same, moved, _) = tokens(tokenizer, found.text.as_str().into());
    assert_eq!(ids, same, "{text:?} as {:?}", found.text);
    // Of marks that change places, the library gives the token of one the place of the other.
    if text.contains(['\u{1d16d}', '\u{1d165}', '\u{302e}']) {
        return found;
    }
    for (place, moved) in places.into_iter().zip(moved) {
        let back = (found.sources[moved.0], found.sources[moved.1]);
        // To a word that is cut belongs what is dropped at its end.
        let more = text.get(place.1..back.1).expect("not less than the word");
        let leaves_none =
            more.is_empty() || tokens(tokenizer, more.into()).0.len() == tokenizer.frame_tokens();
        assert!(back.0 == place.0 && leaves_none, "{text:?}: {place:?} as {back:?}");
    }
    found
}

/// Texts with runs of characters that may be left out, and with others that must stay.
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
    fn a_shortened_text_has_the_tokens_of_the_whole(text in texts()) {
        for tokenizer in &*TOKENIZERS {
            check(tokenizer, &text);
        }
    }

    #[test]
    fn a_text_can_be_shortened_part_by_part(text in texts(), more in texts()) {
        for tokenizer in &*TOKENIZERS {
            let first = tokenizer.condense(&text, false).text;
            let both = tokenizer.condense(&format!("{first}{more}"), false);
            prop_assert_eq!(both, tokenizer.condense(&format!("{text}{more}"), false));
        }
    }
}

/// In a word, at its end, behind one that is too long, and twice.
#[test]
fn every_character_of_the_planes_in_use_may_stand_anywhere() {
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
        assert_eq!(ids(&tokenizer.condense(&text, false).text), ids(&text), "{some:?}");
    }
}

/// Texts of which a limit on bytes alone would leave nothing.
#[test]
fn what_leaves_no_token_does_not_use_up_the_limit() {
    let tokenizer = edited_tokenizer(&[], 16);
    let (alone, alone_places, _) = tokens(&tokenizer, "a river".into());
    let own = |place: (usize, usize)| &"a river"[place.0..place.1];
    let long = |part: &str| part.repeat(10 * tokenizer.max_bytes() / part.len());
    for filler in
        [" ", "\t\n", "\u{3000} ", "\u{200b}", "\0", " \u{200b}\u{200b} ", "\u{301}", "\u{e31}\u{301}"]
    {
        let filler = long(filler);
        for prompt in ["", "a ", "a"] {
            let text = format!("{filler}{} river", if prompt.is_empty() { " a" } else { "" });
            let text = Prompted { prompt, text: &text };
            let (ids, places, count) = tokens(&tokenizer, text);
            assert_eq!((&ids, count.cut), (&alone, Cut::None), "{:?} {prompt:?}", &filler[..4]);
            let whole = format!("{prompt}{}", text.text);
            for (place, &of_alone) in places.into_iter().zip(&alone_places) {
                assert!(whole[place.0..place.1].starts_with(own(of_alone)), "{prompt:?} {place:?}");
            }
        }
    }
    // Of three such words two are looked at by their bytes, and all by their tokens.
    for letter in ["x", "é", "ก", "𝒳", "x\u{200b}", "𝒳\u{e31}\u{301}"] {
        let word = letter.repeat(tokenizer.max_bytes());
        let text = format!("{word} {word} {word} river");
        let (ids, places, count) = tokens(&tokenizer, text.as_str().into());
        assert_eq!((ids[4..].to_vec(), count.cut), (alone[2..].to_vec(), Cut::None), "{letter:?}");
        assert_eq!(ids[1..4], [ids[1]; 3]);
        assert_eq!(
            places[1..5].iter().map(|&(begin, _)| begin).collect::<Vec<_>>(),
            [0, 1, 2, 3].map(|n| n * (word.len() + 1))
        );
        assert!(places[1].1 >= word.len() - letter.len(), "the word ends where it ends");
        let many = format!("{} ", letter.repeat(LONGEST_WORD + 1)).repeat(300);
        assert_eq!(tokens(&tokenizer, many.as_str().into()).2.cut, Cut::Bytes);
    }
}

/// A text that is cut gives as many tokens as the model takes, whatever it is made of.
#[test]
fn a_text_that_is_cut_by_bytes_has_all_tokens_that_the_model_takes() {
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

/// They are found before anything is dropped: among letters, or around as many letters as a word keeps.
#[test]
fn tokens_beside_the_vocabulary_are_neither_lost_nor_made() {
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

/// A mark without a class of its own keeps the marks around it apart, which a normalizer would otherwise bring into order.
#[test]
fn of_what_is_dropped_stays_what_holds_others_apart() {
    let condensed = |text: &str| TOKENIZERS[0].condense(text, false).text;
    for (text, short) in [
        ("a\u{1d16d}\u{301}\u{e31}\u{1d165}", "a\u{1d16d}\u{301}\u{e31}\u{1d165}"),
        ("a\u{301}\u{e31}\u{301}\u{e31}\u{e31}\u{200b}b", "a\u{301}\u{e31}b"),
        ("a\u{200b}\u{301}\0b", "a\u{200b}b"),
        ("a \u{e31}\u{301}\u{3000}\tb", "a b"),
    ] {
        assert_eq!(condensed(text), short);
    }
}

/// Its tokens hold every byte, so that a limit is enough that no token exceeds.
#[test]
fn the_limit_of_a_tokenizer_that_drops_nothing_is_that_of_its_longest_token() {
    let folder = ModelFolder::open(&fixture("tiny-qwen2"), None).expect("opens");
    let tokenizer = read_tokenizer(&folder, 1216, 16);
    let text = " ".repeat(3 * tokenizer.max_bytes());
    let (ids, _, count) = tokens(&tokenizer, text.as_str().into());
    assert_eq!((ids.len(), count.cut), (16, Cut::Bytes));
    let found = tokenizer.condense(&text, true);
    assert!(found.goes_on && text.starts_with(&found.text) && found.text.len() > tokenizer.max_bytes());
    assert_eq!(found.sources, (0..=found.text.len()).collect::<Vec<_>>());
}
