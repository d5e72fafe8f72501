//! A value that is loaded at its first use.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::base::error::{Error, Result};

/// A value that is loaded once, by the first caller. Callers that come meanwhile wait and share the outcome; a failed
/// load is tried again by the next caller. A value that is there is read without a lock.
#[derive(Debug)]
pub(crate) struct FirstUse<T> {
    value: OnceLock<T>,
    /// Loads that have failed.
    failures: AtomicU64,
    /// The last failure. Held by the caller that loads.
    loading: Mutex<Option<Arc<Error>>>,
}

impl<T> FirstUse<T> {
    /// A value that is still to be loaded.
    pub(crate) fn new() -> Self {
        Self { value: OnceLock::new(), failures: AtomicU64::new(0), loading: Mutex::new(None) }
    }

    /// A value that is there.
    pub(crate) fn loaded(value: T) -> Self {
        Self { value: OnceLock::from(value), ..Self::new() }
    }

    /// Returns the value, loaded by `load` if it is not there.
    ///
    /// # Errors
    /// Those of `load`, as [`Error::Shared`].
    pub(crate) fn get_or_load(&self, load: impl FnOnce() -> Result<T>) -> Result<&T> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let failures = self.failures.load(Ordering::Acquire);
        // A panic of the caller that loaded left nothing behind: the next one loads.
        let mut last = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        if let Some(failure) = &*last
            && self.failures.load(Ordering::Acquire) != failures
        {
            return Err(Error::Shared(Arc::clone(failure)));
        }
        match load() {
            Ok(value) => Ok(self.value.get_or_init(|| value)),
            Err(error) => {
                let error = Arc::new(error);
                *last = Some(Arc::clone(&error));
                self.failures.fetch_add(1, Ordering::Release);
                Err(Error::Shared(error))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    /// Has eight threads ask at once, and counts their loads.
    fn ask(value: &FirstUse<usize>, load: impl Fn() -> Result<usize> + Sync) -> (Vec<Option<usize>>, usize) {
        let (loads, barrier) = (AtomicUsize::new(0), Barrier::new(8));
        let answers = std::thread::scope(|scope| {
            let ask = || {
                barrier.wait();
                let answer = value.get_or_load(|| {
                    loads.fetch_add(1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(300));
                    load()
                });
                answer.ok().copied()
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        (answers, loads.into_inner())
    }

    #[test]
    fn callers_that_wait_share_a_load_and_its_failure_and_the_next_ones_try_again() {
        let value = FirstUse::new();
        assert_eq!(ask(&value, || Err(Error::Cancelled)), (vec![None; 8], 1));
        assert_eq!(ask(&value, || Ok(7)), (vec![Some(7); 8], 1));
        assert_eq!(ask(&value, || Ok(8)), (vec![Some(7); 8], 0));
        assert_eq!(ask(&FirstUse::loaded(9), || Ok(8)), (vec![Some(9); 8], 0));
    }

    #[test]
    fn a_load_that_panics_leaves_the_value_to_the_next_caller() {
        let value = FirstUse::<usize>::new();
        let panicked = catch_unwind(AssertUnwindSafe(|| value.get_or_load(|| panic!("no")).is_ok()));
        assert!(panicked.is_err());
        assert_eq!(value.get_or_load(|| Ok(7)).ok(), Some(&7));
    }
}
