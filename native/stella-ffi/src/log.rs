//! Log records to the caller, by way of a callback that it gives.
//!
//! There is no global sink: a sink belongs to the model that was opened with it, and a thread logs to it while
//! it works for that model. So two models in one process log to two places, and without a sink all is silent.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::{Arc, Once};

use log::{LevelFilter, Log, Metadata, Record};

use stella_core::base::fault_injection::{Stage, reach};
use stella_kernels::float_state::DefaultFloats;

use crate::args;
use crate::boundary::{fallible, infallible};
use crate::error::StellaError;
use crate::escape::{Keep, escape};
use crate::live::{Counted, StellaHandleKind};

/// Target of the record of a panic: the one text of several lines, whose foreign parts are escaped before they come here.
pub(crate) const PANIC_TARGET: &str = "stella_interop::panic";

/// Where log records go. Shared by the handle and by every model that was opened with it.
#[derive(Debug)]
pub struct StellaLogSink {
    sink: Arc<LogSink>,
    _counted: Counted,
}

/// Receives a record: user data, level (0 trace, 1 debug, 2 information, 3 warning, 4 error), target and
/// message as UTF-8 that is valid during the call.
pub type WriteCallback = unsafe extern "C" fn(*mut c_void, u32, *const u8, usize, *const u8, usize);
/// Receives the user data when nothing will use it again.
pub type ReleaseCallback = unsafe extern "C" fn(*mut c_void);

#[derive(Debug)]
pub(crate) struct LogSink {
    write: WriteCallback,
    release: ReleaseCallback,
    user_data: *mut c_void,
    min_level: u32,
}

// SAFETY: the user data is only ever handed back to the callbacks, which may be called from any thread by the
// contract of `stella_log_sink_new`.
unsafe impl Send for LogSink {}
// SAFETY: as above.
unsafe impl Sync for LogSink {}

impl LogSink {
    fn write(&self, record: &Record<'_>) {
        let level = level_number(record.level());
        if level < self.min_level {
            return;
        }
        reach(Stage::Log);
        let (target, text) = (record.target(), record.args().to_string());
        let keep = if target == PANIC_TARGET { Keep::LineBreaks } else { Keep::Nothing };
        let message = escape(&text, keep);
        // The callback runs code of the host, which may leave another state behind.
        let _floats = DefaultFloats::enter();
        // SAFETY: both strings outlive the call; the callback may be called from any thread by the contract
        // of `stella_log_sink_new`, and `user_data` was not released, since that happens in `drop`.
        unsafe {
            (self.write)(
                self.user_data,
                level,
                target.as_ptr(),
                target.len(),
                message.as_ptr(),
                message.len(),
            );
        }
    }
}

impl Drop for LogSink {
    fn drop(&mut self) {
        // SAFETY: the last owner is gone, so no `write` runs or will run; called once, here.
        unsafe { (self.release)(self.user_data) }
    }
}

fn level_number(level: log::Level) -> u32 {
    match level {
        log::Level::Trace => 0,
        log::Level::Debug => 1,
        log::Level::Info => 2,
        log::Level::Warn => 3,
        log::Level::Error => 4,
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<LogSink>>> = const { RefCell::new(None) };
}

/// Sends this thread's records to a sink for as long as it lives.
pub(crate) struct LogScope {
    before: Option<Arc<LogSink>>,
}

impl LogScope {
    pub(crate) fn enter(sink: Option<Arc<LogSink>>) -> Self {
        install_router();
        Self { before: CURRENT.replace(sink) }
    }
}

impl Drop for LogScope {
    fn drop(&mut self) {
        // Taken out before it is dropped: the release callback may log or enter a scope of its own.
        let ended = CURRENT.replace(self.before.take());
        drop(ended);
    }
}

/// Where this thread's records go.
pub(crate) fn current() -> Option<Arc<LogSink>> {
    CURRENT.with_borrow(Option::clone)
}

/// Sends this thread's records to a sink for its whole life.
pub(crate) fn stay_with(sink: Option<Arc<LogSink>>) {
    CURRENT.set(sink);
}

/// The process's `log` implementation: looks up the sink of the thread.
struct Router;

impl Log for Router {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        CURRENT.with_borrow(Option::is_some)
    }

    fn log(&self, record: &Record<'_>) {
        // Cloned, so that nothing is borrowed while the callback runs: it may call back into this library.
        if let Some(sink) = current() {
            sink.write(record);
        }
    }

    fn flush(&self) {}
}

fn install_router() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Fails only if this image already has a logger, and then records go there.
        if log::set_logger(&Router).is_ok() {
            log::set_max_level(LevelFilter::Trace);
        }
    });
}

/// Makes a log sink. `write` gets every record of at least `min_level` from any thread that works for a model
/// opened with the sink. `release` gets `user_data` exactly once, after the last `write`, when the sink's
/// handle and every such model are freed. Neither may unwind.
///
/// # Safety
/// `write` and `release` may be called from any thread with `user_data`; `sink` is writable.
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
        let write = write.ok_or_else(|| args::invalid("write is null"))?;
        let release = release.ok_or_else(|| args::invalid("release is null"))?;
        let sink = Arc::new(LogSink { write, release, user_data, min_level });
        let handle = StellaLogSink { sink, _counted: Counted::new(StellaHandleKind::LogSink) };
        *out = Box::into_raw(Box::new(handle));
        Ok(())
    })
}

/// Frees a sink's handle. Models that were opened with it go on logging. Null is allowed.
///
/// # Safety
/// `sink` is null or a sink that was not freed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_log_sink_free(sink: *mut StellaLogSink) {
    infallible(|| {
        if !sink.is_null() {
            // SAFETY: made by `stella_log_sink_new` and, by this function's contract, not freed yet.
            drop(unsafe { Box::from_raw(sink) });
        }
    });
}

/// The sink behind a handle; null is none.
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
