//! Fault injection: tests make a stage panic or wait. They check that a panic leaks nothing, and that a slow stage delays no
//! other caller. [`reach`] is empty without the feature `fault-injection`, which no shipped library has.

/// A stage that a test can make panic or wait. The stages are roughly in the order in which a load and a call reach them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// An export begins, inside the boundary that catches panics.
    Boundary,
    /// A record is sent to the log of the caller.
    Log,
    /// The folder is resolved.
    Folder,
    /// `config.json` is read.
    Config,
    /// The header of a weights file is read.
    Header,
    /// `tokenizer.json` is read.
    Tokenizer,
    /// Weights are read.
    Read,
    /// The bytes of a weights file are hashed, on a separate thread.
    Hash,
    /// A file is hashed for the fingerprint.
    Fingerprint,
    /// A file is mapped.
    Map,
    /// The encoder is built.
    Encoder,
    /// A head is loaded.
    Head,
    /// A session is started.
    Session,
    /// A thread of a session begins.
    Thread,
    /// A text is tokenized.
    Tokenize,
    /// The forward pass begins.
    Forward,
    /// Hidden states are pooled.
    Pooling,
    /// Pooled states are projected by a head.
    Projection,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Self; 18] = [
        Self::Boundary,
        Self::Log,
        Self::Folder,
        Self::Config,
        Self::Header,
        Self::Tokenizer,
        Self::Read,
        Self::Hash,
        Self::Fingerprint,
        Self::Map,
        Self::Encoder,
        Self::Head,
        Self::Session,
        Self::Thread,
        Self::Tokenize,
        Self::Forward,
        Self::Pooling,
        Self::Projection,
    ];
}

#[cfg(not(feature = "fault-injection"))]
/// Marks the beginning of a stage. Panics or waits if a test asked for it.
#[inline(always)]
pub fn reach(_: Stage) {}

#[cfg(feature = "fault-injection")]
pub use injected::{Hold, arm, disarm, hold, reach};

#[cfg(feature = "fault-injection")]
mod injected {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

    use super::Stage;

    const NONE: usize = usize::MAX;
    static ARMED: AtomicUsize = AtomicUsize::new(NONE);

    /// Makes the next call that reaches this stage panic, on any thread. Later calls do not panic.
    pub fn arm(stage: Stage) {
        ARMED.store(stage as usize, Ordering::SeqCst);
    }

    /// Cancels the panic that [`arm`] asked for. Returns whether it had not happened yet.
    pub fn disarm() -> bool {
        ARMED.swap(NONE, Ordering::SeqCst) != NONE
    }

    /// The state of the one stage that can be held.
    #[derive(Clone, Copy, PartialEq)]
    enum Held {
        Nothing,
        /// No thread has reached it yet.
        Awaited(Stage),
        /// A thread has reached it and waits there.
        Met,
    }

    static HELD: Mutex<Held> = Mutex::new(Held::Nothing);
    static CHANGED: Condvar = Condvar::new();

    fn held() -> MutexGuard<'static, Held> {
        HELD.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(condition: impl Fn(Held) -> bool) {
        drop(CHANGED.wait_while(held(), |now| condition(*now)).unwrap_or_else(PoisonError::into_inner));
    }

    /// Holds one thread at a stage until this guard is dropped.
    #[derive(Debug)]
    pub struct Hold(());

    /// Makes the next call that reaches this stage wait, on any thread, until the guard is dropped. Later calls do not wait.
    pub fn hold(stage: Stage) -> Hold {
        *held() = Held::Awaited(stage);
        Hold(())
    }

    impl Hold {
        /// Waits until a thread has reached the stage.
        pub fn wait_until_met(&self) {
            wait_while(|now| now != Held::Met);
        }
    }

    impl Drop for Hold {
        fn drop(&mut self) {
            *held() = Held::Nothing;
            CHANGED.notify_all();
        }
    }

    /// Marks the beginning of a stage. Panics or waits if a test asked for it.
    #[allow(clippy::panic)]
    pub fn reach(stage: Stage) {
        let mut now = held();
        let meets = *now == Held::Awaited(stage);
        if meets {
            *now = Held::Met;
            CHANGED.notify_all();
        }
        drop(now);
        if meets {
            wait_while(|now| now == Held::Met);
        }
        if ARMED.compare_exchange(stage as usize, NONE, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            panic!("injected at {stage:?}");
        }
    }
}
