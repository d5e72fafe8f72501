//! Exports of log sinks.

use std::ffi::c_void;
use std::sync::Arc;

use crate::args;
use crate::boundary::infallible;
use crate::error::{StellaError, fallible};
use crate::handle::Handle;
use crate::handle_counts::StellaHandleKind;
use crate::log_sink::LogSink;
pub use crate::log_sink::{ReleaseCallback, WriteCallback};

/// The destination of log records. The handle and every model that was opened with it share it.
#[derive(Debug)]
pub struct StellaLogSink {
    sink: Arc<LogSink>,
}

impl Handle for StellaLogSink {
    const KIND: StellaHandleKind = StellaHandleKind::LogSink;
}

/// Creates a log sink, which `stella_model_open` takes. Writes the handle to `sink`, which stella_log_sink_free frees.
///
/// `write` receives each record of at least `min_level`: the level (0 trace, 1 debug, 2 information, 3 warning, 4 error), the
/// target, which is the name of the module that logs, and the message. Both texts are UTF-8 and valid only during the call.
/// Threads that work for a model of the sink call `write`, several of them at once. It may call the library.
///
/// `release` receives `user_data` exactly once, after the last `write`, when the sink and every model and session that use it
/// are freed. Neither callback may unwind.
///
/// Errors: InvalidArgument if a callback or `sink` is null.
///
/// # Safety
/// Any thread may call `write` and `release` with `user_data`. `sink` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_log_sink_new(
    write: Option<
        unsafe extern "C" fn(
            user_data: *mut c_void,
            level: u32,
            target: *const u8,
            target_length: usize,
            message: *const u8,
            message_length: usize,
        ),
    >,
    release: Option<unsafe extern "C" fn(user_data: *mut c_void)>,
    user_data: *mut c_void,
    min_level: u32,
    sink: *mut *mut StellaLogSink,
) -> *mut StellaError {
    fallible(None, || {
        // SAFETY: this function's contract.
        let out = unsafe { args::required_mut(sink, "sink") }?;
        let write = write.ok_or_else(|| args::null("write"))?;
        let release = release.ok_or_else(|| args::null("release"))?;
        let sink = Arc::new(LogSink { write, release, user_data, min_level });
        *out = StellaLogSink { sink }.into_raw();
        Ok(())
    })
}

/// Frees the handle of a sink. Models that were opened with it continue to log to it. Null is allowed.
///
/// # Safety
/// `sink` is null or a sink that was not freed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_log_sink_free(sink: *mut StellaLogSink) {
    // SAFETY: this function's contract.
    infallible(|| drop(unsafe { StellaLogSink::from_raw(sink) }));
}

/// Returns the sink of a handle, or `None` for null.
///
/// # Safety
/// `sink` is null or a sink that was not freed.
pub(crate) unsafe fn optional(sink: *const StellaLogSink) -> stella_core::Result<Option<Arc<LogSink>>> {
    if sink.is_null() {
        return Ok(None);
    }
    // SAFETY: this function's contract.
    Ok(Some(Arc::clone(&unsafe { args::required(sink, "sink") }?.sink)))
}
