//! Text to token ids, with the tokenizer of the model's own `tokenizer.json`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stella_kernels::payload::into_text;
use tokenizers::{Encoding, ModelWrapper, Token, Tokenizer as HfTokenizer, TruncationDirection};

use crate::base::error::{Cause, Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::files::contents::{BEGINNING, recognize};
use crate::files::file_names::TOKENIZER_FILE;
use crate::files::folder::ModelFolder;
use crate::files::pooling_config::PoolingMode;
use crate::text::condense::{Beginning, Condenser};
use crate::text::text_settings::{TextSettings, TokenLimit};
use crate::text::tokenizer_file;
use crate::text::word_cache::Words;

/// What to do with a text that has more tokens than the model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongText {
    /// Cut it at the end, special tokens kept, and report the cut.
    Truncate,
    /// Refuse it.
    Refuse,
}

/// Bytes of a text that are looked at, for each token that it may have. No real text comes near: a token of plain
/// prose has four or five bytes. Without this limit a text of many megabytes would be tokenized for seconds, to be cut
/// to 512 tokens then.
///
/// It costs no text a token that the model would have seen. Characters without a token do not count (see `condense`). Where
/// every byte is part of a token, the limit is higher if the vocabulary has a longer one.
pub const MAX_BYTES_PER_TOKEN: usize = 256;
/// The highest that this limit becomes by the length of the tokens.
const MOST_BYTES_PER_TOKEN: usize = 1024;
/// Bytes of what is shortened before it is tokenized.
const LONG_PIECE: usize = 1024;
/// How many times longer a text can be than its composed form: a syllable of Korean is three letters.
const COMPOSED: usize = 3;

/// What cut a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    None,
    /// It has more tokens than it may have.
    Tokens,
    /// It goes on behind what was looked at: [`MAX_BYTES_PER_TOKEN`] or somewhat more for each token that it may have.
    Bytes,
}

/// How long a text is, in tokens, special tokens and prompt included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCount {
    /// Tokens that are there.
    pub kept: usize,
    /// Tokens that the text has; more than `kept` when it was cut. Of a text that was cut by bytes, the tokens of what
    /// was looked at.
    pub total: usize,
    /// What cut it.
    pub cut: Cut,
    /// Tokens at its beginning that take no part in its vector: those of a prompt that the pooling leaves out.
    pub left_out: usize,
}

/// A tokenizer with its limits. Shared between threads; what it gives does not depend on what it was asked before.
#[derive(Debug)]
pub struct Tokenizer {
    inner: HfTokenizer,
    max_tokens: usize,
    /// Special tokens before a text and after it.
    frame: (Vec<u32>, Vec<u32>),
    /// The last of those after it, where the post-processor does not add it.
    end: Option<u32>,
    words: Option<Words>,
    condenser: Option<Condenser>,
    /// Bytes of a text, prompt included, that are looked at.
    max_bytes: usize,
}

/// A text with the prompt before it.
#[derive(Debug, Clone, Copy)]
pub struct Prompted<'t> {
    /// The text of the prompt; empty for none.
    pub prompt: &'t str,
    /// The text itself.
    pub text: &'t str,
}

impl<'t> From<&'t str> for Prompted<'t> {
    fn from(text: &'t str) -> Self {
        Self { prompt: "", text }
    }
}

impl Tokenizer {
    /// Reads `tokenizer.json`. Padding and truncation that it asks for are switched off: texts are packed,
    /// and the cut is made here so that the count before it is known.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read`]; [`Error::TokenizerInvalid`] for a file that is no tokenizer, has an id outside the
    /// vocabulary, or puts no token where the pooling looks for one; [`Error::Inconsistent`] for one that the settings
    /// contradict; [`Error::InvalidArgument`] when the caller's limit leaves no room.
    pub fn read(
        folder: &ModelFolder,
        vocab_size: usize,
        limit: &TokenLimit,
        settings: &TextSettings,
        pooling: PoolingMode,
    ) -> Result<Self> {
        reach(Stage::Tokenizer);
        let bytes = folder.read(TOKENIZER_FILE, "it turns text into token ids")?;
        let invalid = |reason: &str, source| Error::TokenizerInvalid {
            path: folder.path(TOKENIZER_FILE),
            reason: reason.to_owned(),
            source,
        };
        if let Some(what) = recognize(&bytes[..bytes.len().min(BEGINNING)]) {
            return Err(invalid(what, None));
        }
        let inner = guarded(|| Ok(tokenizer_file::read(&bytes)))
            .map_err(|e| invalid("is not a tokenizer that can be used", Some(e)))?
            .map_err(|refusal| invalid(&refusal.reason, refusal.source))?;

        // Every id that the tokenizer can give must be a row of the embedding table.
        let vocabulary = inner.get_vocab(true);
        if let Some((token, &id)) = vocabulary.iter().max_by_key(|&(_, id)| id)
            && id as usize >= vocab_size
        {
            let reason =
                format!("token {token:?} has id {id}, but vocab_size in config.json is {vocab_size}");
            return Err(invalid(&reason, None));
        }
        let special = guarded(|| inner.encode_fast("", true))
            .map_err(|e| invalid("fails on an empty text", Some(e)))?;
        let special_tokens = special.len();
        if let Some(id) = special.get_ids().iter().find(|&&id| id as usize >= vocab_size) {
            let reason = format!("special token id {id} is outside vocab_size {vocab_size} in config.json");
            return Err(invalid(&reason, None));
        }
        // A template may leave the text out or take it twice, and then no length that is told would be right. No id is
        // so large, as was checked.
        let one = Encoding::from_tokens(vec![Token::new(u32::MAX, "a".to_owned(), (0, 1))], 0);
        let framed = guarded(|| inner.post_process(one, None, true))
            .map_err(|e| invalid("fails to add its special tokens", Some(e)))?;
        let text = framed.get_ids().iter().position(|&id| id == u32::MAX);
        let Some(text) = text.filter(|_| framed.len() == special_tokens + 1) else {
            let reason = format!(
                "adds {special_tokens} special tokens to no token, but makes {} of one token: its post_processor must \
                 keep the text, once",
                framed.len()
            );
            return Err(invalid(&reason, None));
        };
        let mut frame = (framed.get_ids()[..text].to_vec(), framed.get_ids()[text + 1..].to_vec());
        let end = settings.claims.check(&inner, (&frame.0, &frame.1))?;
        frame.1.extend(end);
        let special_tokens = frame.0.len() + frame.1.len();
        if pooling == PoolingMode::LastToken && frame.1.is_empty() {
            let reason = "puts no token after a text, and tokenizer_config.json does not say add_eos_token: true, so that it \
                          cannot be told which token the pooling by the last token means";
            return Err(invalid(reason, None));
        }
        if limit.tokens < special_tokens {
            return Err(limit.too_low(special_tokens, folder.path(TOKENIZER_FILE)));
        }
        let words = Words::of(&inner);
        let condenser = words.as_ref().and_then(|_| Condenser::of(&inner));
        let longest = match inner.get_model() {
            ModelWrapper::BPE(_) => vocabulary.keys().map(String::len).max().unwrap_or_default(),
            _ => 0,
        };
        let per_token = (COMPOSED * longest).clamp(MAX_BYTES_PER_TOKEN, MOST_BYTES_PER_TOKEN);
        let max_tokens = limit.tokens;
        Ok(Self { inner, max_tokens, frame, end, words, condenser, max_bytes: max_tokens * per_token })
    }

    /// Tokens that one text may have.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Special tokens that are added to every text.
    pub fn frame_tokens(&self) -> usize {
        self.frame.0.len() + self.frame.1.len()
    }

    /// Tokens of a text without special tokens and however many they are, as far as the text is looked at.
    ///
    /// # Errors
    /// Those of the tokenizer library.
    pub fn tokens_of(&self, text: &str) -> Result<usize, Cause> {
        let looked_at = self.beginning(text.into(), self.max_bytes, false);
        Ok(self.append(&looked_at.text, &mut Vec::new())? - self.frame_tokens())
    }

    /// Tokens of a prompt alone as sentence-transformers counts them where the pooling leaves the prompt out: with the
    /// special ones, but for one at the end.
    ///
    /// # Errors
    /// Those of the tokenizer library.
    pub(crate) fn prompt_tokens_with_frame(&self, prompt: &str) -> Result<usize, Cause> {
        let mut ids = Vec::new();
        self.append(&self.beginning(prompt.into(), self.max_bytes, false).text, &mut ids)?;
        let is_special =
            |id| self.inner.get_added_tokens_decoder().get(id).is_some_and(|token| token.special);
        let ends_special = !self.frame.1.is_empty() || ids.last().is_some_and(is_special);
        Ok(ids.len() - usize::from(ends_special))
    }

    /// Bytes of a text, prompt included, that are looked at. Of a tokenizer of BERT's kind, what leaves no token does not count.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// As much of a text as counts for `limit` bytes, without what leaves no token.
    fn beginning(&self, text: Prompted<'_>, limit: usize, with_sources: bool) -> Beginning {
        let whole = [text.prompt, text.text];
        match &self.condenser {
            Some(condenser) => condenser.beginning(&self.inner, whole, limit, with_sources),
            None => Beginning::plain(whole, limit, with_sources),
        }
    }

    /// Returns as much of the beginning of a text as a call with the whole of it would look at, shortened, and some characters
    /// more if the text goes on behind that. It has the same tokens as the text, and is cut if the text is. With what follows in
    /// the text behind it, it can be shortened again.
    pub fn condense(&self, text: &str, with_sources: bool) -> Beginning {
        // More by two characters: behind a blank at the end of a prompt, another one counts for nothing.
        self.beginning(text.into(), self.max_bytes + 2 * char::MAX.len_utf8(), with_sources)
    }

    /// Appends the ids of `text` to `ids`. `places` gets the first byte of each id in prompt and text, and the one after its
    /// last; both are 0 for a special token. Errors name the text by `index`.
    ///
    /// # Errors
    /// [`Error::TextTooLong`] when the policy says so; [`Error::TextNotTokenized`]. What was appended is not defined then.
    pub fn encode<'t>(
        &self,
        index: usize,
        text: impl Into<Prompted<'t>>,
        long: LongText,
        ids: &mut Vec<u32>,
        places: Option<&mut Vec<(usize, usize)>>,
    ) -> Result<TokenCount> {
        self.encode_in(&mut String::new(), index, text.into(), long, ids, places)
    }

    /// Does the same in memory that serves one text after the other.
    ///
    /// # Errors
    /// Those of [`Self::encode`].
    pub(crate) fn encode_in(
        &self,
        buffer: &mut String,
        index: usize,
        text: Prompted<'_>,
        long: LongText,
        ids: &mut Vec<u32>,
        places: Option<&mut Vec<(usize, usize)>>,
    ) -> Result<TokenCount> {
        reach(Stage::Tokenize);
        let length = text.prompt.len() + text.text.len();
        let mut goes_on = false;
        let mut sources = Vec::new();
        let looked_at = if length > self.max_bytes {
            let beginning = self.beginning(text, self.max_bytes, places.is_some());
            (*buffer, sources, goes_on) = (beginning.text, beginning.sources, beginning.goes_on);
            buffer
        } else if text.prompt.is_empty() {
            text.text
        } else {
            buffer.clear();
            buffer.push_str(text.prompt);
            buffer.push_str(text.text);
            buffer
        };
        if goes_on && long == LongText::Refuse {
            return Err(Error::TextTooLong { index, length, limit: self.max_bytes, unit: "bytes" });
        }
        let begin = ids.len();
        let appended = match places {
            Some(places) => {
                let first = places.len();
                let appended = self.append_with_places(looked_at, ids, places);
                if !sources.is_empty() {
                    for (begin, end) in &mut places[first..] {
                        (*begin, *end) = (sources[*begin], sources[*end]);
                    }
                }
                appended
            }
            None => self.append(looked_at, ids),
        };
        let total = appended.map_err(|source| Error::TextNotTokenized { index, source })?;
        let kept = ids.len() - begin;
        if kept == 0 {
            let source = "it has no token, and the tokenizer of this model adds none".into();
            return Err(Error::TextNotTokenized { index, source });
        }
        let cut = match (goes_on, kept < total) {
            (true, _) => Cut::Bytes,
            (false, true) => Cut::Tokens,
            (false, false) => Cut::None,
        };
        if cut == Cut::Tokens && long == LongText::Refuse {
            return Err(Error::TextTooLong { index, length: total, limit: self.max_tokens, unit: "tokens" });
        }
        Ok(TokenCount { kept, total, cut, left_out: 0 })
    }

    /// Appends the ids of a text, cut to their limit, and tells how many there would be without it.
    fn append(&self, text: &str, ids: &mut Vec<u32>) -> Result<usize, Cause> {
        let (before, after) = &self.frame;
        let begin = ids.len();
        ids.extend_from_slice(before);
        let encode = |piece: &str, ids: &mut Vec<u32>| {
            // The library takes its time for a word that it does not look up.
            let shorter = (self.condenser.is_some() && piece.len() > LONG_PIECE)
                .then(|| self.beginning(piece.into(), usize::MAX, false).text);
            let piece = shorter.as_deref().unwrap_or(piece);
            let encoding = guarded(|| self.inner.encode_fast(piece, false))?;
            ids.extend_from_slice(encoding.get_ids());
            Ok(())
        };
        match &self.words {
            Some(words) => words.encode(text, ids, encode)?,
            None => encode(text, ids)?,
        }
        let total = ids.len() - begin + after.len();
        ids.truncate(begin + self.max_tokens - after.len());
        ids.extend_from_slice(after);
        Ok(total)
    }

    /// The same with places, which the tokenizer's last step may move: so it adds the special tokens here.
    fn append_with_places(
        &self,
        text: &str,
        ids: &mut Vec<u32>,
        places: &mut Vec<(usize, usize)>,
    ) -> Result<usize, Cause> {
        let special_tokens = self.frame_tokens();
        let mut encoding = guarded(|| self.inner.encode(text, false))?;
        let total = encoding.len() + special_tokens;
        if total > self.max_tokens {
            encoding.truncate(self.max_tokens - special_tokens, 0, TruncationDirection::Right);
            // What was cut off hangs on the encoding as overflow, and would be given special tokens too.
            encoding.take_overflowing();
        }
        let encoding = guarded(|| self.inner.post_process(encoding, None, true))?;
        ids.extend_from_slice(encoding.get_ids());
        places.extend_from_slice(encoding.get_offsets());
        if let Some(end) = self.end {
            ids.push(end);
            places.push((0, 0));
        }
        Ok(total)
    }
}

/// Calls the tokenizer library, which panics over some files and some of the texts for them. It holds nothing that a
/// panic leaves half-changed: a tokenizer does not change but for its cache, whose locks it only tries.
fn guarded<T>(call: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let text = into_text(payload).unwrap_or_default();
        Err(format!("the tokenizer library panicked: {text}").into())
    })
}
