//! What a thread that this crate starts takes over from the thread that starts it: where its log goes, who hears of its
//! panics. The crate does not know what that is; who uses it does.

use std::sync::{Arc, OnceLock};

pub use stella_kernels::team::ThreadStart;

static CAPTURE: OnceLock<fn() -> ThreadStart> = OnceLock::new();

/// Says how to take along what belongs to a thread: `capture` is called on the thread that starts others, and what it
/// gives on each of those. The first to say so is heard, for the whole process.
pub fn by(capture: fn() -> ThreadStart) {
    CAPTURE.get_or_init(|| capture);
}

/// What threads that are started from here are to do first.
pub(crate) fn capture() -> ThreadStart {
    CAPTURE.get().map_or_else(|| Arc::new(|| ()) as ThreadStart, |capture| capture())
}
