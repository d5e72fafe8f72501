//! The packed weights of the CPU encoder: embedding, layer products, norms and rotary table.

use std::collections::{HashMap, HashSet};

use stella_kernels::Kernels;
use stella_kernels::arithmetic::Arithmetic;
use stella_kernels::embedding::Embedding;
use stella_kernels::linear::{Gate, Linear};
use stella_kernels::norm::Norm;
use stella_kernels::numbers::Rows;
use stella_kernels::rotary::Rotary;
use stella_kernels::team::Team;

use crate::base::error::{Error, Result, encoder_out_of_memory, team_refused};
use crate::base::limits::default_threads;
use crate::files::config::{Architecture, ModelConfig};
use crate::weights::tensor_table::{LayerProduct, Naming, TensorSlot, encoder_tensors};
use crate::weights::weight_reader::{LOADING, TensorSink};

/// The inputs of packing: the model, the kernels and the token limit.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    pub(crate) config: &'a ModelConfig,
    /// The names of the tensors in the weights files.
    pub(crate) naming: Naming,
    pub(crate) kernels: Kernels,
    /// The largest number of tokens of a text.
    pub(crate) max_tokens: usize,
}

/// The data that a forward pass reads.
#[derive(Debug)]
pub(crate) struct CpuWeights {
    pub(crate) config: ModelConfig,
    pub(crate) kernels: Kernels,
    /// The largest number of tokens of a text.
    pub(crate) max_tokens: usize,
    pub(crate) embedding: Embedding,
    /// Row 0 of the token type table, which is added to the embedding of every token.
    pub(crate) token_type: Option<Vec<f32>>,
    /// `norms[0]` runs before layer 0; `norms[2l + 1]` and `norms[2l + 2]` run after layer l's attention and feed-forward
    /// blocks.
    pub(crate) norms: Vec<NormWeights>,
    pub(crate) layers: Vec<Layer>,
    pub(crate) rotary: Rotary,
}

/// The matrix products of a layer.
#[derive(Debug)]
pub(crate) struct Layer {
    /// Queries, keys and values.
    pub(crate) qkv: Linear,
    pub(crate) attention_out: Linear,
    pub(crate) up_gate: Linear,
    pub(crate) down: Linear,
}

/// The weights of a layer norm, or of an RMS norm if there is no bias.
#[derive(Debug)]
pub(crate) struct NormWeights {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    epsilon: f32,
}

impl NormWeights {
    /// Returns the norm for the kernels. `channel_scales` are the inverse smoothing scales of the next product; the kernels
    /// multiply the output by them.
    pub(crate) fn norm<'a>(&'a self, channel_scales: Option<&'a [f32]>) -> Norm<'a> {
        Norm { weight: &self.weight, bias: self.bias.as_deref(), epsilon: self.epsilon, channel_scales }
    }
}

/// The products of a layer whose input is the output of a norm, in the order of the norms.
pub(crate) const PRODUCTS_AFTER_NORMS: [LayerProduct; 2] = [LayerProduct::Qkv, LayerProduct::UpGate];

/// Returns the outputs and inputs of a product as the kernels count them: a gated product has one output for each pair of
/// rows, of the up projection and of the gate.
fn outputs_and_inputs(config: &ModelConfig, product: LayerProduct) -> (usize, usize) {
    let [rows, inputs] = product.weight_shape(config);
    (if product.is_gated() { rows / 2 } else { rows }, inputs)
}

impl Layer {
    fn new(config: &ModelConfig, arithmetic: Arithmetic) -> Result<Self> {
        let linear = |product: LayerProduct| {
            let (outputs, inputs) = outputs_and_inputs(config, product);
            let linear = if product.is_gated() {
                Linear::gated(arithmetic, outputs, inputs)
            } else {
                Linear::new(arithmetic, outputs, inputs)
            };
            linear.map_err(encoder_out_of_memory)
        };
        Ok(Self {
            qkv: linear(LayerProduct::Qkv)?,
            attention_out: linear(LayerProduct::AttentionOut)?,
            up_gate: linear(LayerProduct::UpGate)?,
            down: linear(LayerProduct::Down)?,
        })
    }

    /// Returns the bytes of the products of a layer.
    fn bytes(config: &ModelConfig, arithmetic: Arithmetic) -> u64 {
        let bytes = |product: LayerProduct| {
            let (outputs, inputs) = outputs_and_inputs(config, product);
            if product.is_gated() {
                Linear::gated_bytes_for(arithmetic, outputs, inputs)
            } else {
                Linear::bytes_for(arithmetic, outputs, inputs)
            }
        };
        LayerProduct::ALL.map(bytes).iter().sum()
    }

    pub(crate) fn product(&self, which: LayerProduct) -> &Linear {
        match which {
            LayerProduct::Qkv => &self.qkv,
            LayerProduct::AttentionOut => &self.attention_out,
            LayerProduct::UpGate => &self.up_gate,
            LayerProduct::Down => &self.down,
        }
    }

    pub(crate) fn product_mut(&mut self, which: LayerProduct) -> &mut Linear {
        match which {
            LayerProduct::Qkv => &mut self.qkv,
            LayerProduct::AttentionOut => &mut self.attention_out,
            LayerProduct::UpGate => &mut self.up_gate,
            LayerProduct::Down => &mut self.down,
        }
    }
}

impl CpuWeights {
    /// Returns the activation function of the gate in the feed-forward block.
    pub(crate) fn gate(&self) -> Gate {
        match self.config.architecture {
            Architecture::NewModel => Gate::Gelu,
            Architecture::Qwen2 => Gate::Silu,
        }
    }

    /// Returns the arithmetics of all products. Each needs activation buffers for its input.
    pub(crate) fn input_arithmetics(&self) -> Vec<Arithmetic> {
        let of_layer = |layer: &Layer| LayerProduct::ALL.map(|which| layer.product(which).arithmetic());
        self.layers.iter().flat_map(of_layer).collect::<HashSet<_>>().into_iter().collect()
    }

    /// Returns whether the residual stream continues with the output of a norm (post-norm). In a pre-norm model it continues
    /// with the input.
    pub(crate) fn is_post_norm(&self) -> bool {
        match self.config.architecture {
            Architecture::NewModel => true,
            Architecture::Qwen2 => false,
        }
    }

    /// Returns the bytes of the weights.
    pub(crate) fn bytes(plan: Plan<'_>, arithmetic: Arithmetic) -> u64 {
        let Plan { config, max_tokens, .. } = plan;
        let hidden = config.hidden_size;
        // Four vectors of f32: the weights and biases of the two norms of a layer. The same size once more covers the norm
        // outside the layers and the token type row.
        let norms = 4 * 4 * hidden as u64;
        let layer = Layer::bytes(config, arithmetic) + norms;
        let rotary = 4 * (max_tokens * config.head_dim()) as u64;
        Embedding::bytes_for(arithmetic, config.vocab_size, hidden)
            + norms
            + rotary
            + config.layers as u64 * layer
    }

    /// Packs the tensors that `read` delivers, piece by piece. Calls `observer` with the layer and the rows of each product.
    ///
    /// `smoothing_scales` has one list for each product of [`PRODUCTS_AFTER_NORMS`] in each layer, or no list.
    pub(crate) fn load(
        plan: Plan<'_>,
        arithmetic: Arithmetic,
        smoothing_scales: &[Vec<f32>],
        read: &dyn Fn(TensorSink<'_>) -> Result<()>,
        observer: &mut dyn FnMut(usize, LayerProduct, Rows<'_>),
    ) -> Result<Self> {
        // One more thread reads the file.
        let threads = default_threads().saturating_sub(1).max(1);
        let mut team = Team::new(threads, 0, None).map_err(|e| team_refused(e, LOADING))?;
        let tensors = encoder_tensors(plan.config, plan.naming);
        let slots: HashMap<_, _> = tensors.into_iter().map(|(spec, slot)| (spec.name, slot)).collect();
        let mut weights = None;
        read(&mut |entry, first, rows| {
            // Allocate only now: a model that is refused before its first piece then costs no memory.
            let weights = match &mut weights {
                Some(weights) => weights,
                None => weights.insert(Self::empty(plan, arithmetic, smoothing_scales)?),
            };
            let slot = *slots
                .get(&entry.name)
                .ok_or_else(|| Error::Internal(format!("The tensor {} has no slot.", entry.name)))?;
            if let TensorSlot::Weight(layer, product, _) = slot {
                observer(layer, product, rows);
            }
            weights.write_rows(&mut team, slot, first, rows);
            Ok(())
        })?;
        weights.ok_or_else(|| Error::Internal("The model has no tensors.".to_owned()))
    }

    /// Allocates all weights, filled with zeros.
    fn empty(plan: Plan<'_>, arithmetic: Arithmetic, smoothing_scales: &[Vec<f32>]) -> Result<Self> {
        let Plan { config, kernels, max_tokens, .. } = plan;
        let hidden = config.hidden_size;
        let norm = || NormWeights {
            weight: vec![0.0; hidden],
            bias: config.architecture.norms_have_bias().then(|| vec![0.0; hidden]),
            epsilon: config.norm_eps as f32,
        };
        let mut layers: Vec<_> =
            (0..config.layers).map(|_| Layer::new(config, arithmetic)).collect::<Result<_>>()?;
        for (layer, scales) in layers.iter_mut().zip(smoothing_scales.chunks(PRODUCTS_AFTER_NORMS.len())) {
            for (&which, scales) in PRODUCTS_AFTER_NORMS.iter().zip(scales) {
                layer.product_mut(which).set_smoothing_scales(scales.clone());
            }
        }
        Ok(Self {
            config: config.clone(),
            kernels,
            max_tokens,
            embedding: Embedding::new(arithmetic, config.vocab_size, hidden)
                .map_err(encoder_out_of_memory)?,
            token_type: (config.type_vocab_size > 0).then(|| vec![0.0; hidden]),
            norms: (0..=2 * config.layers).map(|_| norm()).collect(),
            layers,
            rotary: Rotary::new(&config.rope.inverse_frequencies(config.head_dim()), max_tokens)
                .map_err(encoder_out_of_memory)?,
        })
    }

    /// Writes rows of a tensor to its slot, beginning at row `first` of the tensor. A vector arrives whole, as one row.
    fn write_rows(&mut self, team: &mut Team, slot: TensorSlot, first: usize, rows: Rows<'_>) {
        let vector = || {
            let mut numbers = vec![0.0; rows.len()];
            rows.widen(&mut numbers);
            numbers
        };
        match slot {
            TensorSlot::Embedding => self.embedding.set(first, rows),
            // Every token of a text has type 0.
            TensorSlot::TokenType if first == 0 => {
                let mut token_type = vector();
                token_type.truncate(self.config.hidden_size);
                self.token_type = Some(token_type);
            }
            TensorSlot::TokenType => (),
            TensorSlot::NormWeight(norm) => self.norms[norm].weight = vector(),
            TensorSlot::NormBias(norm) => self.norms[norm].bias = Some(vector()),
            TensorSlot::Weight(layer, product, output) => {
                self.layers[layer].product_mut(product).pack(self.kernels, team, output + first, rows);
            }
            TensorSlot::Bias(layer, product, output) => {
                self.layers[layer].product_mut(product).set_bias(output, &vector());
            }
        }
    }
}
