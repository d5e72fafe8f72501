//! The word cache: the token ids of words that were tokenized before.
//!
//! The `tokenizers` crate takes some microseconds for a word, mostly for alignments between the text and its normalized
//! form. With a small model this is a tenth of the time of a call, and words repeat.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{PoisonError, RwLock, TryLockError};

use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use crate::base::error::Cause;

/// Maximum number of cached words: the capacity of a hash table with 16,384 slots. A full cache is cleared, and frequent
/// words soon return. The words and their ids take about a megabyte.
const MAX_WORDS: usize = 14_336;
/// Maximum length of a cached word in bytes.
const MAX_WORD_BYTES: usize = 32;

/// Splits a text into words whose ids do not depend on the text around them, and caches the ids of these words.
#[derive(Debug)]
pub(crate) struct WordCache {
    /// Whether a byte is a word by itself, by the value of the byte.
    is_word: [bool; 256],
    entries: RwLock<Entries>,
}

/// The cached words and their ids.
#[derive(Debug, Default)]
struct Entries {
    /// The range in `ids` of each word.
    ranges: HashMap<Box<str>, Range<usize>>,
    ids: Vec<u32>,
}

impl WordCache {
    /// Creates a cache for a BERT tokenizer, which handles characters one by one until it splits the text at whitespace and
    /// punctuation. Returns `None` for any other tokenizer, because its text cannot be split safely.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let splits = matches!(tokenizer.get_normalizer(), None | Some(NormalizerWrapper::BertNormalizer(_)))
            && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)))
            && matches!(tokenizer.get_model(), ModelWrapper::WordPiece(_));
        let mut is_word: [bool; 256] = std::array::from_fn(|byte| (byte as u8).is_ascii_punctuation());
        for token in tokenizer.get_added_tokens_decoder().into_values() {
            // The tokenizer finds added tokens before it splits the text. So the cache must not split an added token, and no
            // added token may depend on its neighbors.
            if token.normalized || token.single_word || token.content.bytes().any(is_whitespace) {
                return None;
            }
            token.content.bytes().for_each(|byte| is_word[usize::from(byte)] = false);
        }
        splits.then(|| Self { is_word, entries: RwLock::default() })
    }

    /// Appends the ids of `text` to `ids`. Calls `encode` for each word that is not in the cache.
    ///
    /// # Errors
    /// The error of `encode`; `ids` then holds the ids of the words before.
    pub(crate) fn encode(
        &self,
        text: &str,
        ids: &mut Vec<u32>,
        mut encode: impl FnMut(&str, &mut Vec<u32>) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        let mut new = Vec::new();
        {
            // A panic under the lock leaves at most ids that no word refers to, which is harmless.
            let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
            for word in self.words(text) {
                if let Some(range) = entries.ranges.get(word) {
                    ids.extend_from_slice(&entries.ids[range.clone()]);
                    continue;
                }
                let begin = ids.len();
                encode(word, ids)?;
                if word.len() <= MAX_WORD_BYTES {
                    new.push((word, begin..ids.len()));
                }
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        // Do not wait for the lock: a word that is not cached now is cached when it occurs again.
        let mut entries = match self.entries.try_write() {
            Ok(entries) => entries,
            Err(TryLockError::Poisoned(e)) => e.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        for (word, range) in new {
            entries.insert(word, &ids[range]);
        }
        Ok(())
    }

    fn words<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let mut rest = text;
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches(|c: char| c.is_ascii() && is_whitespace(c as u8));
            let bytes = rest.as_bytes();
            let end = match *bytes.first()? {
                first if self.is_word[usize::from(first)] => 1,
                _ => bytes
                    .iter()
                    .position(|&byte| is_whitespace(byte) || self.is_word[usize::from(byte)])
                    .unwrap_or(bytes.len()),
            };
            // Splits only before and after ASCII, so never inside a character.
            let word;
            (word, rest) = rest.split_at(end);
            Some(word)
        })
    }
}

impl Entries {
    fn insert(&mut self, word: &str, ids: &[u32]) {
        if self.ranges.contains_key(word) {
            return;
        }
        if self.ranges.len() == MAX_WORDS {
            *self = Self::default();
        }
        let begin = self.ids.len();
        self.ids.extend_from_slice(ids);
        self.ranges.insert(word.into(), begin..self.ids.len());
    }
}

/// Returns whether the BERT normalizer treats an ASCII character as whitespace. It drops the other control characters, so
/// that the text before and after them is joined.
fn is_whitespace(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> WordCache {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/models/tiny-new/tokenizer.json");
        let tokenizer = crate::text::tokenizer_file::read(&std::fs::read(path).unwrap()).unwrap();
        WordCache::of(&tokenizer).unwrap()
    }

    /// Encodes a text whose words have their length as id. Returns the ids, and the words that were not in the cache.
    fn encode(cache: &WordCache, text: &str) -> (Vec<u32>, Vec<String>) {
        let (mut ids, mut missed) = (Vec::new(), Vec::new());
        cache
            .encode(text, &mut ids, |word, ids| {
                ids.push(word.len() as u32);
                missed.push(word.to_owned());
                Ok(())
            })
            .unwrap();
        (ids, missed)
    }

    #[test]
    fn a_word_is_encoded_once_unless_it_is_too_long_for_the_cache() {
        let (cache, long) = (cache(), "x".repeat(MAX_WORD_BYTES + 1));
        let text = format!(" don't\tstop,\r\n[CLS] río {long}");
        let (ids, missed) = encode(&cache, &text);
        assert_eq!(missed, ["don", "'", "t", "stop", ",", "[CLS]", "río", &*long]);
        assert_eq!(ids, [3, 1, 1, 4, 1, 5, 4, 33]);
        assert_eq!(encode(&cache, &text), (ids, vec![long]));
    }

    #[test]
    fn a_full_cache_is_cleared() {
        let cache = cache();
        for i in 0..2 * MAX_WORDS + 10 {
            encode(&cache, &i.to_string());
        }
        let entries = cache.entries.read().unwrap();
        assert_eq!((entries.ranges.len(), entries.ids.len()), (10, 10));
        assert!(entries.ranges.contains_key(&*(2 * MAX_WORDS + 9).to_string()));
    }

    #[test]
    fn an_error_of_the_tokenizer_is_returned() {
        let mut ids = Vec::new();
        assert!(cache().encode("a b", &mut ids, |_, _| Err("no".into())).is_err());
    }
}
