//! The weights of an encoder on the project's own kernels: each tensor packed into its place.

use std::collections::{HashMap, HashSet};

use stella_kernels::Kernels;
use stella_kernels::activations::Arithmetic;
use stella_kernels::buffer::OutOfMemory;
use stella_kernels::embedding::Embedding;
use stella_kernels::linear::{Gate, Linear};
use stella_kernels::pack::Rows;
use stella_kernels::rotary::Rotary;
use stella_kernels::rows::Norm;
use stella_kernels::team::{Team, TeamError};

use crate::base::error::{Error, Result};
use crate::files::config::{Architecture, ModelConfig};
use crate::session::default_threads;
use crate::weights::tensor_table::{Place, Product, encoder_tensors};
use crate::weights::weight_reader::{LOADING, Take};

/// What weights are loaded for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) kernels: Kernels,
    /// Tokens that a text may have.
    pub(crate) max_tokens: usize,
}

/// Everything that a forward reads.
#[derive(Debug)]
pub(crate) struct CpuWeights {
    pub(crate) config: ModelConfig,
    pub(crate) kernels: Kernels,
    /// Tokens that a text may have.
    pub(crate) max_tokens: usize,
    pub(crate) embedding: Embedding,
    /// The row of the token type that every token has.
    pub(crate) token_type: Option<Vec<f32>>,
    /// The one before the first layer, then two for each: the norm with which what comes after its attention begins, and
    /// the one with which what comes after its feed-forward part begins.
    pub(crate) norms: Vec<NormWeights>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) rotary: Rotary,
}

/// The products of one layer.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Queries, keys and values.
    pub(crate) qkv: Linear,
    pub(crate) attention_out: Linear,
    pub(crate) up_gate: Linear,
    pub(crate) down: Linear,
}

#[derive(Debug)]
pub(crate) struct NormWeights {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    epsilon: f32,
}

impl NormWeights {
    /// With what activations are multiplied by on their way into bytes.
    pub(crate) fn norm<'a>(&'a self, factors: Option<&'a [f32]>) -> Norm<'a> {
        Norm { weight: &self.weight, bias: self.bias.as_deref(), epsilon: self.epsilon, factors }
    }
}

const PRODUCTS: [Product; 4] = [Product::Qkv, Product::AttentionOut, Product::UpGate, Product::Down];

/// The products of a layer whose input comes out of a norm, in the order of the norms.
pub(crate) const BEHIND_NORMS: [Product; 2] = [Product::Qkv, Product::UpGate];

impl Layer {
    fn new(config: &ModelConfig, arithmetic: Arithmetic) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |outputs, inputs| Linear::new(arithmetic, outputs, inputs).map_err(no_memory);
        Ok(Self {
            qkv: linear(hidden + 2 * config.kv_heads * config.head_dim(), hidden)?,
            attention_out: linear(hidden, hidden)?,
            up_gate: Linear::gated(arithmetic, inner, hidden).map_err(no_memory)?,
            down: linear(hidden, inner)?,
        })
    }

    pub(crate) fn product(&self, which: Product) -> &Linear {
        match which {
            Product::Qkv => &self.qkv,
            Product::AttentionOut => &self.attention_out,
            Product::UpGate => &self.up_gate,
            Product::Down => &self.down,
        }
    }

    pub(crate) fn product_mut(&mut self, which: Product) -> &mut Linear {
        match which {
            Product::Qkv => &mut self.qkv,
            Product::AttentionOut => &mut self.attention_out,
            Product::UpGate => &mut self.up_gate,
            Product::Down => &mut self.down,
        }
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

    /// The kinds of numbers that products read.
    pub(crate) fn forms(&self) -> Vec<Arithmetic> {
        let all =
            self.layers.iter().flat_map(|layer| PRODUCTS.map(|which| layer.product(which).arithmetic()));
        all.collect::<HashSet<_>>().into_iter().collect()
    }

    /// Whether a layer goes on with what its norms gave, and not with what went into them.
    pub(crate) fn keeps_norms(&self) -> bool {
        self.config.architecture == Architecture::New
    }

    /// Bytes of memory that the weights take.
    pub(crate) fn bytes(plan: Plan<'_>, arithmetic: Arithmetic) -> u64 {
        let Plan { config, max_tokens, .. } = plan;
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

    /// Packs the tensors that `read` gives, piece by piece as they come. `seen` gets the rows of each product, with the
    /// number of the layer.
    ///
    /// With `factors`, one list for each norm that a product is behind, what these norms give is to be divided by them.
    pub(crate) fn load(
        plan: Plan<'_>,
        arithmetic: Arithmetic,
        factors: &[Vec<f32>],
        read: &dyn Fn(Take<'_>) -> Result<()>,
        seen: &mut dyn FnMut(usize, Product, Rows<'_>),
    ) -> Result<Self> {
        // One thread reads meanwhile.
        let threads = default_threads().saturating_sub(1).max(1);
        let mut team = Team::new(threads, 0, None).map_err(|e| no_team(e, LOADING))?;
        let places: HashMap<_, _> =
            encoder_tensors(plan.config).into_iter().map(|(spec, place)| (spec.name, place)).collect();
        let mut weights = None;
        read(&mut |entry, first, rows| {
            // Only here, because what comes has passed what is to be proven before memory is taken.
            let weights = match &mut weights {
                Some(weights) => weights,
                None => weights.insert(Self::empty(plan, arithmetic, factors)?),
            };
            let place = *places
                .get(&entry.name)
                .ok_or_else(|| Error::Internal(format!("tensor {} has no place", entry.name)))?;
            if let Place::Rows(layer, product, _) = place {
                seen(layer, product, rows);
            }
            weights.put(&mut team, place, first, rows);
            Ok(())
        })?;
        weights.ok_or_else(|| Error::Internal("a model without tensors".to_owned()))
    }

    /// Room for all weights, each zero until it comes.
    fn empty(plan: Plan<'_>, arithmetic: Arithmetic, factors: &[Vec<f32>]) -> Result<Self> {
        let Plan { config, kernels, max_tokens } = plan;
        let hidden = config.hidden_size;
        let is_new = config.architecture == Architecture::New;
        let norm = || NormWeights {
            weight: vec![0.0; hidden],
            bias: is_new.then(|| vec![0.0; hidden]),
            epsilon: config.norm_eps as f32,
        };
        let mut layers: Vec<_> =
            (0..config.layers).map(|_| Layer::new(config, arithmetic)).collect::<Result<_>>()?;
        for (layer, factors) in layers.iter_mut().zip(factors.chunks(BEHIND_NORMS.len())) {
            BEHIND_NORMS
                .iter()
                .zip(factors)
                .for_each(|(&which, f)| layer.product_mut(which).balance(f.clone()));
        }
        Ok(Self {
            config: config.clone(),
            kernels,
            max_tokens,
            embedding: Embedding::new(arithmetic, config.vocab_size, hidden).map_err(no_memory)?,
            token_type: (config.type_vocab_size > 0).then(|| vec![0.0; hidden]),
            norms: (0..=2 * config.layers).map(|_| norm()).collect(),
            layers,
            rotary: Rotary::new(&config.rope.turns(config.head_dim()), max_tokens).map_err(no_memory)?,
        })
    }

    /// Puts rows of a tensor where they belong, from its row `first` on. Vectors come whole.
    fn put(&mut self, team: &mut Team, place: Place, first: usize, rows: Rows<'_>) {
        let vector = || {
            let mut numbers = vec![0.0; rows.len()];
            rows.widen(&mut numbers);
            numbers
        };
        match place {
            Place::Embedding => self.embedding.set(first, rows),
            // Every text is of the first type.
            Place::TokenType if first == 0 => {
                let mut types = vector();
                types.truncate(self.config.hidden_size);
                self.token_type = Some(types);
            }
            Place::TokenType => (),
            Place::NormWeight(at) => self.norms[at].weight = vector(),
            Place::NormBias(at) => self.norms[at].bias = Some(vector()),
            Place::Rows(layer, product, output) => {
                self.layers[layer].product_mut(product).pack(self.kernels, team, output + first, rows);
            }
            Place::Bias(layer, product, output) => {
                self.layers[layer].product_mut(product).set_bias(output, &vector());
            }
        }
    }
}

/// The error for a team that the system refuses. `what` names the purpose of its threads.
pub(crate) fn no_team(error: TeamError, what: &'static str) -> Error {
    match error {
        TeamError::Memory(error) => no_memory(error),
        TeamError::Thread { index, threads, source } => {
            Error::ThreadRefused { what, index, count: threads - 1, source }
        }
    }
}

pub(crate) fn no_memory(error: OutOfMemory) -> Error {
    Error::OutOfMemory { what: "the encoder".to_owned(), bytes: error.bytes }
}
