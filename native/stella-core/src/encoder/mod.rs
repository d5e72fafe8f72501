//! What every encoder promises.

pub(crate) mod calibration;
pub mod candle_encoder;
pub mod cpu_encoder;
pub(crate) mod cpu_weights;

use std::fmt::Debug;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::base::error::{Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::base::thread_context::{self, ThreadStart};
use crate::text::batch::PackedBatch;

/// Which implementation computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncoderKind {
    /// The project's own kernels for the processor.
    Kernels,
    /// `candle-transformers`' own model: the reference, in 32 bits.
    Candle,
}

impl EncoderKind {
    /// Its name, for logs and for the model's information.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernels => "kernels",
            Self::Candle => "candle",
        }
    }
}

/// Turns packed token ids into hidden states.
///
/// An encoder is the loaded weights and nothing else: it is shared by all sessions, and holds no lock during a forward.
/// What changes during a forward lives in a [`Worker`].
///
/// The hidden states of a text may depend on nothing but its ids: not on the other texts of the batch, its
/// place among them, or the number of threads.
pub trait Encoder: Debug + Send + Sync {
    /// The threads and the memory of one session.
    ///
    /// # Errors
    /// [`Error::ThreadRefused`], [`Error::OutOfMemory`].
    fn worker(&self, options: WorkerOptions) -> Result<Box<dyn Worker>>;
}

/// What a worker is to be able to do.
#[derive(Debug, Clone, Copy)]
pub struct WorkerOptions {
    /// Threads that compute, at least 1.
    pub threads: usize,
    /// Tokens of the largest batch.
    pub max_batch_tokens: usize,
}

/// One session's share of an encoder. One forward at a time.
pub trait Worker: Debug + Send {
    /// Computes the hidden states of every token of `batch`, row-major `[batch.tokens(), hidden_size]`.
    ///
    /// # Errors
    /// [`Error::ForwardFailed`]; [`Error::Cancelled`] soon after `cancel` is set.
    fn forward(&mut self, batch: PackedBatch<'_>, cancel: CancelFlag<'_>) -> Result<&[f32]>;
}

/// What a thread of a worker begins with.
pub(crate) fn thread_start() -> ThreadStart {
    let start = thread_context::capture();
    std::sync::Arc::new(move || {
        start();
        reach(Stage::Thread);
    })
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
