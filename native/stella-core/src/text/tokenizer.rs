//! The tokenizer: text to token ids, as `tokenizer.json` of the model defines it, with truncation.
//!
//! Truncation of a text, prompt included:
//!
//! - A text may have [`Tokenizer::max_tokens`] tokens, special tokens included. With [`LongText::Truncate`] a longer text
//!   keeps its first tokens and all special tokens. With [`LongText::Error`] it is an [`Error::TextTooLong`], which has the
//!   length and the limit.
//! - Only the first [`Tokenizer::max_bytes`] bytes of a text are tokenized, which bounds the time for a huge text. Characters
//!   that do not change the tokens do not count (see [`Tokenizer::condense`]).
//! - [`TokenCount`] reports the tokens that are kept, the tokens of the whole text and the limit that truncated it.
//!
//! A caller learns the length of a text before it embeds the text by tokenizing: `Model::tokenize` returns a [`TokenCount`]
//! for each text, as do `stella_model_tokenize` of the C ABI and `StellaModel.Tokenize` of the C# library.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stella_kernels::payload::into_text;
use tokenizers::{Encoding, ModelWrapper, Token, Tokenizer as HfTokenizer, TruncationDirection};

use crate::base::error::{Cause, Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::files::contents::{BEGINNING, recognize};
use crate::files::file_names::TOKENIZER_FILE;
use crate::files::folder::ModelFolder;
use crate::files::pooling_config::PoolingMode;
use crate::text::condense::{CondensedText, Condenser, Sources};
use crate::text::text_settings::{TextSettings, TokenLimit};
use crate::text::tokenizer_file;
use crate::text::word_cache::WordCache;

/// The treatment of a text that has more tokens than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LongText {
    /// Truncate the text at its end, keep the special tokens, and report the truncation.
    Truncate,
    /// Return [`Error::TextTooLong`].
    Error,
}

/// Byte limit of a text for each token of the token limit. Real text has far fewer bytes: a token of plain prose has four or
/// five. Without this limit, a text of many megabytes would be tokenized for seconds and then be truncated to 512 tokens.
///
/// The limit never costs a text a token that the model would see. Characters without a token do not count (see
/// [`Tokenizer::condense`]). For a tokenizer that drops no byte (BPE), the limit is higher if the vocabulary has longer
/// tokens.
pub const MAX_BYTES_PER_TOKEN: usize = 256;
/// The highest byte limit for each token, for a BPE vocabulary with very long tokens.
const MAX_BYTES_PER_LONG_TOKEN: usize = 1024;
/// Length in bytes of a word from which it is condensed before the tokenizer library gets it.
const LONG_WORD: usize = 1024;
/// Maximum ratio of the length of a text to the length of its composed form: a syllable of Korean consists of three letters.
const MAX_COMPOSITION: usize = 3;

/// The limit that truncated a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// The text is complete.
    None,
    /// The text has more tokens than the token limit.
    Tokens,
    /// The text has more bytes than the byte limit: [`MAX_BYTES_PER_TOKEN`] or more for each token of the token limit.
    Bytes,
}

/// The length of a text in tokens, special tokens and prompt included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenCount {
    /// Number of tokens after truncation.
    pub kept: usize,
    /// Number of tokens before truncation. If the byte limit truncated the text, only the tokens of the bytes within the limit
    /// count.
    pub total: usize,
    /// The limit that truncated the text.
    pub truncation: Truncation,
    /// Number of tokens at the beginning that pooling skips, because they belong to a prompt.
    pub left_out: usize,
}

/// A tokenizer with its limits. Threads share it, and its results do not depend on earlier calls.
#[derive(Debug)]
pub struct Tokenizer {
    inner: HfTokenizer,
    max_tokens: usize,
    /// Special tokens before and after every text.
    special_tokens: (Vec<u32>, Vec<u32>),
    /// The last special token after a text, if the post-processor does not add it.
    end_token: Option<u32>,
    word_cache: Option<WordCache>,
    condenser: Option<Condenser>,
    /// Maximum number of bytes of a text, prompt included, that are tokenized.
    max_bytes: usize,
}

/// A text and the prompt that precedes it.
#[derive(Debug, Clone, Copy)]
pub struct Prompted<'t> {
    /// The text of the prompt; empty for no prompt.
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
    /// Reads `tokenizer.json`. Its padding is not used, because texts are packed. Its truncation is not used either, because
    /// [`TokenCount`] needs the number of tokens before truncation.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read`]; [`Error::TokenizerInvalid`] for a file that is not a tokenizer, has an id outside the
    /// vocabulary, or lacks the special token that the pooling needs; [`Error::Inconsistent`] for a tokenizer that other
    /// settings contradict; [`Error::InvalidArgument`] if the limit of the caller is below the number of special tokens.
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
        if let Some(reason) = recognize(&bytes[..bytes.len().min(BEGINNING)]) {
            return Err(invalid(reason, None));
        }
        let inner = catching_library_panics(|| Ok(tokenizer_file::read(&bytes)))
            .map_err(|e| invalid(tokenizer_file::UNREADABLE, Some(e)))?
            .map_err(|refusal| invalid(&refusal.reason, refusal.source))?;

        // Every id that the tokenizer can return must be a row of the embedding table.
        let vocabulary = inner.get_vocab(true);
        if let Some((token, &id)) = vocabulary.iter().max_by_key(|&(_, id)| id)
            && id as usize >= vocab_size
        {
            let reason = format!(
                "Token {token:?} has id {id}, but vocab_size in config.json is {vocab_size}. Ids must be below vocab_size."
            );
            return Err(invalid(&reason, None));
        }
        let empty = catching_library_panics(|| inner.encode_fast("", true))
            .map_err(|e| invalid("The tokenizer fails on an empty text.", Some(e)))?;
        let special_count = empty.len();
        if let Some(id) = empty.get_ids().iter().find(|&&id| id as usize >= vocab_size) {
            let reason = format!(
                "A special token has id {id}, but vocab_size in config.json is {vocab_size}. Ids must be below vocab_size."
            );
            return Err(invalid(&reason, None));
        }
        // A template may drop or repeat the text, which would make every token count wrong. The id of the probe cannot be in
        // the vocabulary, because all its ids are below vocab_size.
        let probe = Encoding::from_tokens(vec![Token::new(u32::MAX, "a".to_owned(), (0, 1))], 0);
        let processed = catching_library_panics(|| inner.post_process(probe, None, true))
            .map_err(|e| invalid("The tokenizer fails to add its special tokens.", Some(e)))?;
        let ids = processed.get_ids();
        let text = ids.iter().position(|&id| id == u32::MAX);
        let Some(text) = text.filter(|_| ids.len() == special_count + 1) else {
            let reason = format!(
                "The tokenizer turns an empty text into {special_count} tokens and a text of one token into {}. Its \
                 post_processor must keep the text, once.",
                ids.len()
            );
            return Err(invalid(&reason, None));
        };
        let mut special_tokens = (ids[..text].to_vec(), ids[text + 1..].to_vec());
        let end_token = settings.claims.check(&inner, (&special_tokens.0, &special_tokens.1))?;
        special_tokens.1.extend(end_token);
        let special_count = special_tokens.0.len() + special_tokens.1.len();
        if pooling == PoolingMode::LastToken && special_tokens.1.is_empty() {
            let reason = "The model pools by the last token, but tokenizer.json adds no token after a text, and add_eos_token \
                          in tokenizer_config.json is not true. So the token to pool is unknown.";
            return Err(invalid(reason, None));
        }
        if limit.tokens < special_count {
            return Err(limit.too_low(special_count, folder.path(TOKENIZER_FILE)));
        }
        let word_cache = WordCache::of(&inner);
        let condenser = word_cache.as_ref().and_then(|_| Condenser::of(&inner));
        let longest = match inner.get_model() {
            ModelWrapper::BPE(_) => vocabulary.keys().map(String::len).max().unwrap_or_default(),
            _ => 0,
        };
        let per_token = (MAX_COMPOSITION * longest).clamp(MAX_BYTES_PER_TOKEN, MAX_BYTES_PER_LONG_TOKEN);
        let max_tokens = limit.tokens;
        Ok(Self {
            inner,
            max_tokens,
            special_tokens,
            end_token,
            word_cache,
            condenser,
            max_bytes: max_tokens * per_token,
        })
    }

    /// Returns the token limit of a text, special tokens and prompt included. Longer texts are truncated.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// Returns the number of special tokens that are added to every text.
    pub fn special_tokens(&self) -> usize {
        self.special_tokens.0.len() + self.special_tokens.1.len()
    }

    /// Counts the tokens of a text within the byte limit, without special tokens and without a token limit.
    ///
    /// # Errors
    /// Those of the tokenizer library.
    pub fn count_text_tokens(&self, text: &str) -> Result<usize, Cause> {
        let condensed = self.condense_to(text.into(), self.max_bytes, Sources::Omit);
        Ok(self.append(&condensed.text, &mut Vec::new())? - self.special_tokens())
    }

    /// Counts the tokens of a prompt that pooling skips, as sentence-transformers does: special tokens included, except for
    /// a special token at the end.
    ///
    /// # Errors
    /// Those of the tokenizer library.
    pub(crate) fn prompt_tokens_with_special(&self, prompt: &str) -> Result<usize, Cause> {
        let mut ids = Vec::new();
        self.append(&self.condense_to(prompt.into(), self.max_bytes, Sources::Omit).text, &mut ids)?;
        let is_special =
            |id| self.inner.get_added_tokens_decoder().get(id).is_some_and(|token| token.special);
        let ends_special = !self.special_tokens.1.is_empty() || ids.last().is_some_and(is_special);
        Ok(ids.len() - usize::from(ends_special))
    }

    /// Returns the byte limit of a text, prompt included. For a BERT tokenizer, characters without a token do not count.
    pub fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// Condenses a text up to a cost of `limit` bytes. Without a condenser, returns its first `limit` bytes.
    fn condense_to(&self, text: Prompted<'_>, limit: usize, sources: Sources) -> CondensedText {
        let parts = [text.prompt, text.text];
        match &self.condenser {
            Some(condenser) => condenser.condense(&self.inner, parts, limit, sources),
            None => CondensedText::verbatim(parts, limit, sources),
        }
    }

    /// Condenses the part of a text that a call would tokenize, and a few characters more if the text is longer. The result
    /// has the same tokens and the same truncation as the text. A caller can append the next part of the text and condense
    /// again.
    pub fn condense(&self, text: &str, sources: Sources) -> CondensedText {
        // Two characters more: whitespace at the beginning of the text costs nothing after a prompt that ends with whitespace.
        self.condense_to(text.into(), self.max_bytes + 2 * char::MAX.len_utf8(), sources)
    }

    /// Tokenizes a text, truncates it and appends its ids to `ids`. `offsets` gets the byte range of each token in prompt and
    /// text, which is empty at 0 for a special token. Errors have `index` as the index of the text.
    ///
    /// # Errors
    /// [`Error::TextTooLong`] for a text beyond the limit with [`LongText::Error`]; [`Error::TextNotTokenized`]. After an error
    /// the appended ids and offsets are not defined.
    pub fn encode<'t>(
        &self,
        index: usize,
        text: impl Into<Prompted<'t>>,
        long: LongText,
        ids: &mut Vec<u32>,
        offsets: Option<&mut Vec<(usize, usize)>>,
    ) -> Result<TokenCount> {
        self.encode_in(&mut String::new(), index, text.into(), long, ids, offsets)
    }

    /// Does the same as [`Self::encode`], with a buffer that the caller reuses for the next text.
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
        offsets: Option<&mut Vec<(usize, usize)>>,
    ) -> Result<TokenCount> {
        reach(Stage::Tokenize);
        let length = text.prompt.len() + text.text.len();
        let mut has_more = false;
        let mut sources = Vec::new();
        let tokenized = if length > self.max_bytes {
            let recorded = if offsets.is_some() { Sources::Record } else { Sources::Omit };
            let condensed = self.condense_to(text, self.max_bytes, recorded);
            (*buffer, sources, has_more) = (condensed.text, condensed.sources, condensed.has_more);
            buffer
        } else if text.prompt.is_empty() {
            text.text
        } else {
            buffer.clear();
            buffer.push_str(text.prompt);
            buffer.push_str(text.text);
            buffer
        };
        if has_more && long == LongText::Error {
            return Err(Error::TextTooLong { index, length, limit: self.max_bytes, unit: "bytes" });
        }
        let begin = ids.len();
        let appended = match offsets {
            Some(offsets) => {
                let first = offsets.len();
                let appended = self.append_with_offsets(tokenized, ids, offsets);
                if !sources.is_empty() {
                    for (begin, end) in &mut offsets[first..] {
                        (*begin, *end) = (sources[*begin], sources[*end]);
                    }
                }
                appended
            }
            None => self.append(tokenized, ids),
        };
        let total = appended.map_err(|source| Error::TextNotTokenized { index, source })?;
        let kept = ids.len() - begin;
        if kept == 0 {
            let source =
                "The text has no token, and the tokenizer of this model adds no special token.".into();
            return Err(Error::TextNotTokenized { index, source });
        }
        let truncation = match (has_more, kept < total) {
            (true, _) => Truncation::Bytes,
            (false, true) => Truncation::Tokens,
            (false, false) => Truncation::None,
        };
        if truncation == Truncation::Tokens && long == LongText::Error {
            return Err(Error::TextTooLong { index, length: total, limit: self.max_tokens, unit: "tokens" });
        }
        Ok(TokenCount { kept, total, truncation, left_out: 0 })
    }

    /// Appends the ids of a text, truncated to the token limit. Returns the number of tokens before truncation.
    fn append(&self, text: &str, ids: &mut Vec<u32>) -> Result<usize, Cause> {
        let (before, after) = &self.special_tokens;
        let begin = ids.len();
        ids.extend_from_slice(before);
        let encode = |part: &str, ids: &mut Vec<u32>| {
            // The library is slow for a long word, even if it does not look the word up.
            let condensed = (self.condenser.is_some() && part.len() > LONG_WORD)
                .then(|| self.condense_to(part.into(), usize::MAX, Sources::Omit).text);
            let part = condensed.as_deref().unwrap_or(part);
            let encoding = catching_library_panics(|| self.inner.encode_fast(part, false))?;
            ids.extend_from_slice(encoding.get_ids());
            Ok(())
        };
        match &self.word_cache {
            Some(cache) => cache.encode(text, ids, encode)?,
            None => encode(text, ids)?,
        }
        let total = ids.len() - begin + after.len();
        ids.truncate(begin + self.max_tokens - after.len());
        ids.extend_from_slice(after);
        Ok(total)
    }

    /// Does the same as [`Self::append`], and appends the offsets of the tokens. Runs the post-processor of the tokenizer, which
    /// adds the special tokens, because it may change offsets.
    fn append_with_offsets(
        &self,
        text: &str,
        ids: &mut Vec<u32>,
        offsets: &mut Vec<(usize, usize)>,
    ) -> Result<usize, Cause> {
        let special_tokens = self.special_tokens();
        let mut encoding = catching_library_panics(|| self.inner.encode(text, false))?;
        let total = encoding.len() + special_tokens;
        if total > self.max_tokens {
            encoding.truncate(self.max_tokens - special_tokens, 0, TruncationDirection::Right);
            // The encoding keeps the truncated tokens as overflow. The post-processor would process them too.
            encoding.take_overflowing();
        }
        let encoding = catching_library_panics(|| self.inner.post_process(encoding, None, true))?;
        ids.extend_from_slice(encoding.get_ids());
        offsets.extend_from_slice(encoding.get_offsets());
        if let Some(end_token) = self.end_token {
            ids.push(end_token);
            offsets.push((0, 0));
        }
        Ok(total)
    }
}

/// Calls the tokenizer library and turns a panic into an error, because the library panics on some files and some texts. A
/// panic leaves no state half changed: a tokenizer of the library is immutable except for its own cache. The library only
/// tries the lock of this cache, and does without the cache if the lock is poisoned.
fn catching_library_panics<T>(call: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|payload| {
        let text = into_text(payload).unwrap_or_default();
        Err(format!("The tokenizer library panicked: {text}.").into())
    })
}
