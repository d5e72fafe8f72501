//! Process-wide counters of loading. Tests and callers read them to see that a refused folder cost nothing, and that a model
//! that is opened twice is loaded once.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that only rises.
#[derive(Debug)]
pub struct Counter(AtomicU64);

/// Models whose weights were loaded.
pub static LOADS: Counter = Counter::new();
/// Files that were mapped.
pub static MAPS: Counter = Counter::new();
/// Tensors for which a load allocated memory, even if reading or copying the tensor then failed.
pub static TENSORS: Counter = Counter::new();

impl Counter {
    const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn add_one(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// Gets the count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
