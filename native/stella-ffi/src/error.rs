//! Errors as objects that the caller owns.

use std::fmt::Write;

use stella_core::{Error, ErrorCode};

use crate::args;
use crate::boundary::infallible;
use crate::escape::{Keep, escape};
use crate::live::{Counted, StellaHandleKind};

/// Longest message of one link of the chain, in bytes before escapes. A longer message is cut, and the cut is marked.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// An error: its code, the index of the text that caused it, and the messages of its chain of causes.
#[derive(Debug)]
pub struct StellaError {
    code: ErrorCode,
    text_index: Option<usize>,
    /// Outermost first; never empty.
    chain: Vec<String>,
    _counted: Counted,
}

impl StellaError {
    pub(crate) fn from_error(error: &Error) -> Self {
        Self::new(error.code(), error.text_index(), error.chain())
    }

    pub(crate) fn from_panic(message: &str) -> Self {
        let chain =
            vec!["the native library panicked; this is a defect in it".to_owned(), message.to_owned()];
        Self::new(ErrorCode::Panic, None, chain)
    }

    fn new(code: ErrorCode, text_index: Option<usize>, chain: Vec<String>) -> Self {
        let chain = chain.into_iter().map(presentable).collect();
        Self { code, text_index, chain, _counted: Counted::new(StellaHandleKind::Error) }
    }

    pub(crate) fn into_raw(self) -> *mut Self {
        Box::into_raw(Box::new(self))
    }
}

/// Makes a message short and safe to show: every message that a caller gets comes through here.
fn presentable(mut message: String) -> String {
    shorten(&mut message);
    escape(&message, Keep::Nothing).into_owned()
}

/// Cuts a message at a character boundary and says how much is missing.
fn shorten(message: &mut String) {
    if message.len() > MAX_MESSAGE_BYTES {
        let cut = message.floor_char_boundary(MAX_MESSAGE_BYTES);
        let missing = message.len() - cut;
        message.truncate(cut);
        // Writing to a String cannot fail.
        let _ = write!(message, "… ({missing} bytes more)");
    }
}

/// Code of an error (a value of ErrorCode); 0 for null.
///
/// # Safety
/// `error` is null or an error that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_error_code(error: *const StellaError) -> i32 {
    // SAFETY: this function's contract.
    infallible(|| unsafe { args::required(error, "error") }.map_or(0, |e| e.code as i32))
}

/// Index within the call of the text that caused the error; -1 when no single text did.
///
/// # Safety
/// `error` is null or an error that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_error_text_index(error: *const StellaError) -> i64 {
    infallible(|| {
        // SAFETY: this function's contract.
        let error = unsafe { args::required(error, "error") };
        error.ok().and_then(|e| i64::try_from(e.text_index?).ok()).unwrap_or(-1)
    })
}

/// Number of messages in the chain: the error's own and those of its causes. 0 for null.
///
/// # Safety
/// `error` is null or an error that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_error_chain_length(error: *const StellaError) -> usize {
    // SAFETY: this function's contract.
    infallible(|| unsafe { args::required(error, "error") }.map_or(0, |e| e.chain.len()))
}

/// Writes message `level` of the chain (0 is the error's own) into `utf8` as far as it fits and returns its
/// whole length in bytes. Asked with a capacity of 0 it only tells the length. 0 for a level that is not there.
///
/// # Safety
/// `error` is null or an error that was not freed; `utf8` points to `capacity` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_error_message(
    error: *const StellaError,
    level: usize,
    utf8: *mut u8,
    capacity: usize,
) -> usize {
    infallible(|| {
        // SAFETY: this function's contract.
        let (error, out) =
            unsafe { (args::required(error, "error"), args::slice_mut(utf8, capacity, "utf8")) };
        let (Ok(error), Ok(out)) = (error, out) else { return 0 };
        let Some(message) = error.chain.get(level) else { return 0 };
        let fits = message.len().min(out.len());
        out[..fits].copy_from_slice(&message.as_bytes()[..fits]);
        message.len()
    })
}

/// Frees an error. Null is allowed.
///
/// # Safety
/// `error` is null or an error that was not freed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_error_free(error: *mut StellaError) {
    infallible(|| {
        if !error.is_null() {
            // SAFETY: made by `into_raw` and, by this function's contract, not freed yet.
            drop(unsafe { Box::from_raw(error) });
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_message_of_the_chain_is_escaped() {
        let error = StellaError::from_panic("a\u{1b}[2J\nerror: all is well\u{202e}");
        assert_eq!(error.chain[1], r"a\u{1b}[2J\nerror: all is well\u{202e}");
        let io = std::io::Error::other("b\r\u{9b}");
        let path = std::path::PathBuf::from("head\u{7}");
        let error = StellaError::from_error(&Error::FileUnreadable { path, source: io });
        assert_eq!(error.chain, [r"head\u{7} cannot be read", r"b\r\u{9b}"]);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let mut message = "€".repeat(MAX_MESSAGE_BYTES);
        shorten(&mut message);
        assert!(message.len() < MAX_MESSAGE_BYTES + 40);
        assert!(
            message.ends_with("bytes more)") && message.contains("€…"),
            "{}",
            &message[message.len() - 40..]
        );
    }
}
