//! The CPU encoder: the forward pass of Stella 400M and Stella 1.5B on the project's own kernels.
//!
//! `CpuEncoderState::run` runs a forward pass over a packed batch. The files in parentheses are those of the crate
//! `stella-kernels`, with the kernels of the step:
//!
//! 1. Embedding (`embedding.rs`): looks up the row of each token id. Stella 400M adds the row of its token type.
//! 2. First norm (`norm.rs`, `kernel/norm.rs`): `norms[0]`. It is a layer norm in Stella 400M and an RMS norm in Stella
//!    1.5B. Like every norm it also converts its rows to the input of the next layer product: f32, bf16 or quantized int8.
//! 3. For each layer:
//!    1. Cancellation: polls the [`CancelFlag`].
//!    2. Queries, keys and values (`linear.rs`, `tile.rs`): one product for all three.
//!    3. Attention (`attention.rs`, `kernel/attention.rs`): rotates queries and keys by their position (`rotary.rs`). Then
//!       computes scores, softmax (`kernel/softmax.rs`) and the weighted sum of the values, for each text on its own.
//!    4. Attention output (`linear.rs`): multiplies and adds the result to `x`, the residual.
//!    5. Norm `norms[2 * layer + 1]` (`norm.rs`).
//!    6. Feed-forward (`linear.rs`, `kernel/epilogue.rs`): one product for up and gate, whose epilogue applies the gate. The
//!       gate is GELU in Stella 400M (GEGLU) and SiLU in Stella 1.5B (SwiGLU), both in `math.rs`. Then the down product,
//!       which is added to `x`.
//!    7. Norm `norms[2 * layer + 2]` (`norm.rs`). After the last layer, `x` holds the hidden states.
//!
//! Stella 400M is a post-norm model: `x` continues with the normalized values. Stella 1.5B is a pre-norm model: `x`
//! continues with the values before the norm. Pooling and the projection by a head follow in `session.rs`.

use std::sync::Arc;

use stella_kernels::Kernels;
use stella_kernels::activations::{Activations, ROW_GRANULE};
use stella_kernels::arithmetic::Arithmetic;
use stella_kernels::attention::{self, Attention};
use stella_kernels::buffer::Buffer;
use stella_kernels::linear::{self, Epilogue, Linear};
use stella_kernels::norm::Residual;
use stella_kernels::team::Team;

use crate::base::error::{Result, encoder_out_of_memory, team_refused};
use crate::base::fault_injection::{Stage, reach};
use crate::encoder::cpu_weights::{CpuWeights, Plan};
use crate::encoder::{CancelFlag, Encoder, EncoderState, EncoderStateOptions, thread_start};
use crate::files::config::ModelConfig;
use crate::text::batch::PackedBatch;
use crate::weights::tensor_table::LayerProduct;

/// An encoder whose weights are packed for the CPU kernels.
#[derive(Debug)]
pub struct CpuEncoder(Arc<CpuWeights>);

impl CpuEncoder {
    /// Creates an encoder from packed weights.
    pub(crate) fn new(weights: CpuWeights) -> Self {
        Self(Arc::new(weights))
    }
}

impl Encoder for CpuEncoder {
    fn new_state(&self, options: EncoderStateOptions) -> Result<Box<dyn EncoderState>> {
        Ok(Box::new(CpuEncoderState::new(Arc::clone(&self.0), options)?))
    }
}

/// The threads and buffers of one session. The system provides the memory of a buffer when a batch first touches it. A
/// forward pass allocates nothing.
#[derive(Debug)]
pub(crate) struct CpuEncoderState {
    weights: Arc<CpuWeights>,
    team: Team,
    buffers: Buffers,
}

/// The values between the steps of a forward pass, one row per token.
#[derive(Debug)]
struct Buffers {
    /// The residual stream, `[tokens, hidden_size]`. After the last layer it holds the hidden states.
    x: Buffer<f32>,
    /// The output of a norm, which is the input of the next product. Attention writes its output here too, because the
    /// product of queries, keys and values no longer needs its input then.
    normalized: ActivationBuffers,
    /// Queries, keys and values. During the feed-forward block it holds f32 rows until they are complete and quantized.
    wide: Buffer<f32>,
    /// The gated values of the feed-forward block, for [`FEED_FORWARD_ROWS`] rows.
    gated: ActivationBuffers,
}

/// Rows that run through the feed-forward block together. The block is the widest part of a layer, and its rows are
/// independent of each other. So it runs in row blocks, and its memory does not grow with the batch.
pub(crate) const FEED_FORWARD_ROWS: usize = 384;
const _: () = assert!(FEED_FORWARD_ROWS.is_multiple_of(ROW_GRANULE));

/// One activation buffer for each arithmetic that the products of the encoder use. A buffer that no product reads is
/// never touched, so it costs no memory.
#[derive(Debug)]
struct ActivationBuffers(Vec<Activations>);

impl ActivationBuffers {
    fn new(weights: &CpuWeights, rows: usize, width: usize) -> Result<Self> {
        let buffer =
            |&arithmetic| weights.kernels.activations(arithmetic, rows, width).map_err(encoder_out_of_memory);
        weights.input_arithmetics().iter().map(buffer).collect::<Result<_>>().map(Self)
    }

    /// Returns the buffer that the product `next` reads.
    fn for_input_of(&mut self, next: &Linear) -> &mut Activations {
        let at = self.0.iter().position(|buffer| buffer.arithmetic() == next.arithmetic()).unwrap_or(0);
        &mut self.0[at]
    }
}

impl CpuEncoderState {
    pub(crate) fn new(weights: Arc<CpuWeights>, options: EncoderStateOptions) -> Result<Self> {
        let EncoderStateOptions { threads, max_batch_tokens: tokens } = options;
        let config = &weights.config;
        let buffers = Buffers {
            x: Buffer::zeroed(tokens * config.hidden_size).map_err(encoder_out_of_memory)?,
            normalized: ActivationBuffers::new(&weights, tokens, config.hidden_size)?,
            wide: Buffer::zeroed(wide_len(config, weights.kernels, tokens)).map_err(encoder_out_of_memory)?,
            gated: ActivationBuffers::new(&weights, tokens.min(FEED_FORWARD_ROWS), config.intermediate_size)?,
        };
        let scratch = scratch_words(config, weights.max_tokens);
        let team = Team::new(threads, scratch, Some(thread_start()))
            .map_err(|e| team_refused(e, "for a session"))?;
        Ok(Self { weights, team, buffers })
    }
}

/// Returns the attention of a layer; all layers have the same shape.
pub(crate) fn attention(weights: &CpuWeights) -> Attention<'_> {
    let config = &weights.config;
    Attention {
        heads: config.heads,
        kv_heads: config.kv_heads,
        head_dim: config.head_dim(),
        rotary: &weights.rotary,
    }
}

/// Returns the number of elements of [`Buffers::wide`].
fn wide_len(config: &ModelConfig, kernels: Kernels, tokens: usize) -> usize {
    let [qkv, _] = LayerProduct::Qkv.weight_shape(config);
    let rows = tokens.min(FEED_FORWARD_ROWS);
    (tokens * qkv).max(kernels.gate_buffer_len(Arithmetic::Int8, rows, config.intermediate_size))
}

/// Returns the scratch memory of one thread, in words of 4 bytes.
pub(crate) fn scratch_words(config: &ModelConfig, max_tokens: usize) -> usize {
    let attention = attention::scratch(config.head_dim(), max_tokens);
    linear::SCRATCH.max(config.hidden_size).max(attention)
}

/// Returns the bytes that the state of a session occupies once it has run a batch of `tokens` tokens.
pub(crate) fn encoder_state_bytes(
    plan: Plan<'_>,
    arithmetic: Arithmetic,
    tokens: usize,
    threads: usize,
) -> u64 {
    let Plan { config, kernels, max_tokens, .. } = plan;
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let rows = |arithmetic| {
        kernels.activation_bytes(arithmetic, tokens, hidden)
            + kernels.activation_bytes(arithmetic, tokens.min(FEED_FORWARD_ROWS), inner)
    };
    let activations = match arithmetic {
        // The calibration keeps some products in bf16.
        Arithmetic::Int8 => rows(arithmetic) + rows(Arithmetic::Bf16),
        other => rows(other),
    };
    let values = tokens * hidden + wide_len(config, kernels, tokens);
    activations + 4 * (values + threads * scratch_words(config, max_tokens)) as u64
}

impl EncoderState for CpuEncoderState {
    fn forward(&mut self, batch: PackedBatch<'_>, cancel: CancelFlag<'_>) -> Result<&[f32]> {
        self.run(batch, cancel, &mut |_, _, _| Ok(()))
    }
}

impl CpuEncoderState {
    /// Runs a forward pass. Calls `observer` with the layer and the input of each product before the product runs.
    pub(crate) fn run(
        &mut self,
        batch: PackedBatch<'_>,
        cancel: CancelFlag<'_>,
        observer: Observer<'_>,
    ) -> Result<&[f32]> {
        reach(Stage::Forward);
        let Self { weights, team, buffers } = self;
        let values = batch.tokens() * weights.config.hidden_size;
        let x = &mut buffers.x[..values];
        weights.embedding.look_up(batch.ids(), weights.token_type.as_deref(), x);
        let normalized = &mut buffers.normalized;
        weights.apply_norm(team, 0, x, weights.layers.first().map(|layer| (&layer.qkv, normalized)));
        for layer in 0..weights.layers.len() {
            cancel.check()?;
            attention_block(weights, layer, team, buffers, batch, observer)?;
            feed_forward_block(weights, layer, team, buffers, batch.tokens(), observer)?;
        }
        Ok(&buffers.x[..values])
    }
}

/// A callback that gets the number of a layer, one of its products and the input of this product.
pub(crate) type Observer<'a> = &'a mut dyn FnMut(usize, LayerProduct, &Activations) -> Result<()>;

impl CpuWeights {
    /// Applies norm number `norm` to `x` and packs the result as the input of `next`. Post-norm models, and the last norm of
    /// every model, also keep the normalized values in `x`.
    fn apply_norm(
        &self,
        team: &mut Team,
        norm: usize,
        x: &mut [f32],
        next: Option<(&Linear, &mut ActivationBuffers)>,
    ) {
        let residual =
            if self.is_post_norm() || next.is_none() { Residual::Normalized } else { Residual::Unchanged };
        let (channel_scales, out) = match next {
            Some((product, buffers)) => {
                (product.activation_channel_scales(), Some(buffers.for_input_of(product)))
            }
            None => (None, None),
        };
        self.kernels.norm_rows(team, self.norms[norm].norm(channel_scales), x, residual, out);
    }
}

/// Runs attention and its output product of layer `number`, adds the result to `x`, and applies the norm that follows.
fn attention_block(
    weights: &CpuWeights,
    number: usize,
    team: &mut Team,
    buffers: &mut Buffers,
    batch: PackedBatch<'_>,
    observer: Observer<'_>,
) -> Result<()> {
    let (kernels, layer, rows) = (weights.kernels, &weights.layers[number], batch.tokens());
    let Buffers { x, normalized, wide, .. } = buffers;
    let x = &mut x[..rows * weights.config.hidden_size];
    let qkv = &mut wide[..rows * layer.qkv.outputs()];

    let input = normalized.for_input_of(&layer.qkv);
    observer(number, LayerProduct::Qkv, input)?;
    layer.qkv.multiply(kernels, team, input, 0..rows, Epilogue::Store(qkv));
    let attended = normalized.for_input_of(&layer.attention_out);
    attention(weights).attend(kernels, team, qkv, batch.cu_seqlens(), attended);
    observer(number, LayerProduct::AttentionOut, attended)?;
    layer.attention_out.multiply(kernels, team, attended, 0..rows, Epilogue::Add(x));
    weights.apply_norm(team, 2 * number + 1, x, Some((&layer.up_gate, normalized)));
    Ok(())
}

/// Runs the feed-forward block (GEGLU or SwiGLU) of layer `number`, adds the result to `x`, and applies the norm that
/// follows. The norm after the last layer leaves the hidden states in `x` and packs no input.
fn feed_forward_block(
    weights: &CpuWeights,
    number: usize,
    team: &mut Team,
    buffers: &mut Buffers,
    rows: usize,
    observer: Observer<'_>,
) -> Result<()> {
    let (kernels, layer) = (weights.kernels, &weights.layers[number]);
    let next = weights.layers.get(number + 1).map(|layer| &layer.qkv);
    let Buffers { x, normalized, wide, gated } = buffers;
    let x = &mut x[..rows * weights.config.hidden_size];

    let (input, gated) = (normalized.for_input_of(&layer.up_gate), gated.for_input_of(&layer.down));
    observer(number, LayerProduct::UpGate, input)?;
    for (block, x) in x.chunks_mut(FEED_FORWARD_ROWS * weights.config.hidden_size).enumerate() {
        let first = block * FEED_FORWARD_ROWS;
        let count = FEED_FORWARD_ROWS.min(rows - first);
        let gate = Epilogue::Gate(weights.gate(), gated, wide);
        layer.up_gate.multiply(kernels, team, input, first..first + count, gate);
        observer(number, LayerProduct::Down, gated)?;
        layer.down.multiply(kernels, team, gated, 0..count, Epilogue::Add(x));
    }
    weights.apply_norm(team, 2 * number + 2, x, next.map(|next| (next, normalized)));
    Ok(())
}
