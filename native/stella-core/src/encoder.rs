//! What every encoder promises, and the workspace that it runs in.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::batch::PackedBatch;
use crate::error::{Error, Result};
use crate::fault::{Stage, reach};
use crate::inherit;

/// Turns packed token ids into hidden states.
///
/// An encoder is the loaded weights and nothing else: it is shared by all sessions, takes `&self`, and holds
/// no lock during a forward. What changes during a forward lives in the session's [`Workspace`].
///
/// The hidden states of a text may depend on nothing but its ids: not on the other texts of the batch, its
/// place among them, or the number of threads.
pub trait Encoder: Debug + Send + Sync {
    /// Name of the implementation, for logs and for the model's information.
    fn name(&self) -> &'static str;

    /// Computes the hidden states of every token of `batch` into the workspace, row-major
    /// `[batch.tokens(), hidden_size]`, to be read through [`Workspace::hidden`].
    ///
    /// # Errors
    /// [`Error::ForwardFailed`]; [`Error::Cancelled`] soon after `cancel` is set.
    fn forward(
        &self,
        batch: PackedBatch<'_>,
        workspace: &mut Workspace,
        cancel: CancelFlag<'_>,
    ) -> Result<()>;
}

/// A flag by which another thread stops a forward.
#[derive(Debug, Clone, Copy, Default)]
pub struct CancelFlag<'a>(Option<&'a AtomicU32>);

impl<'a> CancelFlag<'a> {
    /// A flag that is set when `flag` is not zero. `None` is never set.
    pub fn new(flag: Option<&'a AtomicU32>) -> Self {
        Self(flag)
    }

    /// # Errors
    /// [`Error::Cancelled`] when the flag is set.
    pub fn check(self) -> Result<()> {
        match self.0 {
            Some(flag) if flag.load(Ordering::Relaxed) != 0 => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }
}

/// The memory and threads of one session.
#[derive(Debug)]
pub struct Workspace {
    hidden_size: usize,
    hidden: Vec<f32>,
    threads: rayon::ThreadPool,
}

impl Workspace {
    /// A workspace of `threads` threads for hidden states of width `hidden_size`.
    ///
    /// # Errors
    /// [`Error::Internal`] when the system gives no more threads.
    pub fn new(hidden_size: usize, threads: usize) -> Result<Self> {
        let start = inherit::capture();
        let builder = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|n| format!("stella-{n}"))
            .start_handler(move |_| {
                start();
                reach(Stage::Thread);
            });
        // Without a handler rayon ends the process where the start of a thread panics. The thread goes on.
        let builder = builder.panic_handler(|payload| {
            log::error!("a thread of a session panicked at its start");
            // To drop a foreign value could panic again.
            std::mem::forget(payload);
        });
        let threads = builder
            .build()
            .map_err(|e| Error::Internal(format!("{threads} threads could not be started: {e}")))?;
        Ok(Self { hidden_size, hidden: Vec::new(), threads })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads.current_num_threads()
    }

    /// The hidden states of the last forward, row-major `[tokens, hidden_size]`.
    pub fn hidden(&self) -> &[f32] {
        &self.hidden
    }

    /// Room for the hidden states of `tokens` tokens, and the threads that fill it.
    pub fn prepare(&mut self, tokens: usize) -> (&rayon::ThreadPool, &mut [f32]) {
        self.hidden.resize(tokens * self.hidden_size, 0.0);
        (&self.threads, &mut self.hidden)
    }
}
