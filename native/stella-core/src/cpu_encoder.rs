//! The encoder on the project's own kernels, for the processor.

use std::sync::Arc;

use stella_kernels::Kernels;
use stella_kernels::activations::{Activations, Arithmetic};
use stella_kernels::attention::{self, Attention};
use stella_kernels::buffer::Buffer;
use stella_kernels::linear::{self, Then};
use stella_kernels::team::{Team, TeamError};

use crate::batch::PackedBatch;
use crate::config::ModelConfig;
use crate::cpu_weights::{CpuWeights, Layer, NormWeights, no_memory};
use crate::encoder::{CancelFlag, Encoder, Worker, WorkerOptions, thread_start};
use crate::error::{Error, Result};
use crate::fault::{Stage, reach};
use crate::reading::Take;
use crate::session::default_threads;

/// Packed weights.
#[derive(Debug)]
pub struct CpuEncoder(Arc<CpuWeights>);

impl CpuEncoder {
    /// Takes the weights that `read` gives.
    ///
    /// # Errors
    /// Those of `read`; [`Error::OutOfMemory`].
    pub(crate) fn load(
        config: &ModelConfig,
        kernels: Kernels,
        arithmetic: Arithmetic,
        max_tokens: usize,
        read: impl FnOnce(Take<'_>) -> Result<()>,
    ) -> Result<Self> {
        reach(Stage::Encoder);
        let loaded = CpuWeights::load(config, kernels, arithmetic, max_tokens, default_threads(), read)?;
        Ok(Self(Arc::new(loaded)))
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
struct CpuWorker {
    weights: Arc<CpuWeights>,
    team: Team,
    buffers: Buffers,
}

/// What lies between the stages, a row a token.
#[derive(Debug)]
struct Buffers {
    /// What goes through all layers, and in the end the result.
    x: Buffer<f32>,
    /// The same after a norm.
    normed: Activations,
    qkv: Buffer<f32>,
    attended: Activations,
    gated: Activations,
}

impl CpuWorker {
    fn new(weights: Arc<CpuWeights>, options: WorkerOptions) -> Result<Self> {
        let WorkerOptions { threads, max_batch_tokens: tokens } = options;
        let (config, attention) = (&weights.config, attention(&weights));
        let rows = |width| weights.kernels.activations(weights.arithmetic, tokens, width).map_err(no_memory);
        let numbers = |width: usize| Buffer::zeroed(tokens * width).map_err(no_memory);
        let buffers = Buffers {
            x: numbers(config.hidden_size)?,
            normed: rows(config.hidden_size)?,
            qkv: numbers(attention.inputs())?,
            attended: rows(config.hidden_size)?,
            gated: rows(config.intermediate_size)?,
        };
        let scratch = scratch_words(config, weights.max_tokens);
        let team = Team::new(threads, scratch, Some(thread_start())).map_err(|e| match e {
            TeamError::Memory(e) => no_memory(e),
            TeamError::Thread { ref source, .. } => Error::Internal(format!("{e}: {source}")),
        })?;
        Ok(Self { weights, team, buffers })
    }
}

/// The shape of attention in every layer.
fn attention(weights: &CpuWeights) -> Attention<'_> {
    let config = &weights.config;
    Attention {
        heads: config.heads,
        kv_heads: config.kv_heads,
        head_dim: config.head_dim(),
        rotary: &weights.rotary,
    }
}

/// Memory of its own that a thread needs, in words.
fn scratch_words(config: &ModelConfig, max_tokens: usize) -> usize {
    let attention = attention::scratch(config.head_dim(), max_tokens);
    linear::SCRATCH.max(config.hidden_size).max(attention)
}

/// Bytes of memory that a worker takes once it has run a batch of `tokens` tokens.
pub(crate) fn worker_bytes(
    config: &ModelConfig,
    kernels: Kernels,
    arithmetic: Arithmetic,
    max_tokens: usize,
    tokens: usize,
    threads: usize,
) -> u64 {
    let rows = |width| kernels.activation_bytes(arithmetic, tokens, width);
    let inputs = config.hidden_size + 2 * config.kv_heads * config.head_dim();
    2 * rows(config.hidden_size)
        + rows(config.intermediate_size)
        + 4 * (tokens * (config.hidden_size + inputs)) as u64
        + 4 * (threads * scratch_words(config, max_tokens)) as u64
}

impl Worker for CpuWorker {
    fn forward(&mut self, batch: PackedBatch<'_>, cancel: CancelFlag<'_>) -> Result<&[f32]> {
        reach(Stage::Forward);
        let Self { weights, team, buffers } = self;
        let hidden = batch.tokens() * weights.config.hidden_size;
        let x = &mut buffers.x[..hidden];
        weights.embedding.look_up(batch.ids(), weights.token_type.as_deref(), x);
        let (kernels, keep) = (weights.kernels, weights.keeps_norms());
        kernels.normalize(team, weights.norms[0].norm(), x, keep, Some(&mut buffers.normed));
        for (i, layer) in weights.layers.iter().enumerate() {
            cancel.check()?;
            let last = i + 1 == weights.layers.len();
            let norms = [&weights.norms[2 * i + 1], &weights.norms[2 * i + 2]];
            run_layer(weights, layer, norms, last, team, buffers, batch);
        }
        Ok(&buffers.x[..hidden])
    }
}

/// One layer, in place. The last one leaves the result in `x`, and nothing to go on with.
fn run_layer(
    weights: &CpuWeights,
    layer: &Layer,
    norms: [&NormWeights; 2],
    last: bool,
    team: &mut Team,
    buffers: &mut Buffers,
    batch: PackedBatch<'_>,
) {
    let (kernels, keep, rows) = (weights.kernels, weights.keeps_norms(), batch.tokens());
    let Buffers { x, normed, qkv, attended, gated } = buffers;
    let x = &mut x[..rows * weights.config.hidden_size];
    let qkv = &mut qkv[..rows * layer.qkv.outputs()];

    layer.qkv.multiply(kernels, team, normed, rows, Then::Store(qkv));
    attention(weights).attend(kernels, team, qkv, batch.cu_seqlens(), attended);
    kernels.settle(team, attended, rows);
    layer.attention_out.multiply(kernels, team, attended, rows, Then::Add(x));
    kernels.normalize(team, norms[0].norm(), x, keep, Some(normed));

    layer.up_gate.multiply(kernels, team, normed, rows, Then::Gate(weights.gate(), gated));
    kernels.settle(team, gated, rows);
    layer.down.multiply(kernels, team, gated, rows, Then::Add(x));
    let normed = (!last).then_some(normed);
    kernels.normalize(team, norms[1].norm(), x, keep || last, normed);
}
