//! Starts every thread of the library.
//!
//! A system at its limit of threads refuses another thread. The refusal is an error and never a panic. Every thread
//! computes under the default floating-point state, whatever the state of its parent thread.

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use crate::float_state::DefaultFloats;

/// Starts a thread.
///
/// # Errors
/// The system's error when it refuses the thread. `body` is then dropped.
pub fn spawn<T: Send + 'static>(
    name: String,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    permitted()?;
    Builder::new().name(name).spawn(|| under_default_floats(body))
}

/// Starts a thread in a scope.
///
/// # Errors
/// The system's error when it refuses the thread. `body` is then dropped.
pub fn spawn_scoped<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: String,
    body: impl FnOnce() -> T + Send + 'scope,
) -> io::Result<ScopedJoinHandle<'scope, T>> {
    permitted()?;
    Builder::new().name(name).spawn_scoped(scope, || under_default_floats(body))
}

fn under_default_floats<T>(body: impl FnOnce() -> T) -> T {
    let _floats = DefaultFloats::enter();
    body()
}

#[cfg(not(feature = "fault-injection"))]
#[inline(always)]
fn permitted() -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "fault-injection")]
use refusal::permitted;
#[cfg(feature = "fault-injection")]
pub use refusal::{permit, refuse};

/// Refuses threads on demand, for tests.
#[cfg(feature = "fault-injection")]
mod refusal {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    /// Number of threads until the refused thread, including it. With 0 no thread is refused.
    static LEFT: AtomicUsize = AtomicUsize::new(0);

    /// Refuses the `nth` thread from now on, counted from 1, in the whole process. Threads after it start.
    pub fn refuse(nth: usize) {
        LEFT.store(nth, SeqCst);
    }

    /// Cancels the refusal. Returns whether it was still pending.
    pub fn permit() -> bool {
        LEFT.swap(0, SeqCst) != 0
    }

    pub(super) fn permitted() -> io::Result<()> {
        match LEFT.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
            // EAGAIN, the error of Linux at a limit of threads.
            Ok(1) => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }
}
