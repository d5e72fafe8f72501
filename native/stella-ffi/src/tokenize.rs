//! Packed text to packed token ids.

use stella_core::text::tokenizer::{LongText, TokenCount, Truncation};
use stella_core::{Error, Result};

use crate::args;
use crate::boundary::fallible;
use crate::error::StellaError;
use crate::model::StellaModel;

/// What to do with a text that has too many tokens.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaLongText {
    /// Cut it at the end.
    Truncate = 0,
    /// Refuse it with TextTooLong.
    Refuse = 1,
}

/// The values of [`StellaLongText`] in order.
const LONG_TEXTS: [LongText; 2] = [LongText::Truncate, LongText::Error];

/// How to tokenize.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StellaTokenizeOptions {
    /// Size of this struct in bytes.
    pub size: u32,
    /// A value of StellaLongText.
    pub long_text: u32,
    /// Number of this call's first text in the caller's list; errors count from there.
    pub first_text: u32,
    /// Not used; 0.
    pub reserved: u32,
    /// Name of the prompt of each text, as UTF-8: one of the model's, `s2p`, `s2s`, or `document` for nothing before the
    /// text; null for the model's default.
    pub prompt: *const u8,
    /// Length of `prompt` in bytes.
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
    /// The name of the prompt.
    ///
    /// # Safety
    /// `prompt` is null or points to `prompt_length` bytes that live as long as the result is used.
    unsafe fn prompt<'a>(&self) -> Result<Option<&'a str>> {
        if self.prompt.is_null() {
            return Ok(None);
        }
        // SAFETY: this function's contract.
        let name = unsafe { args::slice(self.prompt, self.prompt_length, "options.prompt") }?;
        args::utf8(name, "options.prompt").map(Some)
    }
}

/// What cut a text.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaCut {
    /// Nothing.
    None = 0,
    /// It has more than max_tokens tokens.
    Tokens = 1,
    /// It has more than max_text_bytes; the rest was not looked at. Characters without a token do not count.
    Bytes = 2,
}

/// Length of a text in tokens, special tokens and prompt included.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaTokenCount {
    /// Tokens that are there.
    pub kept: u32,
    /// Tokens of the text; more than `kept` when it was cut. Of a text that was cut by bytes, the tokens of what was
    /// looked at.
    pub total: u32,
    /// What cut it: a value of StellaCut.
    pub cut: u32,
    /// Tokens at its beginning that take no part in its vector: those of a prompt that the model's pooling leaves out.
    pub left_out: u32,
}

/// Tokenizes texts: text i is the bytes from offsets\[i\] to offsets\[i + 1\] of `utf8`. Writes the ids of all
/// texts one after the other, a count for each text, and the number of ids. When the ids do not fit, that number
/// is still written and the error is BufferTooSmall.
///
/// # Safety
/// `model` is a live model; `utf8` points to `utf8_length` bytes, `offsets` to `text_count + 1` numbers, `ids`
/// to `ids_capacity` and `counts` to `text_count` writable values; `ids_length` is writable; `options` is null
/// or points to options that say their size and whose `prompt` is null or points to `prompt_length` bytes.
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
        let offset_count =
            text_count.checked_add(1).ok_or_else(|| args::invalid("text_count is too large"))?;
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
        let found = unpack(utf8, offsets)
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

/// Shortens a text of more than max_text_bytes, or its beginning, without a change of its tokens. It takes out blanks behind
/// blanks, characters that the tokenizer drops, and the rest of words that it does not look up. It ends where no further token
/// can matter.
///
/// The result replaces the text, and `length` is its length. `is_enough` becomes 1 if the rest of the text is not looked at.
/// It becomes 0 if more is needed: put the next part of the text behind the result, and call again.
///
/// `units` has a number for each byte and one for the end. The numbers move with their bytes. A caller that sets them to
/// positions in its own text reads there where each byte of the result comes from.
///
/// # Safety
/// `model` is a live model; `utf8` points to `utf8_length` bytes that nobody else uses; `units` is null or points to
/// `utf8_length + 1` writable numbers; `length` and `is_enough` are writable.
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
            false => utf8_length.checked_add(1).ok_or_else(|| args::invalid("utf8_length is too large"))?,
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
        let found = model.condense(unpack(utf8, &[0, utf8.len()])?[0], !units.is_empty());
        utf8[..found.text.len()].copy_from_slice(found.text.as_bytes());
        // In order, and no source lies before its place: none is overwritten before it was read.
        for (place, source) in found.sources.into_iter().enumerate() {
            units[place] = units[source];
        }
        *length = found.text.len();
        *is_enough = u32::from(found.has_more);
        Ok(())
    })
}

/// Where in a text a token comes from, in bytes of its UTF-8. Empty for special tokens and those of the prompt.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaPlace {
    /// The first byte.
    pub begin: u32,
    /// The byte after the last.
    pub end: u32,
}

/// Tokenizes one text and tells where in it each token comes from. Writes as many ids as places, their number and the
/// text's length. When they do not fit, the number is still written and the error is BufferTooSmall.
///
/// # Safety
/// `model` is a live model; `utf8` points to `utf8_length` bytes, `ids` and `places` to `capacity` writable values
/// each; `count` and `ids_length` are writable; `options` is null or points to options that say their size and whose `prompt` is null or points to `prompt_length` bytes.
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
        let (mut found, mut at) = (Vec::new(), Vec::new());
        let length = unpack(utf8, &[0, utf8.len()])
            .and_then(|texts| model.tokenize_with_places(texts[0], prompt, long_text, &mut found, &mut at))
            .map_err(|e| e.with_first_text(options.first_text as usize))?;
        *count = length.into();
        *ids_length = found.len();
        let (Some(ids), Some(places)) = (ids.get_mut(..found.len()), places.get_mut(..found.len())) else {
            return Err(Error::BufferTooSmall { what: "ids and places", capacity, needed: found.len() });
        };
        ids.copy_from_slice(&found);
        for (place, (begin, end)) in places.iter_mut().zip(at) {
            // A text that was not shortened by its caller may have places beyond, which are saturated.
            *place = StellaPlace { begin: saturated(begin), end: saturated(end) };
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
            kept: saturated(count.kept),
            total: saturated(count.total),
            cut: cut as u32,
            left_out: saturated(count.left_out),
        }
    }
}

fn saturated(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// The texts between offsets.
fn unpack<'a>(utf8: &'a [u8], offsets: &[usize]) -> Result<Vec<&'a str>> {
    offsets
        .windows(2)
        .enumerate()
        .map(|(index, pair)| {
            let bytes = utf8.get(pair[0]..pair[1]).ok_or_else(|| {
                args::invalid(format!(
                    "offsets of text {index} are {} and {}; utf8 has {} bytes",
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
