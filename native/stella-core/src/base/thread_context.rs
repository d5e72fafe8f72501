//! The context that a thread of this crate inherits from the thread that starts it: the log sink, and the receiver of reports
//! about panics. The crate does not know this context. The user of the crate, such as `stella-ffi`, registers how to carry
//! it over.

use std::sync::{Arc, OnceLock};

pub use stella_kernels::team::ThreadStart;

static CAPTURE: OnceLock<fn() -> ThreadStart> = OnceLock::new();

/// Registers how to carry the context of a thread over to the threads that it starts. `capture` runs on the starting thread;
/// the function that it returns runs first on each new thread. Only the first registration in the process counts.
pub fn register(capture: fn() -> ThreadStart) {
    CAPTURE.get_or_init(|| capture);
}

/// Captures the context of the calling thread. The result must run first on each thread that the caller starts.
pub(crate) fn capture() -> ThreadStart {
    CAPTURE.get().map_or_else(|| Arc::new(|| ()) as ThreadStart, |capture| capture())
}
