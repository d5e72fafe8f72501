//! Any bytes are a text for the tokenizers of the fixtures. The first byte chooses tokenizer, limit and policy.
#![no_main]
#![allow(clippy::expect_used)]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stella_core::ErrorCode;
use stella_core::files::folder::ModelFolder;
use stella_core::files::pooling_config::PoolingMode;
use stella_core::text::text_settings::{TextSettings, TokenLimit};
use stella_core::text::tokenizer::{LongText, Tokenizer, Truncation};
use stella_fuzz::{check_count, fixture};

/// Fixtures with the rows of their embedding tables.
const MODELS: [(&str, usize); 2] = [("tiny-new", 1216), ("tiny-qwen2", 816)];
const LIMITS: [usize; 4] = [2, 3, 16, 512];

static TOKENIZERS: LazyLock<Vec<(Tokenizer, usize)>> = LazyLock::new(|| {
    let read = |(name, vocabulary), limit| {
        let folder = ModelFolder::open(&fixture(name), None).expect("a folder");
        let settings = TextSettings::read(&folder).expect("settings");
        let tokenizer =
            Tokenizer::read(&folder, vocabulary, &TokenLimit::asked(limit), &settings, PoolingMode::Mean);
        (tokenizer.expect("a tokenizer"), vocabulary)
    };
    MODELS.into_iter().flat_map(|model| LIMITS.map(|limit| read(model, limit))).collect()
});

fuzz_target!(|data: &[u8]| {
    let Some((&choice, bytes)) = data.split_first() else { return };
    let text = &*String::from_utf8_lossy(bytes);
    let choice = choice as usize % TOKENIZERS.len();
    let (tokenizer, vocabulary) = &TOKENIZERS[choice];
    let limit = tokenizer.max_tokens();

    let (mut ids, mut places) = (Vec::new(), Vec::new());
    let count = tokenizer
        .encode(0, text, LongText::Truncate, &mut ids, Some(&mut places))
        .expect("every text can be cut");
    check_count(count, text, &ids, &places, limit, *vocabulary);
    assert!(count.truncation != Truncation::Bytes || text.len() > tokenizer.max_bytes());

    // Asked without places, the tokenizer takes another way to the same ids.
    let mut same = Vec::new();
    assert_eq!(tokenizer.encode(0, text, LongText::Truncate, &mut same, None).expect("again"), count);
    assert_eq!(ids, same);

    // Shortened, it has the same ids; with room for more, it has the same ids and more. Both texts end with one special token.
    let (mut shortened, mut more) = (Vec::new(), Vec::new());
    let condensed = tokenizer.condense(text, false).text;
    let found = tokenizer.encode(0, condensed.as_str(), LongText::Truncate, &mut shortened, None);
    assert_eq!((found.expect("shortened"), &shortened), (count, &ids));
    let (largest, _) = &TOKENIZERS[choice - choice % LIMITS.len() + LIMITS.len() - 1];
    largest.encode(0, text, LongText::Truncate, &mut more, None).expect("with more room");
    assert!(more.starts_with(&ids[..count.kept - 1]), "{ids:?} {more:?}");

    let mut refused = Vec::new();
    match tokenizer.encode(0, text, LongText::Error, &mut refused, None) {
        Ok(whole) => assert!(count.truncation == Truncation::None && whole == count && refused == ids),
        Err(error) => {
            assert!(count.truncation != Truncation::None && error.code() == ErrorCode::TextTooLong, "{error}")
        }
    }
});
