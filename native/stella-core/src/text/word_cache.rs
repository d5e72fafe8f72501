//! Words that were tokenized before, with their ids.
//!
//! The `tokenizers` crate takes some microseconds for a word, most of them for alignments between the text and its
//! normalised form. With a small model that is a tenth of the whole, and words come again and again.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{PoisonError, RwLock, TryLockError};

use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, Tokenizer};

use crate::base::error::Cause;

/// Words that are known at most: what a hash table of 16,384 places holds. Then all are forgotten, and those that
/// matter are soon learned again. Together with their ids they take about a megabyte.
const MAX_WORDS: usize = 14_336;
/// Bytes of a word that is worth to be known.
const MAX_WORD_BYTES: usize = 32;

/// Cuts a text where the ids on one side do not depend on what stands on the other, and knows the ids of the pieces.
#[derive(Debug)]
pub(crate) struct Words {
    /// Bytes that are pieces of their own.
    apart: [bool; 256],
    known: RwLock<Known>,
}

#[derive(Debug, Default)]
struct Known {
    places: HashMap<Box<str>, Range<usize>>,
    ids: Vec<u32>,
}

impl Words {
    /// For a tokenizer of BERT's kind, whose steps look at single characters until the text is cut at blanks and
    /// punctuation; with any other no place to cut is known, and there is nothing to gain.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let cuts = matches!(tokenizer.get_normalizer(), None | Some(NormalizerWrapper::BertNormalizer(_)))
            && matches!(tokenizer.get_pre_tokenizer(), Some(PreTokenizerWrapper::BertPreTokenizer(_)))
            && matches!(tokenizer.get_model(), ModelWrapper::WordPiece(_));
        let mut apart: [bool; 256] = std::array::from_fn(|byte| (byte as u8).is_ascii_punctuation());
        for token in tokenizer.get_added_tokens_decoder().into_values() {
            // These are found before the text is cut: none may be cut in two, or look at what stands beside it.
            if token.normalized || token.single_word || token.content.bytes().any(is_blank) {
                return None;
            }
            token.content.bytes().for_each(|byte| apart[usize::from(byte)] = false);
        }
        cuts.then(|| Self { apart, known: RwLock::default() })
    }

    /// Appends the ids of `text`. `encode` gives those of a piece that is not known.
    ///
    /// # Errors
    /// That of `encode`; `ids` then holds those of the pieces before.
    pub(crate) fn encode(
        &self,
        text: &str,
        ids: &mut Vec<u32>,
        mut encode: impl FnMut(&str, &mut Vec<u32>) -> Result<(), Cause>,
    ) -> Result<(), Cause> {
        let mut new = Vec::new();
        {
            // A panic while it was held left at most ids that no word points to: nothing to repair.
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            for piece in self.pieces(text) {
                if let Some(found) = known.places.get(piece) {
                    ids.extend_from_slice(&known.ids[found.clone()]);
                    continue;
                }
                let begin = ids.len();
                encode(piece, ids)?;
                if piece.len() <= MAX_WORD_BYTES {
                    new.push((piece, begin..ids.len()));
                }
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        // Nobody is waited for: a word that is not learned now is learned when it comes again.
        let mut known = match self.known.try_write() {
            Ok(known) => known,
            Err(TryLockError::Poisoned(e)) => e.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        for (piece, place) in new {
            known.learn(piece, &ids[place]);
        }
        Ok(())
    }

    fn pieces<'t>(&self, text: &'t str) -> impl Iterator<Item = &'t str> {
        let mut rest = text;
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches(|c: char| c.is_ascii() && is_blank(c as u8));
            let bytes = rest.as_bytes();
            let end = match *bytes.first()? {
                first if self.apart[usize::from(first)] => 1,
                _ => bytes
                    .iter()
                    .position(|&byte| is_blank(byte) || self.apart[usize::from(byte)])
                    .unwrap_or(bytes.len()),
            };
            // Cut only before and after ASCII, so never inside of a character.
            let piece;
            (piece, rest) = rest.split_at(end);
            Some(piece)
        })
    }
}

impl Known {
    fn learn(&mut self, piece: &str, ids: &[u32]) {
        if self.places.contains_key(piece) {
            return;
        }
        if self.places.len() == MAX_WORDS {
            *self = Self::default();
        }
        let begin = self.ids.len();
        self.ids.extend_from_slice(ids);
        self.places.insert(piece.into(), begin..self.ids.len());
    }
}

/// What BERT's normalizer takes for a blank among ASCII. It drops the other control characters, which join what stands
/// around them.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words() -> Words {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/fixtures/models/tiny-new/tokenizer.json");
        let tokenizer = crate::text::tokenizer_file::read(&std::fs::read(path).unwrap()).unwrap();
        Words::of(&tokenizer).unwrap()
    }

    /// The ids of a text when a piece has its length for an id, and the pieces that were not known.
    fn encode(words: &Words, text: &str) -> (Vec<u32>, Vec<String>) {
        let (mut ids, mut asked) = (Vec::new(), Vec::new());
        words
            .encode(text, &mut ids, |piece, ids| {
                ids.push(piece.len() as u32);
                asked.push(piece.to_owned());
                Ok(())
            })
            .unwrap();
        (ids, asked)
    }

    #[test]
    fn a_piece_is_asked_for_once_unless_it_is_long() {
        let (words, long) = (words(), "x".repeat(MAX_WORD_BYTES + 1));
        let text = format!(" don't\tstop,\r\n[CLS] río {long}");
        let (ids, asked) = encode(&words, &text);
        assert_eq!(asked, ["don", "'", "t", "stop", ",", "[CLS]", "río", &*long]);
        assert_eq!(ids, [3, 1, 1, 4, 1, 5, 4, 33]);
        assert_eq!(encode(&words, &text), (ids, vec![long]));
    }

    #[test]
    fn no_more_words_than_agreed_are_kept() {
        let words = words();
        for i in 0..2 * MAX_WORDS + 10 {
            encode(&words, &i.to_string());
        }
        let known = words.known.read().unwrap();
        assert_eq!((known.places.len(), known.ids.len()), (10, 10));
        assert!(known.places.contains_key(&*(2 * MAX_WORDS + 9).to_string()));
    }

    #[test]
    fn an_error_of_a_piece_is_given_on() {
        let mut ids = Vec::new();
        assert!(words().encode("a b", &mut ids, |_, _| Err("no".into())).is_err());
    }
}
