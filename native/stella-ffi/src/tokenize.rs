//! Exports of the tokenizer: packed UTF-8 texts to packed token ids.

use stella_core::text::condense::Sources;
use stella_core::text::tokenizer::{LongText, TokenCount, Truncation};
use stella_core::{Error, Result};

use crate::args;
use crate::error::{StellaError, fallible};
use crate::model::StellaModel;

/// The treatment of texts with more tokens than `max_tokens`.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaLongText {
    /// Truncate the text at its end and keep the special tokens.
    Truncate = 0,
    /// Refuse the call with TextTooLong.
    Refuse = 1,
}

/// The treatments, indexed by [`StellaLongText`].
const LONG_TEXTS: [LongText; 2] = [LongText::Truncate, LongText::Error];

/// Options of `stella_model_tokenize` and `stella_model_tokenize_places`. A field of 0 means its default.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StellaTokenizeOptions {
    /// The size of this struct in bytes.
    pub size: u32,
    /// A value of StellaLongText.
    pub long_text: u32,
    /// The index of the first text of this call in a longer list of the caller. It is added to the text index of errors.
    pub first_text: u32,
    /// Not used; 0.
    pub reserved: u32,
    /// The name of the prompt of all texts, as UTF-8: a name of stella_model_prompt, `s2p`, `s2s`, or `document` for no prompt.
    /// Null for the default prompt of the model.
    pub prompt: *const u8,
    /// The length of `prompt` in bytes.
    pub prompt_length: usize,
}

impl Default for StellaTokenizeOptions {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            long_text: StellaLongText::Truncate as u32,
            first_text: 0,
            reserved: 0,
            prompt: std::ptr::null(),
            prompt_length: 0,
        }
    }
}

impl StellaTokenizeOptions {
    /// Returns the name of the prompt, or `None` for the default.
    ///
    /// # Safety
    /// `prompt` is null or points to `prompt_length` bytes that are alive during `'a`.
    unsafe fn prompt<'a>(&self) -> Result<Option<&'a str>> {
        if self.prompt.is_null() {
            return Ok(None);
        }
        // SAFETY: this function's contract.
        let name = unsafe { args::slice(self.prompt, self.prompt_length, "options.prompt") }?;
        args::utf8(name, "options.prompt").map(Some)
    }
}

/// The limit that truncated a text.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaCut {
    /// The text is complete.
    None = 0,
    /// The text has more than `max_tokens` tokens.
    Tokens = 1,
    /// The text has more than `max_text_bytes` bytes, and the rest was not read. Characters without a token do not count.
    Bytes = 2,
}

/// The length of a text in tokens, special tokens and prompt included.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaTokenCount {
    /// The number of ids that were written for the text.
    pub kept: u32,
    /// The number of tokens of the whole text, greater than `kept` if it was truncated. If `cut` is Bytes, only the tokens of
    /// the bytes that were read count.
    pub total: u32,
    /// The limit that truncated the text: a value of StellaCut.
    pub cut: u32,
    /// The number of tokens at the beginning that the pooling excludes, which are those of the prompt. Pass it on in
    /// StellaEmbedOptions.
    pub left_out: u32,
}

/// Tokenizes texts. Text i is the bytes of `utf8` from offsets\[i\] up to, but not including, offsets\[i + 1\], so `offsets` has
/// `text_count` + 1 numbers. Null `options` mean the defaults.
///
/// Writes the ids of all texts one after the other to `ids`, a count per text to `counts`, and the number of all ids to
/// `ids_length`. If the ids do not fit, `counts` and `ids_length` are still written and the error is BufferTooSmall. Any number
/// of threads may call it at once.
///
/// Errors: InvalidArgument for offsets that fall or go beyond `utf8`, and for options out of range; UnknownPrompt;
/// TextNotUnicode; TextTooLong; TextNotTokenized; BufferTooSmall.
///
/// # Safety
/// `model` is a live model. `utf8` points to `utf8_length` bytes and `offsets` to `text_count` + 1 numbers. `ids` points to
/// `ids_capacity` and `counts` to `text_count` writable values. `ids_length` is writable. `options` is null or points to options
/// with their size set, whose `prompt` is null or points to `prompt_length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_tokenize(
    model: *const StellaModel,
    utf8: *const u8,
    utf8_length: usize,
    offsets: *const usize,
    text_count: usize,
    options: *const StellaTokenizeOptions,
    ids: *mut u32,
    ids_capacity: usize,
    counts: *mut StellaTokenCount,
    ids_length: *mut usize,
) -> *mut StellaError {
    // SAFETY: this function's contract.
    let model = unsafe { args::required(model, "model") };
    fallible(model.as_ref().ok().and_then(|m| m.sink.clone()), || {
        let model = &model?.model;
        let offset_count = text_count
            .checked_add(1)
            .ok_or_else(|| args::invalid("Argument text_count is too large. Pass the number of texts."))?;
        // SAFETY: this function's contract.
        let (utf8, offsets, options, ids, counts, ids_length) = unsafe {
            (
                args::slice(utf8, utf8_length, "utf8")?,
                args::slice(offsets, offset_count, "offsets")?,
                args::sized(options, "options")?,
                args::slice_mut(ids, ids_capacity, "ids")?,
                args::slice_mut(counts, text_count, "counts")?,
                args::required_mut(ids_length, "ids_length")?,
            )
        };
        // SAFETY: this function's contract.
        let prompt = unsafe { options.prompt() }?;
        let long_text = args::choice(options.long_text, &LONG_TEXTS, "options.long_text")?;
        let mut all = Vec::with_capacity(ids.len());
        let found = split_texts(utf8, offsets)
            .and_then(|texts| model.tokenize(texts, prompt, long_text, &mut all))
            .map_err(|e| e.with_first_text(options.first_text as usize))?;
        for (slot, count) in counts.iter_mut().zip(found) {
            *slot = count.into();
        }
        *ids_length = all.len();
        let capacity = ids.len();
        match ids.get_mut(..all.len()) {
            Some(out) => {
                out.copy_from_slice(&all);
                Ok(())
            }
            None => Err(Error::BufferTooSmall { what: "ids", capacity, needed: all.len() }),
        }
    })
}

/// Condenses the beginning of a text of more than `max_text_bytes` bytes: removes bytes that do not change its tokens. These are
/// repeated blanks, characters that the tokenizer drops, and the rest of words that are too long for the vocabulary. The result
/// ends where no further token can be kept.
///
/// The result replaces the text in `utf8`, and `length` receives its length. `is_enough` becomes 1 if the tokenizer does not read
/// what follows in the text. It becomes 0 if more is needed: append the next part of the text to the result and call again.
///
/// `units`, if not null, has one number per byte and one for the end. The numbers move with their bytes: if the caller sets
/// them to positions in its own text, they tell afterwards which position each byte of the result came from.
///
/// Errors: TextNotUnicode.
///
/// # Safety
/// `model` is a live model. `utf8` points to `utf8_length` writable bytes. `units` is null or points to `utf8_length` + 1 writable
/// numbers. `length` and `is_enough` are writable. Nothing else uses this memory during the call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_condense(
    model: *const StellaModel,
    utf8: *mut u8,
    utf8_length: usize,
    units: *mut u32,
    length: *mut usize,
    is_enough: *mut u32,
) -> *mut StellaError {
    // SAFETY: this function's contract.
    let model = unsafe { args::required(model, "model") };
    fallible(model.as_ref().ok().and_then(|m| m.sink.clone()), || {
        let model = &model?.model;
        let unit_count = match units.is_null() {
            true => 0,
            false => utf8_length.checked_add(1).ok_or_else(|| {
                args::invalid("Argument utf8_length is too large. Pass the length of the text.")
            })?,
        };
        // SAFETY: this function's contract.
        let (utf8, units, length, is_enough) = unsafe {
            (
                args::slice_mut(utf8, utf8_length, "utf8")?,
                args::slice_mut(units, unit_count, "units")?,
                args::required_mut(length, "length")?,
                args::required_mut(is_enough, "is_enough")?,
            )
        };
        let sources = if units.is_empty() { Sources::Omit } else { Sources::Record };
        let found = model.condense(split_texts(utf8, &[0, utf8.len()])?[0], sources);
        utf8[..found.text.len()].copy_from_slice(found.text.as_bytes());
        // Sources ascend and are never before their target, so each number is read before it is overwritten.
        for (target, source) in found.sources.into_iter().enumerate() {
            units[target] = units[source];
        }
        *length = found.text.len();
        // If the text goes on after the condensed part, the tokenizer does not read the rest.
        *is_enough = u32::from(found.has_more);
        Ok(())
    })
}

/// The bytes of a text that a token comes from, as offsets in its UTF-8. Both are equal for special tokens and tokens of the
/// prompt.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaPlace {
    /// The offset of the first byte.
    pub begin: u32,
    /// The offset after the last byte.
    pub end: u32,
}

/// Tokenizes one text and locates its tokens. Writes an id and a place per token, the count of the text to `count`, and the
/// number of ids to `ids_length`. If they do not fit into `capacity`, `count` and `ids_length` are still written and the error is
/// BufferTooSmall. Null `options` mean the defaults. Any number of threads may call it at once.
///
/// Errors: those of `stella_model_tokenize`.
///
/// # Safety
/// `model` is a live model. `utf8` points to `utf8_length` bytes. `ids` and `places` point to `capacity` writable values each.
/// `count` and `ids_length` are writable. `options` is null or points to options with their size set, whose `prompt` is null or
/// points to `prompt_length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_model_tokenize_places(
    model: *const StellaModel,
    utf8: *const u8,
    utf8_length: usize,
    options: *const StellaTokenizeOptions,
    ids: *mut u32,
    places: *mut StellaPlace,
    capacity: usize,
    count: *mut StellaTokenCount,
    ids_length: *mut usize,
) -> *mut StellaError {
    // SAFETY: this function's contract.
    let model = unsafe { args::required(model, "model") };
    fallible(model.as_ref().ok().and_then(|m| m.sink.clone()), || {
        let model = &model?.model;
        // SAFETY: this function's contract.
        let (utf8, options, ids, places, count, ids_length) = unsafe {
            (
                args::slice(utf8, utf8_length, "utf8")?,
                args::sized(options, "options")?,
                args::slice_mut(ids, capacity, "ids")?,
                args::slice_mut(places, capacity, "places")?,
                args::required_mut(count, "count")?,
                args::required_mut(ids_length, "ids_length")?,
            )
        };
        // SAFETY: this function's contract.
        let prompt = unsafe { options.prompt() }?;
        let long_text = args::choice(options.long_text, &LONG_TEXTS, "options.long_text")?;
        let (mut found, mut ranges) = (Vec::new(), Vec::new());
        let length = split_texts(utf8, &[0, utf8.len()])
            .and_then(|texts| {
                model.tokenize_with_places(texts[0], prompt, long_text, &mut found, &mut ranges)
            })
            .map_err(|e| e.with_first_text(options.first_text as usize))?;
        *count = length.into();
        *ids_length = found.len();
        let (Some(ids), Some(places)) = (ids.get_mut(..found.len()), places.get_mut(..found.len())) else {
            return Err(Error::BufferTooSmall { what: "ids and places", capacity, needed: found.len() });
        };
        ids.copy_from_slice(&found);
        for (place, (begin, end)) in places.iter_mut().zip(ranges) {
            // Offsets beyond 4 GiB saturate; a caller that condenses long texts has none.
            *place = StellaPlace { begin: saturate(begin), end: saturate(end) };
        }
        Ok(())
    })
}

impl From<TokenCount> for StellaTokenCount {
    fn from(count: TokenCount) -> Self {
        let cut = match count.truncation {
            Truncation::None => StellaCut::None,
            Truncation::Tokens => StellaCut::Tokens,
            Truncation::Bytes => StellaCut::Bytes,
        };
        Self {
            kept: saturate(count.kept),
            total: saturate(count.total),
            cut: cut as u32,
            left_out: saturate(count.left_out),
        }
    }
}

fn saturate(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Returns the texts between offsets.
fn split_texts<'a>(utf8: &'a [u8], offsets: &[usize]) -> Result<Vec<&'a str>> {
    offsets
        .windows(2)
        .enumerate()
        .map(|(index, pair)| {
            let bytes = utf8.get(pair[0]..pair[1]).ok_or_else(|| {
                args::invalid(format!(
                    "Text {index} goes from byte {} to {} of utf8, which has {} bytes. Offsets must ascend up to its length.",
                    pair[0],
                    pair[1],
                    utf8.len()
                ))
            })?;
            std::str::from_utf8(bytes).map_err(|e| Error::TextNotUnicode {
                index,
                at: e.valid_up_to(),
                len: bytes.len(),
            })
        })
        .collect()
}
