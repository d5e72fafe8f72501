//! The line that no panic crosses, and behind which numbers are computed as usual. Every export runs inside one of these
//! functions: under the default floating-point state, whatever the host has set, which comes back when the export
//! returns.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, Once};

use stella_core::Result;
use stella_core::base::fault_injection::{Stage, reach};
use stella_core::base::thread_context::{self, ThreadStart};
use stella_kernels::float_state::DefaultFloats;
use stella_kernels::payload::into_text;

use crate::error::StellaError;
use crate::escape::{Keep, escape};
use crate::log::{self, LogScope, LogSink, PANIC_TARGET};

thread_local! {
    /// How many exports this thread is inside of, and one more on a thread of the library's own; only their panics are
    /// ours to report.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// The text of a panic with another value.
const NO_TEXT: &str = "a value that is not text";

/// Marks this thread as inside an export.
struct Inside;

impl Inside {
    fn enter() -> Self {
        install_hook();
        DEPTH.set(DEPTH.get() + 1);
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// Sends the reports of panics inside exports to the log instead of to standard error.
fn install_hook() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |report| {
            if DEPTH.get() > 0 {
                let backtrace = std::backtrace::Backtrace::force_capture();
                // The text of a panic may have a name from a file in it. A backtrace has names of our own code alone, a
                // line each.
                let text = report.payload_as_str().unwrap_or(NO_TEXT);
                let text = escape(text, Keep::Nothing);
                match report.location() {
                    Some(place) => {
                        ::log::error!(target: PANIC_TARGET, "panicked at {place}: {text}\n{backtrace}");
                    }
                    None => ::log::error!(target: PANIC_TARGET, "panicked: {text}\n{backtrace}"),
                }
            } else {
                before(report);
            }
        }));
        thread_context::register(start_inside);
    });
}

/// A thread that an export starts is inside of it for its whole life, and logs where the export does.
fn start_inside() -> ThreadStart {
    let sink = log::current();
    Arc::new(move || {
        DEPTH.set(1);
        log::stay_with(sink.clone());
    })
}

/// Runs a fallible export. `sink` gets what is logged meanwhile.
pub(crate) fn fallible(sink: Option<Arc<LogSink>>, body: impl FnOnce() -> Result<()>) -> *mut StellaError {
    let _floats = DefaultFloats::enter();
    let _inside = Inside::enter();
    let _scope = LogScope::enter(sink);
    // The body holds no state that outlives a panic half-changed: sessions are poisoned by their mutex, and
    // everything else is immutable or owned by the call.
    match guarded(body) {
        Ok(Ok(())) => std::ptr::null_mut(),
        Ok(Err(error)) => StellaError::from_error(&error).into_raw(),
        Err(payload) => {
            StellaError::from_panic(&into_text(payload).unwrap_or_else(|| NO_TEXT.to_owned())).into_raw()
        }
    }
}

/// Runs an export that cannot fail by design; should it panic all the same, it gives the type's default.
pub(crate) fn infallible<T: Default>(body: impl FnOnce() -> T) -> T {
    let _floats = DefaultFloats::enter();
    let _inside = Inside::enter();
    guarded(body).unwrap_or_else(|payload| {
        drop(into_text(payload));
        T::default()
    })
}

/// The one place where panics end.
fn guarded<T>(body: impl FnOnce() -> T) -> std::thread::Result<T> {
    panic::catch_unwind(AssertUnwindSafe(|| {
        reach(Stage::Boundary);
        body()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{stella_error_code, stella_error_free};
    use stella_core::{Error, ErrorCode};

    #[test]
    fn success_is_null_and_failure_is_an_error_with_its_code() {
        assert!(fallible(None, || Ok(())).is_null());
        type Body = fn() -> Result<()>;
        let cases: [(Body, ErrorCode); 3] = [
            (|| Err(Error::Cancelled), ErrorCode::Cancelled),
            (|| panic!("static text"), ErrorCode::Panic),
            (|| panic::panic_any(17), ErrorCode::Panic),
        ];
        for (body, code) in cases {
            let error = fallible(None, body);
            // SAFETY: the error was just made and is freed once.
            unsafe {
                assert_eq!(stella_error_code(error), code as i32);
                stella_error_free(error);
            }
        }
        assert_eq!(DEPTH.get(), 0);
    }

    #[test]
    fn a_panic_in_an_infallible_export_gives_the_default() {
        assert_eq!(infallible(|| -> u32 { panic!("no") }), 0);
        assert_eq!(infallible(|| 3), 3);
    }
}
