//! The memory estimate of a model, computed from its configuration and the headers of its weights files.

use stella_kernels::arithmetic::Arithmetic;
use stella_kernels::linear::Linear;

use crate::base::error::{Error, Result};
use crate::base::limits::{
    DEFAULT_MAX_BATCH_TOKENS, MAX_MAX_BATCH_TOKENS, MAX_SESSIONS, MAX_THREADS, THREAD_BYTES, default_threads,
};
use crate::encoder::cpu_encoder::encoder_state_bytes;
use crate::encoder::cpu_weights::{CpuWeights, Plan};
use crate::encoder::{EncoderKind, calibration};
use crate::files::config::{Architecture, ModelConfig};
use crate::weights::tensor_table::{LayerProduct, encoder_specs};
use crate::weights::weight_set::LoadMode;

/// Bytes of a 32-bit float.
const F32: u64 = 4;

/// The part of the use of a model on which its memory depends.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Sessions that embed at the same time, 1 to [`MAX_SESSIONS`].
    pub sessions: usize,
    /// Threads of each session; `None` for as many as the process may use.
    pub threads: Option<usize>,
    /// Largest number of tokens of one call; `None` for the default of a session. The estimate uses the token limit of a text
    /// if that is larger.
    pub max_batch_tokens: Option<usize>,
}

impl Default for Workload {
    fn default() -> Self {
        Self { sessions: 1, threads: None, max_batch_tokens: None }
    }
}

impl Workload {
    /// Checks the limits.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`].
    pub(crate) fn check(&self) -> Result<()> {
        let ranges = [
            ("sessions", Some(self.sessions), 1, MAX_SESSIONS),
            ("threads", self.threads, 1, MAX_THREADS),
            ("max_batch_tokens", self.max_batch_tokens, 1, MAX_MAX_BATCH_TOKENS),
        ];
        for (name, number, min, max) in ranges {
            if let Some(n) = number.filter(|n| !(min..=max).contains(n)) {
                return Err(Error::InvalidArgument(format!("{name} is {n}. It must be {min} to {max}.")));
            }
        }
        Ok(())
    }
}

/// A memory estimate in bytes, by purpose. It is meant to be too high rather than too low: above the measured memory, and
/// below twice the measured memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Encoder, default head and rotary tables. All sessions share them.
    pub weights: u64,
    /// The tokenizer: vocabulary, merges and their lookup tables.
    pub tokenizer: u64,
    /// Temporary memory of loading, in addition to the weights.
    pub loading: u64,
    /// The peak of one session that embeds a batch of the longest texts.
    pub session: u64,
    /// Sessions that embed at the same time.
    pub sessions: u64,
}

/// The inputs of an estimate.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes<'a> {
    pub plan: Plan<'a>,
    pub encoder: EncoderKind,
    pub arithmetic: Arithmetic,
    /// Dimension of the default head; 0 for a head without weights.
    pub dimension: usize,
    /// Size of `tokenizer.json`.
    pub tokenizer_bytes: u64,
    /// Whether the weights files are read or mapped.
    pub mode: LoadMode,
    /// Size of the weights files of the encoder.
    pub file_bytes: u64,
    /// Bytes of the pieces of weights files that are in memory at the same time.
    pub piece_bytes: u64,
}

impl MemoryEstimate {
    pub(crate) fn new(sizes: Sizes<'_>, workload: &Workload) -> Self {
        let plan = sizes.plan;
        let Plan { config, max_tokens, .. } = plan;
        let (weights, loading, session) = match sizes.encoder {
            EncoderKind::Kernels => {
                let (weights, loading) = match sizes.arithmetic {
                    Arithmetic::Int8 => calibration::memory(plan),
                    other => (CpuWeights::bytes(plan, other), 0),
                };
                // Unused rest of the last huge page of each buffer.
                (
                    weights + weights / 32,
                    sizes.reading() + loading,
                    kernels_session(plan, sizes.arithmetic, workload),
                )
            }
            EncoderKind::Candle => (
                candle_weights(plan),
                sizes.reading() + candle_loading(config),
                candle_session(config, max_tokens as u64, workload),
            ),
        };
        Self {
            weights: weights + Linear::bytes_for(Arithmetic::F32, sizes.dimension, config.hidden_size),
            // Measured for both tokenizers of the family: strings, hash tables and tries take up to eight times the
            // size of the JSON file.
            tokenizer: 8 * sizes.tokenizer_bytes,
            loading,
            session,
            sessions: workload.sessions as u64,
        }
    }

    /// Returns the larger of the two peaks: at the end of loading, and while all sessions embed.
    pub fn total(&self) -> u64 {
        LIBRARY + self.weights + self.tokenizer + self.loading.max(self.sessions.saturating_mul(self.session))
    }
}

impl Sizes<'_> {
    /// Returns the temporary memory of reading: the pieces, and the mapping from which they are copied.
    fn reading(&self) -> u64 {
        match self.mode {
            LoadMode::Copied => self.piece_bytes,
            LoadMode::Mapped => self.piece_bytes + self.file_bytes,
        }
    }
}

/// Pages of code, the word cache of the tokenizer, and the reserve of the allocator.
const LIBRARY: u64 = 14 << 20;

/// Returns the memory of one session of the CPU encoder: the buffers of a forward pass over the largest batch, the means of
/// its texts, and the scratch memory of each thread.
fn kernels_session(plan: Plan<'_>, arithmetic: Arithmetic, workload: &Workload) -> u64 {
    let threads = workload.threads.unwrap_or_else(default_threads);
    let batch = workload.max_batch_tokens.unwrap_or(DEFAULT_MAX_BATCH_TOKENS).max(plan.max_tokens);
    let means = F32 * (batch.div_ceil(plan.max_tokens) * plan.config.hidden_size) as u64;
    encoder_state_bytes(plan, arithmetic, batch, threads) + means + THREAD_BYTES * threads as u64
}

/// Largest memory that a forward pass of candle leaves in the heap. Larger blocks are mapped, and unmapped when freed.
const HEAP_BLOCKS: u64 = 64 << 20;

/// Returns the memory of candle's weights and of its table of sine and cosine. The NTK factor lengthens the table.
fn candle_weights(plan: Plan<'_>) -> u64 {
    let Plan { config, naming, max_tokens, .. } = plan;
    let elements: u64 = encoder_specs(config, naming).iter().map(|s| s.elements() as u64).sum();
    let positions = max_tokens as f64 * config.rope.ntk_factor(config.head_dim());
    F32 * (elements + positions as u64 * config.head_dim() as u64)
}

/// Returns the temporary memory of building candle's model. For Stella 1.5B, candle joins the weights of queries, keys and
/// values into one tensor, layer by layer.
fn candle_loading(config: &ModelConfig) -> u64 {
    let [rows, columns] = LayerProduct::Qkv.weight_shape(config);
    match config.architecture {
        Architecture::NewModel => 0,
        Architecture::Qwen2 => F32 * (rows * columns) as u64,
    }
}

/// Returns the memory of one session of candle: the hidden states of a batch, their means, and the peak of a forward pass over
/// one text. Attention holds the scores three times (product, masked, softmax) and the mask with its inputs. The feed-forward
/// block holds the gated product with its halves. The larger of the two counts, plus the hidden states.
fn candle_session(config: &ModelConfig, tokens: u64, workload: &Workload) -> u64 {
    let (hidden, inner) = (config.hidden_size as u64, config.intermediate_size as u64);
    let threads = workload.threads.unwrap_or_else(default_threads) as u64;
    let batch = workload.max_batch_tokens.unwrap_or(DEFAULT_MAX_BATCH_TOKENS) as u64;
    let mask = 5 * tokens * tokens;
    let attention = 3 * config.heads as u64 * tokens * tokens + 8 * tokens * hidden;
    let inner_copies = match config.architecture {
        Architecture::NewModel => 5,
        Architecture::Qwen2 => 4,
    };
    let feed_forward = tokens * (inner_copies * inner + 3 * hidden);
    let forward = F32 * (mask + attention.max(feed_forward) + 3 * tokens * hidden);
    // Measured with glibc: freed blocks below its mmap threshold stay in the heap. With several threads, the gaps add up to
    // more than the forward pass itself.
    let in_heap = forward.min(HEAP_BLOCKS);
    let gaps = if threads > 1 { 2 * in_heap } else { in_heap / 4 };
    THREAD_BYTES * threads + forward + gaps + F32 * 2 * batch.max(tokens) * hidden
}
