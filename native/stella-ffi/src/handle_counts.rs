//! Counts of live handles, so that a caller can check that it freed every handle that it got.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::boundary::infallible;

/// The kinds of handles.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StellaHandleKind {
    /// `StellaModel`
    Model = 0,
    /// `StellaSession`
    Session = 1,
    /// `StellaLogSink`
    LogSink = 2,
    /// `StellaError`
    Error = 3,
    /// `StellaHasher`
    Hasher = 4,
}

/// Live handles, indexed by [`StellaHandleKind`].
static LIVE: [AtomicUsize; 5] = [const { AtomicUsize::new(0) }; 5];

pub(crate) fn increment(kind: StellaHandleKind) {
    LIVE[kind as usize].fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn decrement(kind: StellaHandleKind) {
    LIVE[kind as usize].fetch_sub(1, Ordering::Relaxed);
}

/// Returns the number of live handles of a kind (a value of StellaHandleKind) in the whole process. A handle is live from its
/// `_new` or `_open` until its `_free`. Returns 0 for an unknown kind. Any thread may call it.
#[unsafe(no_mangle)]
pub extern "C" fn stella_live_handles(kind: u32) -> usize {
    infallible(|| LIVE.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed)))
}
