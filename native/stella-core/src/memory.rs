//! How much memory a model takes, from its configuration alone.

use crate::config::{Architecture, ModelConfig};
use crate::specs::{TensorSpec, encoder_specs};

const F32: u64 = 4;

/// An estimate in bytes, by what the memory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryEstimate {
    /// Encoder, default head and rotary tables, shared by all sessions.
    pub weights: u64,
    /// The tokenizer: vocabulary, merges and their lookup tables.
    pub tokenizer: u64,
    /// The peak of one session that embeds a text of `max_tokens`.
    pub session: u64,
}

impl MemoryEstimate {
    /// The estimate for a model with one session. `tokenizer_bytes` is the size of `tokenizer.json`.
    pub fn new(config: &ModelConfig, head: &[TensorSpec], max_tokens: usize, tokenizer_bytes: u64) -> Self {
        let elements = |specs: &[TensorSpec]| specs.iter().map(|s| s.elements() as u64).sum::<u64>();
        // Sine and cosine for each position; the NTK factor lengthens candle's table.
        let positions = max_tokens as f64 * config.rope_ntk_factor.unwrap_or(1.0);
        let rotary = positions as u64 * config.head_dim() as u64;
        Self {
            weights: F32 * (elements(&encoder_specs(config)) + elements(head) + rotary),
            // Seen for both tokenizers of the family: strings, hash tables and tries take up to eight times
            // the JSON that they were read from.
            tokenizer: 8 * tokenizer_bytes,
            session: Self::candle_session(config, max_tokens as u64),
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.tokenizer + self.session
    }

    /// What candle holds at the peak of a forward over one text of `tokens` tokens: in attention the scores
    /// three times (product, masked, softmax) and the mask with what it is made from; in the feed-forward part
    /// the gated product with its halves. The larger of the two, beside the hidden states.
    fn candle_session(config: &ModelConfig, tokens: u64) -> u64 {
        let (hidden, inner) = (config.hidden_size as u64, config.intermediate_size as u64);
        let mask = 5 * tokens * tokens;
        let attention = 3 * config.heads as u64 * tokens * tokens + 8 * tokens * hidden;
        let inner_copies = match config.architecture {
            Architecture::New => 5,
            Architecture::Qwen2 => 4,
        };
        let feed_forward = tokens * (inner_copies * inner + 3 * hidden);
        F32 * (mask + attention.max(feed_forward) + 3 * tokens * hidden)
    }
}
