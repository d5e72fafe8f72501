//! Tokenizes arbitrary bytes as a text. The first byte chooses the tokenizer and its limit.
#![no_main]
#![allow(clippy::expect_used)]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use stella_core::ErrorCode;
use stella_core::files::folder::ModelFolder;
use stella_core::files::pooling_config::PoolingMode;
use stella_core::text::condense::Sources;
use stella_core::text::text_settings::{TextSettings, TokenLimit};
use stella_core::text::tokenizer::{LongText, Tokenizer, Truncation};
use stella_fuzz::{check_count, fixture};

/// The fixtures, with the rows of their embedding tables.
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
        .expect("every text can be truncated");
    check_count(count, text, &ids, &places, limit, *vocabulary);
    assert!(count.truncation != Truncation::Bytes || text.len() > tokenizer.max_bytes());

    // Without places, other code of the tokenizer must produce the same ids.
    let mut same = Vec::new();
    assert_eq!(tokenizer.encode(0, text, LongText::Truncate, &mut same, None).expect("again"), count);
    assert_eq!(ids, same);

    // The condensed text has the same ids. A larger limit keeps them and adds more; both results end with a special token.
    let (mut short, mut more) = (Vec::new(), Vec::new());
    let condensed = tokenizer.condense(text, Sources::Omit).text;
    let found = tokenizer.encode(0, condensed.as_str(), LongText::Truncate, &mut short, None);
    assert_eq!((found.expect("condensed"), &short), (count, &ids));
    let (largest, _) = &TOKENIZERS[choice - choice % LIMITS.len() + LIMITS.len() - 1];
    largest.encode(0, text, LongText::Truncate, &mut more, None).expect("with a larger limit");
    assert!(more.starts_with(&ids[..count.kept - 1]), "{ids:?} {more:?}");

    let mut refused = Vec::new();
    match tokenizer.encode(0, text, LongText::Error, &mut refused, None) {
        Ok(whole) => assert!(count.truncation == Truncation::None && whole == count && refused == ids),
        Err(error) => {
            assert!(count.truncation != Truncation::None && error.code() == ErrorCode::TextTooLong, "{error}")
        }
    }
});
