//! Panics and delays on demand. Tests check with them that a panic leaves nothing behind and that a slow stage holds up
//! nobody else. Without the feature `fault-injection`, which no shipped library has, [`reach`] is empty.

/// Where a panic can be asked for, in the order in which a text meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Behind the line that no panic crosses, before an export does anything.
    Boundary,
    /// A record on its way to the caller's log.
    Log,
    /// The folder is resolved.
    Folder,
    /// `config.json` is read.
    Config,
    /// The header of a file of weights is read.
    Header,
    /// `tokenizer.json` is read.
    Tokenizer,
    /// Weights are read.
    Read,
    /// What was read is hashed and collected, on a thread of its own.
    Hash,
    /// A file is hashed for the fingerprint.
    Fingerprint,
    /// A file is mapped.
    Map,
    /// The encoder is built.
    Encoder,
    /// A head is loaded.
    Head,
    /// A session is made.
    Session,
    /// A thread of a session begins.
    Thread,
    /// A text becomes tokens.
    Tokenize,
    /// A text is run, on a thread of the session.
    Forward,
    /// Hidden states are averaged.
    Pooling,
    /// Means become vectors.
    Projection,
}

impl Stage {
    /// All of them.
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
/// Called where a stage begins.
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

    /// The next call to reach this stage, on any thread, panics. Later ones do not.
    pub fn arm(stage: Stage) {
        ARMED.store(stage as usize, Ordering::SeqCst);
    }

    /// Takes the panic back that was asked for. Says whether it was still to come.
    pub fn disarm() -> bool {
        ARMED.swap(NONE, Ordering::SeqCst) != NONE
    }

    /// A stage that is held up.
    #[derive(Clone, Copy, PartialEq)]
    enum Held {
        Nothing,
        /// Nobody has reached it yet.
        Awaited(Stage),
        /// A thread has reached it and waits.
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

    /// Holds up one thread at a stage until it is dropped.
    #[derive(Debug)]
    pub struct Hold(());

    /// The next call to reach this stage, on any thread, waits until the result is dropped. Later ones do not.
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

    /// Called where a stage begins.
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
