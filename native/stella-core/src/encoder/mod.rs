//! The interface of an encoder: a forward pass from packed token ids to hidden states, and the flag for its cancellation.

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

/// An implementation of the forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EncoderKind {
    /// The project's own CPU kernels.
    Kernels,
    /// The unchanged model of `candle-transformers`: the reference, in f32.
    Candle,
}

impl EncoderKind {
    /// Returns the name that logs and the model information show.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kernels => "kernels",
            Self::Candle => "candle",
        }
    }
}

/// Turns packed token ids into hidden states.
///
/// An encoder is immutable: it holds the loaded weights, all sessions share it, and it takes no lock during a forward
/// pass. Everything that a forward pass changes is in an [`EncoderState`].
///
/// The hidden states of a text depend on its token ids only. The other texts of the batch, the position of the text in
/// the batch and the number of threads must not change a bit of them.
pub trait Encoder: Debug + Send + Sync {
    /// Creates the threads and the memory of one session.
    ///
    /// # Errors
    /// [`Error::ThreadRefused`], [`Error::OutOfMemory`].
    fn new_state(&self, options: EncoderStateOptions) -> Result<Box<dyn EncoderState>>;
}

/// The size of an [`EncoderState`].
#[derive(Debug, Clone, Copy)]
pub struct EncoderStateOptions {
    /// Number of computing threads, at least 1.
    pub threads: usize,
    /// Number of tokens of the largest batch.
    pub max_batch_tokens: usize,
}

/// The threads and buffers with which one session runs an [`Encoder`], one forward pass at a time.
pub trait EncoderState: Debug + Send {
    /// Runs a forward pass. Returns the hidden states of every token of `batch`, row-major
    /// `[batch.tokens(), hidden_size]`.
    ///
    /// # Errors
    /// [`Error::ForwardFailed`]; [`Error::Cancelled`] soon after another thread sets `cancel`.
    fn forward(&mut self, batch: PackedBatch<'_>, cancel: CancelFlag<'_>) -> Result<&[f32]>;
}

/// Returns the function that a new thread of an encoder state runs first.
pub(crate) fn thread_start() -> ThreadStart {
    let start = thread_context::capture();
    std::sync::Arc::new(move || {
        start();
        reach(Stage::Thread);
    })
}

/// The cancellation of a forward pass: a number that the encoder polls and that another thread sets.
///
/// The path of a cancellation from .NET to the middle of a forward pass:
///
/// 1. The C# struct of the same name (`Interop/CancelRegistration.cs`) owns the registration with a `CancellationToken`. A
///    callback of the token writes 1 to a pinned `uint`. A pool writes to the flag of a batch when no caller waits for
///    a text of the batch any more.
/// 2. C# passes the address of this number to `stella_session_embed` or `stella_session_embed_tokens` as `cancel`. The
///    FFI crate wraps the address in a `CancelFlag`. A null pointer stands for a flag that is never set.
/// 3. [`Session::embed`](crate::session::Session::embed) passes the flag to [`EncoderState::forward`], which calls
///    [`check`](Self::check) before each layer (the CPU encoder) or each text (candle).
/// 4. A set flag ends the forward pass with [`Error::Cancelled`]. The session can be used for the next call. C# throws
///    `OperationCanceledException`.
///
/// Tokenization and loading do not poll this flag.
#[derive(Debug, Clone, Copy, Default)]
pub struct CancelFlag<'a>(Option<&'a AtomicU32>);

impl<'a> CancelFlag<'a> {
    /// Wraps a number that is 0 until another thread cancels. `None` stands for a flag that is never set.
    pub fn new(flag: Option<&'a AtomicU32>) -> Self {
        Self(flag)
    }

    /// Polls the flag.
    ///
    /// # Errors
    /// [`Error::Cancelled`] if the flag is set.
    pub fn check(self) -> Result<()> {
        match self.0 {
            Some(flag) if flag.load(Ordering::Relaxed) != 0 => Err(Error::Cancelled),
            _ => Ok(()),
        }
    }
}
