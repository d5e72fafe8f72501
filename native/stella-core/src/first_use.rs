//! A value that is loaded at its first use and shared.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::base::error::{Error, Result};

/// A value that the first caller loads. Callers that arrive during the load wait for it and share its result. After a failed
/// load, the next caller tries again. A loaded value is read without a lock.
#[derive(Debug)]
pub(crate) struct FirstUse<T> {
    value: OnceLock<T>,
    /// Number of failed loads.
    failures: AtomicU64,
    /// The last failure. The loading caller holds the lock.
    loading: Mutex<Option<Arc<Error>>>,
}

impl<T> FirstUse<T> {
    /// Creates a value that is not loaded yet.
    pub(crate) fn new() -> Self {
        Self { value: OnceLock::new(), failures: AtomicU64::new(0), loading: Mutex::new(None) }
    }

    /// Creates a loaded value.
    pub(crate) fn loaded(value: T) -> Self {
        Self { value: OnceLock::from(value), ..Self::new() }
    }

    /// Returns the value. Calls `load` if it is not loaded yet.
    ///
    /// # Errors
    /// Those of `load`, as [`Error::Shared`].
    pub(crate) fn get_or_load(&self, load: impl FnOnce() -> Result<T>) -> Result<&T> {
        if let Some(value) = self.value.get() {
            return Ok(value);
        }
        let failures = self.failures.load(Ordering::Acquire);
        // If the loading caller panicked, the value is still missing, so the next caller loads it.
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

    /// Gets the value on eight threads at once. Returns their results and the number of loads.
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
    fn waiting_callers_share_a_load_or_its_failure_and_later_callers_try_again() {
        let value = FirstUse::new();
        assert_eq!(ask(&value, || Err(Error::Cancelled)), (vec![None; 8], 1));
        assert_eq!(ask(&value, || Ok(7)), (vec![Some(7); 8], 1));
        assert_eq!(ask(&value, || Ok(8)), (vec![Some(7); 8], 0));
        assert_eq!(ask(&FirstUse::loaded(9), || Ok(8)), (vec![Some(9); 8], 0));
    }

    #[test]
    fn the_next_caller_loads_the_value_after_a_panic() {
        let value = FirstUse::<usize>::new();
        let panicked = catch_unwind(AssertUnwindSafe(|| value.get_or_load(|| panic!("no")).is_ok()));
        assert!(panicked.is_err());
        assert_eq!(value.get_or_load(|| Ok(7)).ok(), Some(&7));
    }
}
