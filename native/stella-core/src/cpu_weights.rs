//! The weights of an encoder on the project's own kernels: each tensor packed into its place.

use stella_kernels::Kernels;
use stella_kernels::activations::Arithmetic;
use stella_kernels::buffer::OutOfMemory;
use stella_kernels::embedding::Embedding;
use stella_kernels::linear::{Gate, Linear, Part};
use stella_kernels::rotary::Rotary;
use stella_kernels::rows::Norm;
use stella_kernels::team::Team;

use crate::config::{Architecture, ModelConfig};
use crate::error::{Error, Result};
use crate::weights::Weights;

/// Everything that a forward reads.
#[derive(Debug)]
pub(crate) struct CpuWeights {
    pub(crate) config: ModelConfig,
    pub(crate) kernels: Kernels,
    pub(crate) arithmetic: Arithmetic,
    /// Tokens that a text may have.
    pub(crate) max_tokens: usize,
    pub(crate) embedding: Embedding,
    /// The row of the token type that every token has.
    pub(crate) token_type: Option<Vec<f32>>,
    /// The norm before the first layer.
    pub(crate) first_norm: NormWeights,
    pub(crate) layers: Vec<Layer>,
    pub(crate) rotary: Rotary,
}

/// One layer. Each half ends with the norm that what comes next begins with.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Queries, keys and values.
    pub(crate) qkv: Linear,
    pub(crate) attention_out: Linear,
    pub(crate) attention_norm: NormWeights,
    pub(crate) up_gate: Linear,
    pub(crate) down: Linear,
    pub(crate) feed_forward_norm: NormWeights,
}

#[derive(Debug)]
pub(crate) struct NormWeights {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    epsilon: f32,
}

impl NormWeights {
    pub(crate) fn norm(&self) -> Norm<'_> {
        Norm { weight: &self.weight, bias: self.bias.as_deref(), epsilon: self.epsilon }
    }
}

impl CpuWeights {
    /// The function on the gate of the feed-forward part.
    pub(crate) fn gate(&self) -> Gate {
        match self.config.architecture {
            Architecture::New => Gate::Gelu,
            Architecture::Qwen2 => Gate::Silu,
        }
    }

    /// Whether a layer goes on with what its norms gave, and not with what went into them.
    pub(crate) fn keeps_norms(&self) -> bool {
        self.config.architecture == Architecture::New
    }

    /// Bytes of memory that the weights take.
    pub(crate) fn bytes(config: &ModelConfig, arithmetic: Arithmetic, max_tokens: usize) -> u64 {
        let (hidden, inner, dim) = (config.hidden_size, config.intermediate_size, config.head_dim());
        let kv = config.kv_heads * dim;
        let norms = 4 * 4 * hidden as u64;
        let layer = Linear::bytes_for(arithmetic, hidden + 2 * kv, hidden, false)
            + Linear::bytes_for(arithmetic, hidden, hidden, false)
            + Linear::bytes_for(arithmetic, inner, hidden, true)
            + Linear::bytes_for(arithmetic, hidden, inner, false)
            + norms;
        let rotary = 4 * (max_tokens * dim) as u64;
        Embedding::bytes_for(arithmetic, config.vocab_size, hidden)
            + norms
            + rotary
            + config.layers as u64 * layer
    }

    pub(crate) fn load(
        config: &ModelConfig,
        kernels: Kernels,
        arithmetic: Arithmetic,
        max_tokens: usize,
        threads: usize,
        weights: &Weights<'_>,
    ) -> Result<Self> {
        let team =
            Team::new(threads, 0, None).map_err(|e| Error::Internal(format!("threads for loading: {e}")))?;
        Loader { config, arithmetic, team, weights }.load(kernels, max_tokens)
    }
}

/// Takes tensors out of files and packs them.
struct Loader<'a> {
    config: &'a ModelConfig,
    arithmetic: Arithmetic,
    team: Team,
    weights: &'a Weights<'a>,
}

impl Loader<'_> {
    fn load(mut self, kernels: Kernels, max_tokens: usize) -> Result<CpuWeights> {
        let config = self.config;
        let rotary = Rotary::new(&frequencies(config), max_tokens).map_err(no_memory)?;
        let (embedding, token_type, first_norm, layers) = match config.architecture {
            Architecture::New => {
                let embedding = self.embedding("new.embeddings.word_embeddings.weight")?;
                let mut types = self.take("new.embeddings.token_type_embeddings.weight")?;
                types.truncate(config.hidden_size);
                let first = self.norm("new.embeddings.LayerNorm")?;
                let layers = (0..config.layers).map(|i| self.new_layer(&format!("new.encoder.layer.{i}")));
                (embedding, Some(types), first, layers.collect::<Result<Vec<_>>>()?)
            }
            Architecture::Qwen2 => {
                let embedding = self.embedding("model.embed_tokens.weight")?;
                let first = self.norm("model.layers.0.input_layernorm")?;
                let layers = (0..config.layers).map(|i| self.qwen2_layer(i));
                (embedding, None, first, layers.collect::<Result<Vec<_>>>()?)
            }
        };
        Ok(CpuWeights {
            config: config.clone(),
            kernels,
            arithmetic: self.arithmetic,
            max_tokens,
            embedding,
            token_type,
            first_norm,
            layers,
            rotary,
        })
    }

    fn new_layer(&mut self, prefix: &str) -> Result<Layer> {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let mut qkv = self.linear(3 * hidden, hidden)?;
        self.pack_with_bias(&mut qkv, 0, &format!("{prefix}.attention.qkv_proj"))?;
        let mut attention_out = self.linear(hidden, hidden)?;
        self.pack_with_bias(&mut attention_out, 0, &format!("{prefix}.attention.o_proj"))?;
        let attention_norm = self.norm(&format!("{prefix}.attn_ln"))?;
        let mut up_gate = Linear::gated(self.arithmetic, inner, hidden).map_err(no_memory)?;
        let both = self.take(&format!("{prefix}.mlp.up_gate_proj.weight"))?;
        let (up, gate) = both.split_at(inner * hidden);
        up_gate.pack(&mut self.team, Part::Up, up);
        up_gate.pack(&mut self.team, Part::Gate, gate);
        let mut down = self.linear(hidden, inner)?;
        self.pack_with_bias(&mut down, 0, &format!("{prefix}.mlp.down_proj"))?;
        let feed_forward_norm = self.norm(&format!("{prefix}.mlp_ln"))?;
        Ok(Layer { qkv, attention_out, attention_norm, up_gate, down, feed_forward_norm })
    }

    fn qwen2_layer(&mut self, i: usize) -> Result<Layer> {
        let (hidden, inner) = (self.config.hidden_size, self.config.intermediate_size);
        let kv = self.config.kv_heads * self.config.head_dim();
        let prefix = format!("model.layers.{i}");
        let mut qkv = self.linear(hidden + 2 * kv, hidden)?;
        for (name, first) in [("q", 0), ("k", hidden), ("v", hidden + kv)] {
            self.pack_with_bias(&mut qkv, first, &format!("{prefix}.self_attn.{name}_proj"))?;
        }
        let mut attention_out = self.linear(hidden, hidden)?;
        self.pack(&mut attention_out, Part::From(0), &format!("{prefix}.self_attn.o_proj.weight"))?;
        let attention_norm = self.norm(&format!("{prefix}.post_attention_layernorm"))?;
        let mut up_gate = Linear::gated(self.arithmetic, inner, hidden).map_err(no_memory)?;
        self.pack(&mut up_gate, Part::Gate, &format!("{prefix}.mlp.gate_proj.weight"))?;
        self.pack(&mut up_gate, Part::Up, &format!("{prefix}.mlp.up_proj.weight"))?;
        let mut down = self.linear(hidden, inner)?;
        self.pack(&mut down, Part::From(0), &format!("{prefix}.mlp.down_proj.weight"))?;
        // The next layer's norm, or the one behind the last.
        let next = i + 1;
        let feed_forward_norm = if next < self.config.layers {
            self.norm(&format!("model.layers.{next}.input_layernorm"))?
        } else {
            self.norm("model.norm")?
        };
        Ok(Layer { qkv, attention_out, attention_norm, up_gate, down, feed_forward_norm })
    }

    fn take(&self, name: &str) -> Result<Vec<f32>> {
        self.weights.tensor(name).map(|(_, numbers)| numbers)
    }

    fn embedding(&self, name: &str) -> Result<Embedding> {
        let (rows, width) = (self.config.vocab_size, self.config.hidden_size);
        let mut embedding = Embedding::new(self.arithmetic, rows, width).map_err(no_memory)?;
        embedding.set(&self.take(name)?);
        Ok(embedding)
    }

    fn norm(&self, prefix: &str) -> Result<NormWeights> {
        let weight = self.take(&format!("{prefix}.weight"))?;
        let bias = match self.config.architecture {
            Architecture::New => Some(self.take(&format!("{prefix}.bias"))?),
            Architecture::Qwen2 => None,
        };
        Ok(NormWeights { weight, bias, epsilon: self.config.norm_eps as f32 })
    }

    fn linear(&self, outputs: usize, inputs: usize) -> Result<Linear> {
        Linear::new(self.arithmetic, outputs, inputs).map_err(no_memory)
    }

    fn pack(&mut self, layer: &mut Linear, part: Part, name: &str) -> Result<()> {
        let rows = self.take(name)?;
        layer.pack(&mut self.team, part, &rows);
        Ok(())
    }

    fn pack_with_bias(&mut self, layer: &mut Linear, first: usize, prefix: &str) -> Result<()> {
        self.pack(layer, Part::From(first), &format!("{prefix}.weight"))?;
        layer.set_bias(first, &self.take(&format!("{prefix}.bias"))?);
        Ok(())
    }
}

/// Radians that each pair of a head turns by from one position to the next.
fn frequencies(config: &ModelConfig) -> Vec<f64> {
    let dim = config.head_dim();
    // NTK scaling raises the base and slows all pairs down.
    let (base, slower) = match config.rope_ntk_factor {
        Some(factor) => (config.rope_theta * factor, factor.powf(2.0 / dim as f64)),
        None => (config.rope_theta, 1.0),
    };
    (0..dim / 2).map(|i| 1.0 / base.powf(2.0 * i as f64 / dim as f64) / slower).collect()
}

pub(crate) fn no_memory(error: OutOfMemory) -> Error {
    Error::OutOfMemory { what: "the encoder".to_owned(), bytes: error.bytes }
}
