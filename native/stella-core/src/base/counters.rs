//! Counts of what loading does, for the whole process: how tests and callers see that a refused folder cost nothing
//! and that a model that is opened twice is loaded once.

use std::sync::atomic::{AtomicU64, Ordering};

/// Something that is counted. Counts only rise.
#[derive(Debug)]
pub struct Counter(AtomicU64);

/// Models whose weights were loaded.
pub static LOADS: Counter = Counter::new();
/// Files that were mapped.
pub static MAPS: Counter = Counter::new();
/// Tensors that memory was taken for, to be read into it or copied out of a map; whether that went well or not.
pub static TENSORS: Counter = Counter::new();

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
