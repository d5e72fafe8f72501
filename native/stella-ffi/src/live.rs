//! The count of live handles, by which a caller can see that it freed what it made.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::boundary::infallible;

/// The kinds of handle that are counted.
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

static LIVE: [AtomicUsize; 5] = [const { AtomicUsize::new(0) }; 5];

/// Counts one live handle from creation to drop.
#[derive(Debug)]
pub(crate) struct Counted(StellaHandleKind);

impl Counted {
    pub(crate) fn new(kind: StellaHandleKind) -> Self {
        LIVE[kind as usize].fetch_add(1, Ordering::Relaxed);
        Self(kind)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        LIVE[self.0 as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

/// Handles of a kind (a value of StellaHandleKind) that were made and not freed, in the whole process.
#[unsafe(no_mangle)]
pub extern "C" fn stella_live_handles(kind: u32) -> usize {
    infallible(|| LIVE.get(kind as usize).map_or(0, |count| count.load(Ordering::Relaxed)))
}
