//! Errors as objects that the caller owns.
//!
//! # The path of an error
//! 1. stella-core returns an [`Error`]: a typed value, often with the error that caused it. If a single text caused the error,
//!    it holds the index of the text, to which the export adds `first_text` of the options.
//! 2. [`fallible`] turns the error into a [`StellaError`]: its code, the index of the text, and the messages of the error and
//!    of its causes. Control characters are escaped here, because a message may quote a model file.
//! 3. The export returns the pointer. Null means success. Nothing is kept in thread-local state.
//! 4. The caller reads the error by `stella_error_code`, `stella_error_text_index`, `stella_error_chain_length` and
//!    `stella_error_message`, and frees it by `stella_error_free`.
//! 5. C# throws the exception type of the code, with the message and the chain of inner exceptions.
//!
//! `fallible` also turns a panic into an error. [`boundary`](crate::boundary) describes the path of a panic.

use std::fmt::Write;
use std::sync::Arc;

use stella_core::{Error, ErrorCode};
use stella_kernels::payload::into_text;

use crate::args;
use crate::boundary::{Entry, NO_TEXT, catch_panic, infallible};
use crate::escape::{Keep, escape};
use crate::handle::Handle;
use crate::handle_counts::StellaHandleKind;
use crate::log_sink::{LogScope, LogSink};

/// The largest message of an error or a cause, in bytes before escaping. A longer message is cut and ends with a note about
/// the missing bytes.
const MAX_MESSAGE_BYTES: usize = 16 << 10;

/// An error of a call. Immutable; any number of threads may read it at once.
#[derive(Debug)]
pub struct StellaError {
    code: ErrorCode,
    text_index: Option<usize>,
    /// The messages of the error and its causes, outermost first; never empty.
    chain: Vec<String>,
}

impl Handle for StellaError {
    const KIND: StellaHandleKind = StellaHandleKind::Error;
}

impl StellaError {
    fn from_error(error: &Error) -> Self {
        Self::new(error.code(), error.text_index(), error.chain())
    }

    fn from_panic(message: &str) -> Self {
        let summary =
            "The native library panicked. This is a defect in the library. Report it with the native log.";
        Self::new(ErrorCode::Panic, None, vec![summary.to_owned(), message.to_owned()])
    }

    fn new(code: ErrorCode, text_index: Option<usize>, chain: Vec<String>) -> Self {
        Self { code, text_index, chain: chain.into_iter().map(presentable).collect() }
    }
}

/// Limits the length of a message and escapes it. Every message that a caller gets passes through here.
fn presentable(mut message: String) -> String {
    truncate(&mut message);
    escape(&message, Keep::Nothing).into_owned()
}

/// Cuts a long message at a character boundary and appends the number of missing bytes.
fn truncate(message: &mut String) {
    if message.len() > MAX_MESSAGE_BYTES {
        let cut = message.floor_char_boundary(MAX_MESSAGE_BYTES);
        let missing = message.len() - cut;
        message.truncate(cut);
        // Writing to a String cannot fail.
        let _ = write!(message, "… ({missing} more bytes)");
    }
}

/// Runs an export that can fail, and returns its error or null. Records that the body logs go to `sink`.
pub(crate) fn fallible(
    sink: Option<Arc<LogSink>>,
    body: impl FnOnce() -> Result<(), Error>,
) -> *mut StellaError {
    let _entry = Entry::new();
    let _scope = LogScope::enter(sink);
    match catch_panic(body) {
        Ok(Ok(())) => std::ptr::null_mut(),
        Ok(Err(error)) => StellaError::from_error(&error).into_raw(),
        Err(payload) => {
            StellaError::from_panic(&into_text(payload).unwrap_or_else(|| NO_TEXT.to_owned())).into_raw()
        }
    }
}

/// Returns the code of an error (a value of ErrorCode), or 0 for null. Any thread may call it.
///
/// # Safety
/// `error` is null or an error that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_error_code(error: *const StellaError) -> i32 {
    // SAFETY: this function's contract.
    infallible(|| unsafe { args::required(error, "error") }.map_or(0, |e| e.code as i32))
}

/// Returns the index of the text that caused an error: the index in the call, plus `first_text` of the options. Returns -1 if
/// no single text caused the error, and for null.
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

/// Returns the number of messages of an error: its own and one for each cause, at least 1. Returns 0 for null.
///
/// # Safety
/// `error` is null or an error that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_error_chain_length(error: *const StellaError) -> usize {
    // SAFETY: this function's contract.
    infallible(|| unsafe { args::required(error, "error") }.map_or(0, |e| e.chain.len()))
}

/// Copies a message of an error into `utf8` and returns the full length of the message in bytes. Level 0 is the message of
/// the error, level 1 the message of its cause, and so on.
///
/// At most `capacity` bytes are written, without a terminating NUL; the last character may be incomplete. Call it with a
/// capacity of 0 to get the length. Returns 0 for null and for a level that does not exist.
///
/// # Safety
/// `error` is null or an error that was not freed. `utf8` points to `capacity` writable bytes.
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
    // SAFETY: this function's contract.
    infallible(|| drop(unsafe { StellaError::from_raw(error) }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::depth;

    #[test]
    fn success_is_null_and_failure_is_an_error_with_its_code() {
        assert!(fallible(None, || Ok(())).is_null());
        type Body = fn() -> Result<(), Error>;
        let cases: [(Body, ErrorCode); 3] = [
            (|| Err(Error::Cancelled), ErrorCode::Cancelled),
            (|| panic!("static text"), ErrorCode::Panic),
            (|| std::panic::panic_any(17), ErrorCode::Panic),
        ];
        for (body, code) in cases {
            let error = fallible(None, body);
            // SAFETY: the error was just made and is freed once.
            unsafe {
                assert_eq!(stella_error_code(error), code as i32);
                stella_error_free(error);
            }
        }
        assert_eq!(depth(), 0);
    }

    #[test]
    fn every_message_of_the_chain_is_escaped() {
        let error = StellaError::from_panic("a\u{1b}[2J\nerror: all is well\u{202e}");
        assert_eq!(error.chain[1], r"a\u{1b}[2J\nerror: all is well\u{202e}");
        let io = std::io::Error::other("b\r\u{9b}");
        let path = std::path::PathBuf::from("head\u{7}");
        let error = StellaError::from_error(&Error::FileUnreadable { path, source: io });
        assert!(error.chain[0].contains(r"head\u{7}"), "{}", error.chain[0]);
        assert_eq!(error.chain[1..], [r"b\r\u{9b}"]);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let mut message = "€".repeat(MAX_MESSAGE_BYTES);
        truncate(&mut message);
        assert!(message.len() < MAX_MESSAGE_BYTES + 40);
        assert!(
            message.ends_with("more bytes)") && message.contains("€…"),
            "{}",
            &message[message.len() - 40..]
        );
    }
}
