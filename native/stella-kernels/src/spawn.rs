//! The one place that starts threads.
//!
//! A system at its limit refuses a thread: that is an error and never a panic. Every thread computes under the default
//! floating-point state, whatever the thread that starts it has.

use std::io;
use std::thread::{Builder, JoinHandle, Scope, ScopedJoinHandle};

use crate::float_state::DefaultFloats;

/// Starts a thread.
///
/// # Errors
/// The system's when it refuses the thread. `body` was dropped then.
pub fn spawn<T: Send + 'static>(
    name: String,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    permitted()?;
    Builder::new().name(name).spawn(|| under_default_floats(body))
}

/// Starts a thread within a scope.
///
/// # Errors
/// The system's when it refuses the thread. `body` was dropped then.
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

/// Threads that are refused on demand, for tests.
#[cfg(feature = "fault-injection")]
mod refusal {
    use std::io;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    /// Threads until the refused one, itself included; 0 for none.
    static LEFT: AtomicUsize = AtomicUsize::new(0);

    /// Refuses the `nth` thread from now on, counted from 1, in the whole process. Later threads start.
    pub fn refuse(nth: usize) {
        LEFT.store(nth, SeqCst);
    }

    /// Takes a refusal back. Returns whether it was still to come.
    pub fn permit() -> bool {
        LEFT.swap(0, SeqCst) != 0
    }

    pub(super) fn permitted() -> io::Result<()> {
        match LEFT.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)) {
            // The error of Linux at a limit on threads.
            Ok(1) => Err(io::ErrorKind::WouldBlock.into()),
            _ => Ok(()),
        }
    }
}
