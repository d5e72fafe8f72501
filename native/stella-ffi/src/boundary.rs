//! The boundary of the library: no panic leaves an export, and every export computes under the default floating-point state.
//!
//! An export runs its body in [`infallible`] or in [`fallible`](crate::error::fallible).
//!
//! # The path of a panic
//! 1. Code below an export panics, on the thread of the caller or on a thread of the library. The panic hook of this module
//!    runs on that thread. It logs the message and a backtrace to the log sink of the model. Panics of other threads of the
//!    process go to the hook that was installed before.
//! 2. On a thread of a session, the team of threads catches the panic, ends the parallel region and raises the panic again on
//!    the thread of the caller. A load does the same for the threads that it starts.
//! 3. [`catch_panic`] stops the panic in the export. Locals on the way were dropped. A session that was in use is poisoned by
//!    its mutex and refuses further calls.
//! 4. `fallible` returns a [`StellaError`](crate::error::StellaError) with the code `Panic`; `infallible` returns the default
//!    value of its type, such as 0.
//! 5. C# throws a `StellaException` with the code `Panic` and disposes the session. The next call starts another session.
//!
//! Some panics are caught earlier, because a model file can cause them: those of the tokenizer library become errors of the
//! tokenizer in stella-core.
//!
//! # Floating-point state
//! A host may have set another rounding mode or flush-to-zero. Every export sets the default and restores the state of the
//! host when it returns.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};

use stella_core::base::fault_injection::{Stage, reach};
use stella_core::base::thread_context::{self, ThreadStart};
use stella_kernels::float_state::DefaultFloats;
use stella_kernels::payload::into_text;

use crate::escape::{Keep, escape};
use crate::log_sink::{self, PANIC_TARGET};

thread_local! {
    /// The number of exports on the stack of this thread; 1 on a thread that the library started. The panic hook reports to
    /// the log only if it is above 0.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// The message of a panic whose payload is not text.
pub(crate) const NO_TEXT: &str = "The panic has a payload that is not text.";

/// Prepares this thread for an export, and restores the thread when it is dropped.
pub(crate) struct Entry {
    // Fields are dropped in this order.
    _depth: Depth,
    _floats: DefaultFloats,
}

impl Entry {
    pub(crate) fn new() -> Self {
        let floats = DefaultFloats::enter();
        Self { _depth: Depth::enter(), _floats: floats }
    }
}

/// Counts an export in [`DEPTH`].
struct Depth;

impl Depth {
    fn enter() -> Self {
        install_hook();
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Depth {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Installs the panic hook, once in the process.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let previous = panic::take_hook();
        panic::set_hook(Box::new(move |report| {
            if DEPTH.get() > 0 {
                let backtrace = std::backtrace::Backtrace::force_capture();
                // The message may quote a model file, so it is escaped. The backtrace names only our own code.
                let text = report.payload_as_str().unwrap_or(NO_TEXT);
                let text = escape(text, Keep::Nothing);
                match report.location() {
                    Some(location) => {
                        ::log::error!(target: PANIC_TARGET, "The library panicked at {location}: {text}\n{backtrace}");
                    }
                    None => ::log::error!(target: PANIC_TARGET, "The library panicked: {text}\n{backtrace}"),
                }
            } else {
                previous(report);
            }
        }));
        thread_context::register(thread_start);
    });
}

/// Returns the start function of a thread that an export starts: the thread counts as inside of an export until it ends, and
/// logs to the sink of that export.
fn thread_start() -> ThreadStart {
    let sink = log_sink::current();
    Arc::new(move || {
        DEPTH.set(1);
        log_sink::set_for_thread(sink.clone());
    })
}

/// Runs an export that reports no errors. Returns the default value of its type after a panic.
pub(crate) fn infallible<T: Default>(body: impl FnOnce() -> T) -> T {
    let _entry = Entry::new();
    catch_panic(body).unwrap_or_else(|payload| {
        drop(into_text(payload));
        T::default()
    })
}

/// Runs the body of an export and catches its panic. Only this function stops panics at the boundary.
///
/// No state that outlives a panic is left half-changed: a session is poisoned by its mutex, and all else is immutable or owned
/// by the call.
pub(crate) fn catch_panic<T>(body: impl FnOnce() -> T) -> std::thread::Result<T> {
    panic::catch_unwind(AssertUnwindSafe(|| {
        reach(Stage::Boundary);
        body()
    }))
}

/// Returns the number of exports on the stack of this thread.
#[cfg(test)]
pub(crate) fn depth() -> u32 {
    DEPTH.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_infallible_export_that_panics_returns_the_default() {
        assert_eq!(infallible(|| -> u32 { panic!("no") }), 0);
        assert_eq!(infallible(|| 3), 3);
        assert_eq!(depth(), 0);
    }
}
