//! Log records on their way to the callback of a caller.
//!
//! There is no global sink. A sink belongs to the models that were opened with it, and a thread logs to the sink of the
//! model for which it works at the moment. Two models in one process can log to two sinks. Without a sink, records are
//! dropped.

use std::cell::RefCell;
use std::ffi::c_void;
use std::sync::{Arc, Once};

use log::{LevelFilter, Log, Metadata, Record};

use stella_core::base::fault_injection::{Stage, reach};
use stella_kernels::float_state::DefaultFloats;

use crate::escape::{Keep, escape};

/// Target of the records of panics. Only these records have several lines; the message of the panic in them is escaped
/// before it is logged.
pub(crate) const PANIC_TARGET: &str = "stella_interop::panic";

/// Receives a record: user data, level (0 trace, 1 debug, 2 information, 3 warning, 4 error), target and message. Both
/// texts are UTF-8 that is valid during the call.
pub type WriteCallback = unsafe extern "C" fn(*mut c_void, u32, *const u8, usize, *const u8, usize);
/// Receives the user data after the last record.
pub type ReleaseCallback = unsafe extern "C" fn(*mut c_void);

/// The callbacks of a caller. Dropping the last reference calls `release`.
#[derive(Debug)]
pub(crate) struct LogSink {
    pub(crate) write: WriteCallback,
    pub(crate) release: ReleaseCallback,
    pub(crate) user_data: *mut c_void,
    pub(crate) min_level: u32,
}

// SAFETY: the user data is only passed to the callbacks, which any thread may call by the contract of
// `stella_log_sink_new`.
unsafe impl Send for LogSink {}
// SAFETY: as above.
unsafe impl Sync for LogSink {}

impl LogSink {
    fn write(&self, record: &Record<'_>) {
        let level = level_number(record.level());
        reach(Stage::Log);
        let (target, text) = (record.target(), record.args().to_string());
        let keep = if target == PANIC_TARGET { Keep::LineBreaks } else { Keep::Nothing };
        let message = escape(&text, keep);
        // The callback is code of the host and may return with another floating-point state.
        let _floats = DefaultFloats::enter();
        // SAFETY: both texts outlive the call, and `user_data` is released only in `drop`. Any thread may call the
        // callback by the contract of `stella_log_sink_new`.
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
        // SAFETY: no reference is left, so no `write` runs or will run. `drop` runs once.
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

/// Sends the records of this thread to a sink until it is dropped.
pub(crate) struct LogScope {
    previous: Option<Arc<LogSink>>,
}

impl LogScope {
    pub(crate) fn enter(sink: Option<Arc<LogSink>>) -> Self {
        install_router();
        Self { previous: CURRENT.replace(sink) }
    }
}

impl Drop for LogScope {
    fn drop(&mut self) {
        // The sink is dropped only after `CURRENT` was written, because its release callback may log or enter another scope.
        let ended = CURRENT.replace(self.previous.take());
        drop(ended);
    }
}

/// Returns the sink of this thread.
pub(crate) fn current() -> Option<Arc<LogSink>> {
    CURRENT.with_borrow(Option::clone)
}

/// Sends the records of this thread to a sink until the thread ends.
pub(crate) fn set_for_thread(sink: Option<Arc<LogSink>>) {
    CURRENT.set(sink);
}

/// The `log` implementation of the process: passes each record to the sink of its thread.
struct Router;

impl Log for Router {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let level = level_number(metadata.level());
        CURRENT.with_borrow(|sink| sink.as_ref().is_some_and(|sink| level >= sink.min_level))
    }

    fn log(&self, record: &Record<'_>) {
        // The tokenizer traces every character. Threads that all count references to one sink would wait for each other.
        if !self.enabled(record.metadata()) {
            return;
        }
        // A clone, so that `CURRENT` is not borrowed while the callback runs: the callback may call this library.
        if let Some(sink) = current() {
            sink.write(record);
        }
    }

    fn flush(&self) {}
}

fn install_router() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // Fails only if the program that links this crate has set a logger; records then go there.
        if log::set_logger(&Router).is_ok() {
            log::set_max_level(LevelFilter::Trace);
        }
    });
}
