//! Text to token ids, with the tokenizer of the model's own `tokenizer.json`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use stella_kernels::payload::into_text;
use tokenizers::{Encoding, Token, Tokenizer as HfTokenizer, TruncationDirection};

use crate::contents::{BEGINNING, recognize};
use crate::error::{Cause, Error, Result};
use crate::fault::{Stage, reach};
use crate::files::TOKENIZER_FILE;
use crate::folder::ModelFolder;
use crate::pooling::PoolingMode;
use crate::text_settings::{TextSettings, TokenLimit};
use crate::tokenizer_file;
use crate::words::Words;

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
pub const MAX_BYTES_PER_TOKEN: usize = 256;

/// What cut a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Nothing.
    None,
    /// It has more tokens than it may have.
    Tokens,
    /// It has more than [`MAX_BYTES_PER_TOKEN`] for each token that it may have; what is beyond was not looked at.
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
        if let Some((token, id)) = inner.get_vocab(true).into_iter().max_by_key(|&(_, id)| id)
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
        Ok(Self { inner, max_tokens: limit.tokens, frame, end, words })
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
        let looked_at = &text[..text.floor_char_boundary(self.max_bytes())];
        Ok(self.append(looked_at, &mut Vec::new())? - self.frame_tokens())
    }

    /// Tokens of a prompt alone as sentence-transformers counts them where the pooling leaves the prompt out: with the
    /// special ones, but for one at the end.
    ///
    /// # Errors
    /// Those of the tokenizer library.
    pub(crate) fn prompt_tokens_with_frame(&self, prompt: &str) -> Result<usize, Cause> {
        let mut ids = Vec::new();
        self.append(&prompt[..prompt.floor_char_boundary(self.max_bytes())], &mut ids)?;
        let is_special =
            |id| self.inner.get_added_tokens_decoder().get(id).is_some_and(|token| token.special);
        let ends_special = !self.frame.1.is_empty() || ids.last().is_some_and(is_special);
        Ok(ids.len() - usize::from(ends_special))
    }

    /// Bytes of a text, prompt included, that are looked at.
    pub fn max_bytes(&self) -> usize {
        self.max_tokens * MAX_BYTES_PER_TOKEN
    }

    /// Appends the ids of `text` to `ids`, and to `places`, if it is wanted, where in `text` each id comes from: its
    /// first byte and the one after its last, both 0 for a special token. `index` is the number under which errors
    /// name the text.
    ///
    /// # Errors
    /// [`Error::TextTooLong`] when the policy says so; [`Error::TextNotTokenized`]. What was appended is not defined then.
    pub fn encode(
        &self,
        index: usize,
        text: &str,
        long: LongText,
        ids: &mut Vec<u32>,
        places: Option<&mut Vec<(usize, usize)>>,
    ) -> Result<TokenCount> {
        self.encode_beginning(index, text, text.len(), long, ids, places)
    }

    /// Does the same for a text of `len` bytes of which `text` is the beginning: all of it, or at least what is looked at.
    ///
    /// # Errors
    /// Those of [`Self::encode`].
    pub(crate) fn encode_beginning(
        &self,
        index: usize,
        text: &str,
        len: usize,
        long: LongText,
        ids: &mut Vec<u32>,
        places: Option<&mut Vec<(usize, usize)>>,
    ) -> Result<TokenCount> {
        reach(Stage::Tokenize);
        let looked_at = &text[..text.floor_char_boundary(self.max_bytes())];
        let cut_by_bytes = looked_at.len() < len;
        if cut_by_bytes && long == LongText::Refuse {
            return Err(Error::TextTooLong { index, length: len, limit: self.max_bytes(), unit: "bytes" });
        }
        let begin = ids.len();
        let appended = match places {
            Some(places) => self.append_with_places(looked_at, ids, places),
            None => self.append(looked_at, ids),
        };
        let total = appended.map_err(|source| Error::TextNotTokenized { index, source })?;
        let kept = ids.len() - begin;
        if kept == 0 {
            let source = "it has no token, and the tokenizer of this model adds none".into();
            return Err(Error::TextNotTokenized { index, source });
        }
        let cut = match (cut_by_bytes, kept < total) {
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
