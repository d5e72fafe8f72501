//! The encoder on the project's own kernels, for the processor.

use std::sync::Arc;

use stella_kernels::Kernels;
use stella_kernels::activations::{Activations, Arithmetic, ROW_GRANULE};
use stella_kernels::attention::{self, Attention};
use stella_kernels::buffer::Buffer;
use stella_kernels::linear::{self, Linear, Then};
use stella_kernels::team::Team;

use crate::base::error::{Result, no_memory, no_team};
use crate::base::fault_injection::{Stage, reach};
use crate::encoder::cpu_weights::{CpuWeights, Plan};
use crate::encoder::{CancelFlag, Encoder, Worker, WorkerOptions, thread_start};
use crate::files::config::ModelConfig;
use crate::text::batch::PackedBatch;
use crate::weights::tensor_table::LayerProduct;

/// Packed weights.
#[derive(Debug)]
pub struct CpuEncoder(Arc<CpuWeights>);

impl CpuEncoder {
    /// Creates an encoder from packed weights.
    pub(crate) fn new(weights: CpuWeights) -> Self {
        Self(Arc::new(weights))
    }
}

impl Encoder for CpuEncoder {
    fn worker(&self, options: WorkerOptions) -> Result<Box<dyn Worker>> {
        Ok(Box::new(CpuWorker::new(Arc::clone(&self.0), options)?))
    }
}

/// Threads and memory for batches up to a size. Memory is taken from the system when a batch first needs it, and a forward
/// allocates nothing.
#[derive(Debug)]
pub(crate) struct CpuWorker {
    weights: Arc<CpuWeights>,
    team: Team,
    buffers: Buffers,
}

/// What lies between the stages, a row a token.
#[derive(Debug)]
struct Buffers {
    /// What goes through all layers, and in the end the result.
    x: Buffer<f32>,
    /// The same after a norm, which a product reads; and what attention makes of that, when nobody needs it any more.
    normed: Forms,
    /// Queries, keys and values; and in the feed-forward part what waits for a scale.
    wide: Buffer<f32>,
    /// What lies within the feed-forward part, for [`GATED_ROWS`] rows.
    gated: Forms,
}

/// Rows that go through the feed-forward part together. It is the widest, and its rows have nothing to do with each other:
/// so its memory does not grow with the batch. A multiple of what a product works on at a time.
pub(crate) const GATED_ROWS: usize = 384;
const _: () = assert!(GATED_ROWS.is_multiple_of(ROW_GRANULE));

/// Room for rows in each form that a product of the encoder reads. What no product reads is never touched, and costs
/// nothing.
#[derive(Debug)]
struct Forms(Vec<Activations>);

impl Forms {
    fn new(weights: &CpuWeights, rows: usize, width: usize) -> Result<Self> {
        let form = |&arithmetic| weights.kernels.activations(arithmetic, rows, width).map_err(no_memory);
        weights.input_arithmetics().iter().map(form).collect::<Result<_>>().map(Self)
    }

    /// As the product `next` reads it.
    fn of(&mut self, next: &Linear) -> &mut Activations {
        let at = self.0.iter().position(|form| form.arithmetic() == next.arithmetic()).unwrap_or(0);
        &mut self.0[at]
    }
}

impl CpuWorker {
    pub(crate) fn new(weights: Arc<CpuWeights>, options: WorkerOptions) -> Result<Self> {
        let WorkerOptions { threads, max_batch_tokens: tokens } = options;
        let config = &weights.config;
        let buffers = Buffers {
            x: Buffer::zeroed(tokens * config.hidden_size).map_err(no_memory)?,
            normed: Forms::new(&weights, tokens, config.hidden_size)?,
            wide: Buffer::zeroed(wide_numbers(config, weights.kernels, tokens)).map_err(no_memory)?,
            gated: Forms::new(&weights, tokens.min(GATED_ROWS), config.intermediate_size)?,
        };
        let scratch = scratch_words(config, weights.max_tokens);
        let team =
            Team::new(threads, scratch, Some(thread_start())).map_err(|e| no_team(e, "for a session"))?;
        Ok(Self { weights, team, buffers })
    }
}

/// The shape of attention in every layer.
pub(crate) fn attention(weights: &CpuWeights) -> Attention<'_> {
    let config = &weights.config;
    Attention {
        heads: config.heads,
        kv_heads: config.kv_heads,
        head_dim: config.head_dim(),
        rotary: &weights.rotary,
    }
}

/// Numbers that [`Buffers::wide`] holds.
fn wide_numbers(config: &ModelConfig, kernels: Kernels, tokens: usize) -> usize {
    let [qkv, _] = LayerProduct::Qkv.weight_shape(config);
    let rows = tokens.min(GATED_ROWS);
    (tokens * qkv).max(kernels.gate_room(Arithmetic::Int8, rows, config.intermediate_size))
}

/// Memory of its own that a thread needs, in words.
pub(crate) fn scratch_words(config: &ModelConfig, max_tokens: usize) -> usize {
    let attention = attention::scratch(config.head_dim(), max_tokens);
    linear::SCRATCH.max(config.hidden_size).max(attention)
}

/// Bytes of memory that a worker takes once it has run a batch of `tokens` tokens.
pub(crate) fn worker_bytes(plan: Plan<'_>, arithmetic: Arithmetic, tokens: usize, threads: usize) -> u64 {
    let Plan { config, kernels, max_tokens, .. } = plan;
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let rows = |arithmetic| {
        kernels.activation_bytes(arithmetic, tokens, hidden)
            + kernels.activation_bytes(arithmetic, tokens.min(GATED_ROWS), inner)
    };
    let forms = match arithmetic {
        // Some products stay in bfloat16.
        Arithmetic::Int8 => rows(arithmetic) + rows(Arithmetic::Bf16),
        other => rows(other),
    };
    let numbers = tokens * hidden + wide_numbers(config, kernels, tokens);
    forms + 4 * (numbers + threads * scratch_words(config, max_tokens)) as u64
}

impl Worker for CpuWorker {
    fn forward(&mut self, batch: PackedBatch<'_>, cancel: CancelFlag<'_>) -> Result<&[f32]> {
        self.run(batch, cancel, &mut |_, _, _| Ok(()))
    }
}

impl CpuWorker {
    /// A forward. `seen` gets what each product multiplies, with the number of the layer.
    pub(crate) fn run(
        &mut self,
        batch: PackedBatch<'_>,
        cancel: CancelFlag<'_>,
        seen: Seen<'_>,
    ) -> Result<&[f32]> {
        reach(Stage::Forward);
        let Self { weights, team, buffers } = self;
        let hidden = batch.tokens() * weights.config.hidden_size;
        let x = &mut buffers.x[..hidden];
        weights.embedding.look_up(batch.ids(), weights.token_type.as_deref(), x);
        let normed = &mut buffers.normed;
        weights.normalize(team, 0, x, weights.layers.first().map(|layer| (&layer.qkv, normed)));
        for layer in 0..weights.layers.len() {
            cancel.check()?;
            attention_half(weights, layer, team, buffers, batch, seen)?;
            feed_forward_half(weights, layer, team, buffers, batch.tokens(), seen)?;
        }
        Ok(&buffers.x[..hidden])
    }
}

/// Sees what a product of a layer multiplies.
pub(crate) type Seen<'a> = &'a mut dyn FnMut(usize, LayerProduct, &Activations) -> Result<()>;

impl CpuWeights {
    /// Applies a norm to `x`, in place where that is what is gone on with, and makes of it what the product `next` reads.
    fn normalize(&self, team: &mut Team, norm: usize, x: &mut [f32], next: Option<(&Linear, &mut Forms)>) {
        let keep = self.is_post_norm() || next.is_none();
        let (factors, out) = match next {
            Some((product, forms)) => (product.input_factors(), Some(forms.of(product))),
            None => (None, None),
        };
        self.kernels.normalize(team, self.norms[norm].norm(factors), x, keep, out);
    }
}

/// The first half of a layer, in place, and the norm after it.
fn attention_half(
    weights: &CpuWeights,
    number: usize,
    team: &mut Team,
    buffers: &mut Buffers,
    batch: PackedBatch<'_>,
    seen: Seen<'_>,
) -> Result<()> {
    let (kernels, layer, rows) = (weights.kernels, &weights.layers[number], batch.tokens());
    let Buffers { x, normed, wide, .. } = buffers;
    let x = &mut x[..rows * weights.config.hidden_size];
    let qkv = &mut wide[..rows * layer.qkv.outputs()];

    let input = normed.of(&layer.qkv);
    seen(number, LayerProduct::Qkv, input)?;
    layer.qkv.multiply(kernels, team, input, 0..rows, Then::Store(qkv));
    let attended = normed.of(&layer.attention_out);
    attention(weights).attend(kernels, team, qkv, batch.cu_seqlens(), attended);
    seen(number, LayerProduct::AttentionOut, attended)?;
    layer.attention_out.multiply(kernels, team, attended, 0..rows, Then::Add(x));
    weights.normalize(team, 2 * number + 1, x, Some((&layer.up_gate, normed)));
    Ok(())
}

/// The second half of a layer, in place, and the norm after it. The last one leaves the result in `x`, and nothing to go
/// on with.
fn feed_forward_half(
    weights: &CpuWeights,
    number: usize,
    team: &mut Team,
    buffers: &mut Buffers,
    rows: usize,
    seen: Seen<'_>,
) -> Result<()> {
    let (kernels, layer) = (weights.kernels, &weights.layers[number]);
    let next = weights.layers.get(number + 1).map(|layer| &layer.qkv);
    let Buffers { x, normed, wide, gated } = buffers;
    let x = &mut x[..rows * weights.config.hidden_size];

    let (input, gated) = (normed.of(&layer.up_gate), gated.of(&layer.down));
    seen(number, LayerProduct::UpGate, input)?;
    for (block, x) in x.chunks_mut(GATED_ROWS * weights.config.hidden_size).enumerate() {
        let first = block * GATED_ROWS;
        let count = GATED_ROWS.min(rows - first);
        let gate = Then::Gate(weights.gate(), gated, wide);
        layer.up_gate.multiply(kernels, team, input, first..first + count, gate);
        seen(number, LayerProduct::Down, gated)?;
        layer.down.multiply(kernels, team, gated, 0..count, Then::Add(x));
    }
    weights.normalize(team, 2 * number + 2, x, next.map(|next| (next, normed)));
    Ok(())
}
