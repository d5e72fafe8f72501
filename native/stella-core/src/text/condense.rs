//! The beginning of a long text, without what leaves no trace in its tokens.
//!
//! A limit on bytes bounds the time for a text. Three things use it up without a token for the model: blanks, characters that
//! the tokenizer drops, and the rest of a word that is too long to be looked up.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use tokenizers::{
    ModelWrapper, NormalizedString, Normalizer, OffsetReferential, OffsetType, PreTokenizedString,
    PreTokenizer, Tokenizer,
};

/// Bytes that a word counts for at most. Each has a token, and a blank before it may have three bytes more.
const MAX_WORD_COST: usize = 250;
/// Stands around a character that is tried.
const BESIDE: char = 'a';
/// Marks that change places when a normalizer brings a text into canonical order, unless something stands between them.
const MARKS: (char, char) = ('\u{1d16d}', '\u{1d165}');

/// The effect of a character on the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// It ends a word and is gone.
    Blank = 1,
    /// It is gone as if it had not been there.
    Dropped,
    /// It is gone, but marks before it stay before those behind it.
    Divider,
    /// It is one character of a word, or more.
    Letter,
    /// Anything else: it may end a word and be one.
    Other,
}

const KINDS: [Kind; 5] = [Kind::Blank, Kind::Dropped, Kind::Divider, Kind::Letter, Kind::Other];

/// Shortens texts for one tokenizer.
#[derive(Debug)]
pub(crate) struct Condenser {
    /// Characters of a word that is looked up; a longer one is the unknown token.
    max_word_chars: usize,
    /// The kinds of characters that were met.
    kinds: Kinds,
}

/// The kind of each character, in blocks that are there once one of their characters was met; 0 until it was.
type Kinds = Box<[OnceLock<Box<[AtomicU8; BLOCK]>>]>;

/// Characters in one block of [`Kinds`].
const BLOCK: usize = 256;

/// A text as far as it is looked at.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Beginning {
    /// The characters that are left.
    pub text: String,
    /// For each byte of `text` where in the whole its character begins, and one more, where the first character begins that is
    /// not in `text`. Empty unless it was asked for.
    pub sources: Vec<usize>,
    /// Whether the whole goes on behind what was looked at.
    pub goes_on: bool,
}

/// The state at one place of a text.
struct State {
    last: Kind,
    /// Letters of the word that goes on here.
    letters: usize,
    /// Bytes that this word counts for.
    word_cost: usize,
}

impl Condenser {
    /// For a tokenizer that [`Words`](crate::text::word_cache::Words) cuts; `None` for one of whose texts no part is known to leave no trace.
    pub(crate) fn of(tokenizer: &Tokenizer) -> Option<Self> {
        let ModelWrapper::WordPiece(model) = tokenizer.get_model() else { return None };
        let max_word_chars = model.max_input_chars_per_word;
        // These are found before anything is dropped. One that begins with punctuation is not found among letters. And none
        // comes about where the rest of a word is left out: more letters stand before that place than it has characters.
        let cannot_be_hit = tokenizer.get_added_tokens_decoder().into_values().all(|token| {
            token.content.starts_with(|c: char| c.is_ascii_punctuation())
                && token.content.chars().count() <= max_word_chars
        });
        let blocks = u32::from(char::MAX) as usize / BLOCK + 1;
        cannot_be_hit.then(|| Self { max_word_chars, kinds: (0..blocks).map(|_| OnceLock::new()).collect() })
    }

    /// The kind of a character, which is found out once.
    fn kind(&self, tokenizer: &Tokenizer, c: char) -> Kind {
        let block =
            self.kinds[c as usize / BLOCK].get_or_init(|| Box::new([const { AtomicU8::new(0) }; BLOCK]));
        let place = &block[c as usize % BLOCK];
        match place.load(Relaxed) {
            0 => {
                let kind = probe(tokenizer, c);
                place.store(kind as u8, Relaxed);
                kind
            }
            known => KINDS[usize::from(known) - 1],
        }
    }

    /// Takes characters of `parts`, which stand one behind the other, until they count for `limit` bytes.
    pub(crate) fn beginning(
        &self,
        tokenizer: &Tokenizer,
        parts: [&str; 2],
        limit: usize,
        with_sources: bool,
    ) -> Beginning {
        let mut state = State { last: Kind::Other, letters: 0, word_cost: 0 };
        Beginning::take(parts, limit, with_sources, |c| {
            state.step(self.kind(tokenizer, c), c.len_utf8(), self.max_word_chars)
        })
    }
}

impl Beginning {
    /// The beginning of a text of which no character can be left out.
    pub(crate) fn plain(parts: [&str; 2], limit: usize, with_sources: bool) -> Self {
        Self::take(parts, limit, with_sources, |c| Some(c.len_utf8()))
    }

    /// Takes characters until they count for more than `limit` bytes. `cost` says for how many each counts; nothing for one that
    /// is left out.
    fn take(
        parts: [&str; 2],
        limit: usize,
        with_sources: bool,
        mut cost: impl FnMut(char) -> Option<usize>,
    ) -> Self {
        let mut found = Self::default();
        let mut sum = 0;
        let [first, second] = parts;
        let behind = second.char_indices().map(|(at, c)| (first.len() + at, c));
        let mut end = first.len() + second.len();
        for (at, c) in first.char_indices().chain(behind) {
            let Some(more) = cost(c) else { continue };
            sum += more;
            if sum > limit {
                (found.goes_on, end) = (true, at);
                break;
            }
            found.text.push(c);
            if with_sources {
                found.sources.resize(found.text.len(), at);
            }
        }
        if with_sources {
            found.sources.push(end);
        }
        found
    }
}

impl State {
    /// Goes on by a character. Returns the bytes that it counts for; `None` for one that can be left out.
    fn step(&mut self, kind: Kind, bytes: usize, max_word_chars: usize) -> Option<usize> {
        let is_unknown = self.letters > max_word_chars;
        match kind {
            Kind::Blank | Kind::Other => {
                (self.letters, self.word_cost) = (0, 0);
                let again = kind == Kind::Blank && self.last == Kind::Blank;
                self.last = kind;
                (!again).then_some(bytes)
            }
            Kind::Letter if is_unknown => None,
            Kind::Letter => {
                self.letters += 1;
                self.last = kind;
                let more = bytes.min(MAX_WORD_COST - self.word_cost);
                self.word_cost += more;
                Some(more)
            }
            // One stays, so that what stands around it does not become an added token.
            Kind::Dropped
                if is_unknown || matches!(self.last, Kind::Blank | Kind::Dropped | Kind::Divider) =>
            {
                None
            }
            Kind::Divider if is_unknown || matches!(self.last, Kind::Blank | Kind::Divider) => None,
            Kind::Dropped | Kind::Divider => {
                self.last = kind;
                Some(0)
            }
        }
    }
}

/// Finds the kind of a character: runs it through the tokenizer, with letters around it. An error makes it `Other`.
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
        let (_, found) = pieces(&format!("{BESIDE}{c}{BESIDE}"))?;
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        let (two, both) = (BESIDE.to_string(), [BESIDE; 2].iter().collect::<String>());
        Ok(match found[..] {
            [before, behind] if before == two && behind == two => Kind::Blank,
            [word] if word == both => {
                let (one, other) = MARKS;
                let alone = pieces(&format!("{BESIDE}{one}{other}{BESIDE}"))?;
                let between = pieces(&format!("{BESIDE}{one}{c}{other}{BESIDE}"))?;
                if alone == between { Kind::Dropped } else { Kind::Divider }
            }
            [_] => Kind::Letter,
            _ => Kind::Other,
        })
    };
    // The library panics over some characters in some files; and it logs, to code of the host.
    let kind: tokenizers::Result<Kind> = catch_unwind(AssertUnwindSafe(kind)).unwrap_or(Ok(Kind::Other));
    kind.unwrap_or(Kind::Other)
}
