//! Condenses a long text before truncation: takes its beginning, without the characters that do not change its tokens.
//!
//! A byte limit bounds the time to tokenize a text. Three kinds of characters would use up this limit without adding a token:
//! repeated whitespace, characters that the tokenizer drops, and the rest of a word that is longer than the tokenizer looks
//! up. A condensed text leaves them out, so it has the same tokens as the original.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use tokenizers::{
    ModelWrapper, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Tokenizer,
};

/// Maximum cost of a word in bytes. Every word has at least one token, and the whitespace before it costs up to three bytes
/// more.
const MAX_WORD_COST: usize = 250;
/// The letter before and after a character that [`probe`] classifies.
const NEIGHBOR: char = 'a';
/// Two combining marks that canonical ordering of a normalizer swaps, unless another character separates them.
const MARKS: (char, char) = ('\u{1d16d}', '\u{1d165}');

/// The effect of a character on the tokens of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// Whitespace: it ends a word and has no token.
    Whitespace = 1,
    /// The tokenizer drops it without any effect.
    Dropped,
    /// The tokenizer drops it, but it keeps the combining marks before and after it in their order.
    Divider,
    /// It becomes one or more characters of a word.
    Letter,
    /// Any other character, such as punctuation: it may end a word and be a word by itself.
    Other,
}

const KINDS: [Kind; 5] = [Kind::Whitespace, Kind::Dropped, Kind::Divider, Kind::Letter, Kind::Other];

/// Condenses texts for one tokenizer.
#[derive(Debug)]
pub(crate) struct Condenser {
    /// Maximum number of characters of a word that the tokenizer looks up. A longer word is the unknown token.
    max_word_chars: usize,
    /// The kinds of the characters that were classified.
    kinds: Kinds,
}

/// The kind of each character, 0 if unknown. A block is allocated when the first of its characters is classified.
type Kinds = Box<[OnceLock<Box<[AtomicU8; BLOCK]>>]>;

/// Number of characters in one block of [`Kinds`].
const BLOCK: usize = 256;

/// Whether a [`CondensedText`] records the offsets of its characters in the original.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sources {
    /// Fill [`CondensedText::sources`].
    Record,
    /// Leave [`CondensedText::sources`] empty.
    Omit,
}

/// The condensed beginning of a text.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CondensedText {
    /// The remaining characters.
    pub text: String,
    /// For each byte of `text`, the offset in the original at which its character begins. One more entry is the offset of the
    /// first character after the condensed part. Empty with [`Sources::Omit`].
    pub sources: Vec<usize>,
    /// Whether the original has more text after the condensed part.
    pub has_more: bool,
}

/// The state between two characters of a text.
struct State {
    last: Kind,
    /// Number of letters of the current word.
    letters: usize,
    /// Cost of the current word in bytes.
    word_cost: usize,
}

impl Condenser {
    /// Creates a condenser for a BERT tokenizer that the word cache supports. Returns `None` if its added tokens make it unsafe
    /// to leave out characters.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else { return None };
        let max_word_chars = model.max_input_chars_per_word;
        // The tokenizer finds added tokens before it drops a character. Condensing must neither destroy nor create one. A token
        // that begins with punctuation is not found inside a word. A token of at most `max_word_chars` characters cannot
        // arise where the rest of a word is left out, because more letters precede this point.
        let is_safe = tokenizer.get_added_tokens_decoder().into_values().all(|token| {
            token.content.starts_with(|c: char| c.is_ascii_punctuation())
                && token.content.chars().count() <= max_word_chars
        });
        let blocks = u32::from(char::MAX) as usize / BLOCK + 1;
        is_safe.then(|| Self { max_word_chars, kinds: (0..blocks).map(|_| OnceLock::new()).collect() })
    }

    /// Returns the kind of a character, which is classified once.
    fn kind(&self, tokenizer: &Tokenizer, c: char) -> Kind {
        let block =
            self.kinds[c as usize / BLOCK].get_or_init(|| Box::new([const { AtomicU8::new(0) }; BLOCK]));
        let slot = &block[c as usize % BLOCK];
        match slot.load(Relaxed) {
            0 => {
                let kind = probe(tokenizer, c);
                slot.store(kind as u8, Relaxed);
                kind
            }
            known => KINDS[usize::from(known) - 1],
        }
    }

    /// Condenses the concatenated `parts` until their cost reaches `limit` bytes.
    pub(crate) fn condense(
        &self,
        tokenizer: &Tokenizer,
        parts: [&str; 2],
        limit: usize,
        sources: Sources,
    ) -> CondensedText {
        let mut state = State { last: Kind::Other, letters: 0, word_cost: 0 };
        CondensedText::take(parts, limit, sources, |c| {
            state.step(self.kind(tokenizer, c), c.len_utf8(), self.max_word_chars)
        })
    }
}

impl CondensedText {
    /// Returns the beginning of the concatenated `parts` with all characters, up to `limit` bytes.
    pub(crate) fn verbatim(parts: [&str; 2], limit: usize, sources: Sources) -> Self {
        Self::take(parts, limit, sources, |c| Some(c.len_utf8()))
    }

    /// Takes characters until their cost would exceed `limit` bytes. `cost` returns the bytes that a character counts for, or
    /// `None` to leave it out.
    fn take(
        parts: [&str; 2],
        limit: usize,
        sources: Sources,
        mut cost: impl FnMut(char) -> Option<usize>,
    ) -> Self {
        let mut found = Self::default();
        let mut sum = 0;
        let [first, second] = parts;
        let second_chars = second.char_indices().map(|(at, c)| (first.len() + at, c));
        let mut end = first.len() + second.len();
        for (at, c) in first.char_indices().chain(second_chars) {
            let Some(bytes) = cost(c) else { continue };
            sum += bytes;
            if sum > limit {
                (found.has_more, end) = (true, at);
                break;
            }
            found.text.push(c);
            if sources == Sources::Record {
                found.sources.resize(found.text.len(), at);
            }
        }
        if sources == Sources::Record {
            found.sources.push(end);
        }
        found
    }
}

impl State {
    /// Advances by a character. Returns its cost in bytes, or `None` if it can be left out.
    fn step(&mut self, kind: Kind, bytes: usize, max_word_chars: usize) -> Option<usize> {
        let is_unknown = self.letters > max_word_chars;
        match kind {
            Kind::Whitespace | Kind::Other => {
                (self.letters, self.word_cost) = (0, 0);
                let is_repeated = kind == Kind::Whitespace && self.last == Kind::Whitespace;
                self.last = kind;
                (!is_repeated).then_some(bytes)
            }
            Kind::Letter if is_unknown => None,
            Kind::Letter => {
                self.letters += 1;
                self.last = kind;
                let cost = bytes.min(MAX_WORD_COST - self.word_cost);
                self.word_cost += cost;
                Some(cost)
            }
            // One dropped character stays, so that the text before and after it does not become an added token.
            Kind::Dropped
                if is_unknown || matches!(self.last, Kind::Whitespace | Kind::Dropped | Kind::Divider) =>
            {
                None
            }
            Kind::Divider if is_unknown || matches!(self.last, Kind::Whitespace | Kind::Divider) => None,
            Kind::Dropped | Kind::Divider => {
                self.last = kind;
                Some(0)
            }
        }
    }
}

/// Classifies a character: runs it through the normalizer and the pre-tokenizer, between two letters. After an error it is
/// `Other`, which is never left out.
fn probe(tokenizer: &Tokenizer, c: char) -> Kind {
    let pieces = |text: &str| {
        let mut text = NormalizedString::from(text);
        tokenizer.get_normalizer().map_or(Ok(()), |normalizer| normalizer.normalize(&mut text))?;
        let normalized = text.get().to_owned();
        let mut split = PreTokenizedString::from(text);
        tokenizer.get_pre_tokenizer().map_or(Ok(()), |splitter| splitter.pre_tokenize(&mut split))?;
        let pieces = split.get_splits(OffsetReferential::Normalized, OffsetType::None);
        let pieces: Vec<String> = pieces.into_iter().map(|(piece, ..)| piece.to_owned()).collect();
        tokenizers::Result::Ok((normalized, pieces))
    };
    let kind = || {
        let (_, found) = pieces(&format!("{NEIGHBOR}{c}{NEIGHBOR}"))?;
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        let (letter, both) = (NEIGHBOR.to_string(), [NEIGHBOR; 2].iter().collect::<String>());
        Ok(match found[..] {
            [before, after] if before == letter && after == letter => Kind::Whitespace,
            [word] if word == both => {
                let (one, other) = MARKS;
                let alone = pieces(&format!("{NEIGHBOR}{one}{other}{NEIGHBOR}"))?;
                let between = pieces(&format!("{NEIGHBOR}{one}{c}{other}{NEIGHBOR}"))?;
                if alone == between { Kind::Dropped } else { Kind::Divider }
            }
            [_] => Kind::Letter,
            _ => Kind::Other,
        })
    };
    // The tokenizer library panics on some characters with some files. Its log calls run code of the host, which may panic too.
    let kind: tokenizers::Result<Kind> = catch_unwind(AssertUnwindSafe(kind)).unwrap_or(Ok(Kind::Other));
    kind.unwrap_or(Kind::Other)
}
