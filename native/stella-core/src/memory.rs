//! How much memory a model takes, from its configuration and the headers of its files alone.

use stella_kernels::activations::Arithmetic;
use stella_kernels::linear::Linear;

use crate::calibration;
use crate::config::{Architecture, ModelConfig};
use crate::cpu_encoder::encoder_state_bytes;
use crate::cpu_weights::{CpuWeights, Plan};
use crate::encoder::EncoderKind;
use crate::error::{Error, Result};
use crate::session::{DEFAULT_MAX_BATCH_TOKENS, MAX_MAX_BATCH_TOKENS, MAX_THREADS, default_threads};
use crate::specs::encoder_specs;
use crate::weights::LoadMode;

const F32: u64 = 4;

/// The most sessions that are estimated for.
pub const MAX_SESSIONS: usize = 1 << 16;

/// What a model is to do, as far as memory depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// Sessions that embed at once, 1 to [`MAX_SESSIONS`].
    pub sessions: usize,
    /// Threads of each; `None` for as many as the process may use.
    pub threads: Option<usize>,
    /// Tokens that one call may carry; `None` for the default of a session. More where a text may be longer.
    pub max_batch_tokens: Option<usize>,
}

impl Default for Workload {
    fn default() -> Self {
        Self { sessions: 1, threads: None, max_batch_tokens: None }
    }
}

impl Workload {
    /// # Errors
    /// [`Error::InvalidArgument`] for a number that no session could have.
    pub(crate) fn check(&self) -> Result<()> {
        let ranges = [
            ("sessions", Some(self.sessions), 1, MAX_SESSIONS),
            ("threads", self.threads, 1, MAX_THREADS),
            ("max_batch_tokens", self.max_batch_tokens, 1, MAX_MAX_BATCH_TOKENS),
        ];
        for (name, number, least, most) in ranges {
            if let Some(n) = number.filter(|n| !(least..=most).contains(n)) {
                return Err(Error::InvalidArgument(format!("{name} is {n}; it must be {least} to {most}")));
            }
        }
        Ok(())
    }
}

/// An estimate in bytes, by what the memory is for. It is meant to be safe rather than sharp: above what will be
/// measured, and below twice that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Encoder, default head and rotary tables, shared by all sessions.
    pub weights: u64,
    /// The tokenizer: vocabulary, merges and their lookup tables.
    pub tokenizer: u64,
    /// What loading takes beside the weights, and gives back.
    pub loading: u64,
    /// The peak of one session that embeds a batch of texts as long as they may be.
    pub session: u64,
    /// Sessions that embed at once.
    pub sessions: u64,
}

/// What an estimate is made from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sizes<'a> {
    pub plan: Plan<'a>,
    pub encoder: EncoderKind,
    pub arithmetic: Arithmetic,
    /// Length of the vectors of the default head; 0 for one without weights.
    pub dimension: usize,
    /// Size of `tokenizer.json`.
    pub tokenizer_bytes: u64,
    /// How the bytes of the files come into memory.
    pub mode: LoadMode,
    /// Bytes of the files of the encoder.
    pub file_bytes: u64,
    /// Bytes of pieces of the files that are read and not used yet.
    pub under_way: u64,
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
                // What is left of the last large page of each buffer.
                (
                    weights + weights / 32,
                    sizes.reading() + loading,
                    kernels_session(plan, sizes.arithmetic, workload),
                )
            }
            EncoderKind::Candle => (
                candle_weights(config, max_tokens),
                sizes.reading() + candle_loading(config),
                candle_session(config, max_tokens as u64, workload),
            ),
        };
        Self {
            weights: weights + Linear::bytes_for(Arithmetic::F32, sizes.dimension, config.hidden_size, false),
            // Seen for both tokenizers of the family: strings, hash tables and tries take up to eight times
            // the JSON that they were read from.
            tokenizer: 8 * sizes.tokenizer_bytes,
            loading,
            session,
            sessions: workload.sessions as u64,
        }
    }

    /// All of it, at the worse of its two peaks: the end of loading, and all sessions at work.
    pub fn total(&self) -> u64 {
        LIBRARY + self.weights + self.tokenizer + self.loading.max(self.sessions.saturating_mul(self.session))
    }
}

impl Sizes<'_> {
    /// What reading takes: pieces that are under way, beside the map that they are copied from.
    fn reading(&self) -> u64 {
        match self.mode {
            LoadMode::Copied => self.under_way,
            LoadMode::Mapped => self.under_way + self.file_bytes,
        }
    }
}

/// Code that is paged in, words that the tokenizer knows, and what the allocator keeps for itself.
const LIBRARY: u64 = 14 << 20;
/// What one thread takes: its stack, and what the allocator keeps for it.
pub(crate) const THREAD: u64 = 2 << 20;

/// One session on the kernels: what lies between the stages of a forward over the largest batch, the means of its texts,
/// and what each thread works on.
fn kernels_session(plan: Plan<'_>, arithmetic: Arithmetic, workload: &Workload) -> u64 {
    let threads = workload.threads.unwrap_or_else(default_threads);
    let batch = workload.max_batch_tokens.unwrap_or(DEFAULT_MAX_BATCH_TOKENS).max(plan.max_tokens);
    let means = F32 * (batch.div_ceil(plan.max_tokens) * plan.config.hidden_size) as u64;
    encoder_state_bytes(plan, arithmetic, batch, threads) + means + THREAD * threads as u64
}

/// The most that a forward of candle leaves in the heap; larger blocks are mapped, and given back when they are freed.
const HEAP_BLOCKS: u64 = 64 << 20;

/// Candle's weights, and sine and cosine for each position; the NTK factor lengthens its table.
fn candle_weights(config: &ModelConfig, max_tokens: usize) -> u64 {
    let elements: u64 = encoder_specs(config).iter().map(|s| s.elements() as u64).sum();
    let positions = max_tokens as f64 * config.rope.ntk_factor(config.head_dim());
    F32 * (elements + positions as u64 * config.head_dim() as u64)
}

/// What candle copies while it is built: in the 1.5B model the weights of query, key and value become one tensor,
/// layer by layer.
fn candle_loading(config: &ModelConfig) -> u64 {
    let (hidden, kv) = (config.hidden_size as u64, (config.kv_heads * config.head_dim()) as u64);
    match config.architecture {
        Architecture::New => 0,
        Architecture::Qwen2 => F32 * hidden * (hidden + 2 * kv),
    }
}

/// One session on candle: the hidden states of a whole batch and their means, and the peak of a forward over one text.
/// In attention that is the scores three times (product, masked, softmax) and the mask with what it is made from; in
/// the feed-forward part the gated product with its halves. The larger of the two, beside the hidden states.
fn candle_session(config: &ModelConfig, tokens: u64, workload: &Workload) -> u64 {
    let (hidden, inner) = (config.hidden_size as u64, config.intermediate_size as u64);
    let threads = workload.threads.unwrap_or_else(default_threads) as u64;
    let batch = workload.max_batch_tokens.unwrap_or(DEFAULT_MAX_BATCH_TOKENS) as u64;
    let mask = 5 * tokens * tokens;
    let attention = 3 * config.heads as u64 * tokens * tokens + 8 * tokens * hidden;
    let inner_copies = match config.architecture {
        Architecture::New => 5,
        Architecture::Qwen2 => 4,
    };
    let feed_forward = tokens * (inner_copies * inner + 3 * hidden);
    let forward = F32 * (mask + attention.max(feed_forward) + 3 * tokens * hidden);
    // Seen with glibc: blocks that it does not map one by one stay in its heap when they are freed, and where several
    // threads free them, gaps add up to more than the forward itself.
    let in_heap = forward.min(HEAP_BLOCKS);
    let gaps = if threads > 1 { 2 * in_heap } else { in_heap / 4 };
    THREAD * threads + forward + gaps + F32 * 2 * batch.max(tokens) * hidden
}
