//! The table of tensor names and shapes of Stella 400M and Stella 1.5B, and of the heads.
//!
//! Loading, checking and the memory estimate read this table. Stella 400M (`NewModel`, 24 layers) has these tensors; `H` is
//! the hidden size, `I` the intermediate size, `V` the vocabulary, `T` the number of token types. Every name begins with
//! `new.`:
//!
//! | tensor | shape |
//! | --- | --- |
//! | `embeddings.word_embeddings.weight` | `[V, H]` |
//! | `embeddings.token_type_embeddings.weight` | `[T, H]` |
//! | `embeddings.LayerNorm.weight`, `.bias` | `[H]` |
//! | `encoder.layer.L.attention.qkv_proj.weight`, `.bias` | `[3H, H]`, `[3H]` |
//! | `encoder.layer.L.attention.o_proj.weight`, `.bias` | `[H, H]`, `[H]` |
//! | `encoder.layer.L.mlp.up_gate_proj.weight` | `[2I, H]` |
//! | `encoder.layer.L.mlp.down_proj.weight`, `.bias` | `[H, I]`, `[H]` |
//! | `encoder.layer.L.attn_ln.weight`, `.bias`, `encoder.layer.L.mlp_ln.weight`, `.bias` | `[H]` |
//!
//! Stella 1.5B (Qwen2) stores queries, keys, values, up and gate as separate tensors, see [`NamingScheme::Qwen2Model`].
//!
//! # Adding an architecture
//!
//! 1. `files/config.rs`: a variant of [`Architecture`], its Python class in `CLASSES`, and its settings in `read`.
//! 2. This file: a [`NamingScheme`] with its tensor names, its prefixes in `Naming::all`, the biases of its norms in
//!    `Architecture::norms_have_bias`, and a `LayerProduct` if it has products that the others do not have.
//! 3. `encoder/cpu_weights.rs`: the gate of its feed-forward block in `gate`, and the order of its norms in `is_post_norm`.
//! 4. `encoder/cpu_encoder.rs`: the forward pass, if it differs beyond the gate and the order of the norms.
//! 5. `encoder/candle_encoder.rs`: the model of candle in `candle_config`.
//! 6. `memory_estimate.rs`: the temporary memory of candle. The memory of the CPU encoder follows from this table.
//! 7. `stella-ffi/src/model.rs`: a value of `StellaArchitecture`, and the same value in the C# enum of this name.
//! 8. stella-kernels, if its gate is neither GELU nor SiLU: `Gate` in `kernel/epilogue.rs`, and the function in `math.rs`.
//! 9. `tests/fixtures`: a tiny model with reference vectors, made by `reference.py`.

use crate::files::config::{Architecture, ModelConfig};
use crate::files::layout::HeadLayout;

/// A tensor that a model must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    /// Its name in the file.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

impl TensorSpec {
    /// Creates a specification.
    pub fn new(name: impl Into<String>, shape: &[usize]) -> Self {
        Self { name: name.into(), shape: shape.to_vec() }
    }

    /// Returns the number of elements. It cannot overflow for shapes that come from a checked configuration.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// A matrix product of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LayerProduct {
    /// Hidden states to queries, keys and values.
    Qkv,
    /// The output of attention to hidden states.
    AttentionOut,
    /// Hidden states to the up projection and the gate of the feed-forward block.
    UpGate,
    /// The gated values to hidden states.
    Down,
}

impl LayerProduct {
    /// All products, in the order of a forward pass.
    pub(crate) const ALL: [Self; 4] = [Self::Qkv, Self::AttentionOut, Self::UpGate, Self::Down];

    /// Returns the number of rows and columns of the weights: `[outputs, inputs]`. The rows of a gated product are those of
    /// the up projection, then as many of the gate.
    pub(crate) fn weight_shape(self, config: &ModelConfig) -> [usize; 2] {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        match self {
            Self::Qkv => [hidden + 2 * config.kv_width(), hidden],
            Self::AttentionOut => [hidden, hidden],
            Self::UpGate => [2 * inner, hidden],
            Self::Down => [hidden, inner],
        }
    }

    /// Returns whether a gate halves the outputs of the product.
    pub(crate) fn is_gated(self) -> bool {
        self == Self::UpGate
    }
}

/// The place of a tensor in the packed weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TensorSlot {
    Embedding,
    TokenType,
    /// The weight of a norm. The norms are numbered as in `CpuWeights::norms`.
    NormWeight(usize),
    /// The bias of a norm.
    NormBias(usize),
    /// Rows of the weights of a layer's product: layer, product, first row.
    Weight(usize, LayerProduct, usize),
    /// A part of the bias of a layer's product: layer, product, first output.
    Bias(usize, LayerProduct, usize),
}

impl TensorSlot {
    /// Returns whether this slot is inside the `rows` rows that begin at the slot `whole`.
    pub(crate) fn is_within(self, whole: Self, rows: usize) -> bool {
        match (self, whole) {
            (Self::Weight(layer, product, first), Self::Weight(whole_layer, whole_product, begin))
            | (Self::Bias(layer, product, first), Self::Bias(whole_layer, whole_product, begin)) => {
                (layer, product) == (whole_layer, whole_product) && (begin..begin + rows).contains(&first)
            }
            _ => self == whole,
        }
    }
}

/// The outputs of a product that one tensor stores.
#[derive(Debug, Clone, Copy)]
enum ProductPart {
    All,
    Queries,
    Keys,
    Values,
    Up,
    Gate,
}

impl ProductPart {
    /// Returns the first row of the product's weights, and the number of rows.
    fn rows(self, product: LayerProduct, config: &ModelConfig) -> (usize, usize) {
        let (hidden, inner, kv) = (config.hidden_size, config.intermediate_size, config.kv_width());
        match self {
            Self::All => (0, product.weight_shape(config)[0]),
            Self::Queries => (0, hidden),
            Self::Keys => (hidden, kv),
            Self::Values => (hidden + kv, kv),
            Self::Up => (0, inner),
            Self::Gate => (inner, inner),
        }
    }
}

/// The way in which a Python class names the tensors of its checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamingScheme {
    /// The class `NewModel`, as published for Stella 400M. Queries, keys and values are one tensor, up and gate another.
    NewModel,
    /// The class `GteModel`, the same architecture in transformers itself. All of them are separate tensors.
    GteModel,
    /// The class `Qwen2Model`, as published for Stella 1.5B. All of them are separate tensors.
    Qwen2Model,
}

/// Whether a product has a bias.
#[derive(Clone, Copy, PartialEq)]
enum Bias {
    Yes,
    No,
}

/// The names of the tensors of a scheme, without the prefix.
struct TensorNames {
    embedding: &'static str,
    token_type: Option<&'static str>,
    /// The norm after the embedding.
    first_norm: Option<&'static str>,
    /// The norm after the last layer.
    last_norm: Option<&'static str>,
    layer: &'static str,
    /// The norms of layer `l`, and their offset from norm `2 * l` in `CpuWeights::norms`.
    norms: [(&'static str, usize); 2],
    /// The tensors of the products of a layer.
    products: &'static [(&'static str, LayerProduct, ProductPart, Bias)],
}

impl NamingScheme {
    fn names(self) -> &'static TensorNames {
        use LayerProduct::{AttentionOut, Down, Qkv, UpGate};
        use ProductPart::{All, Gate, Keys, Queries, Up, Values};
        match self {
            Self::NewModel => &TensorNames {
                embedding: "embeddings.word_embeddings.weight",
                token_type: Some("embeddings.token_type_embeddings.weight"),
                first_norm: Some("embeddings.LayerNorm"),
                last_norm: None,
                layer: "encoder.layer",
                // Post-norm: a norm runs after the block in its name.
                norms: [("attn_ln", 1), ("mlp_ln", 2)],
                products: &[
                    ("attention.qkv_proj", Qkv, All, Bias::Yes),
                    ("attention.o_proj", AttentionOut, All, Bias::Yes),
                    ("mlp.up_gate_proj", UpGate, All, Bias::No),
                    ("mlp.down_proj", Down, All, Bias::Yes),
                ],
            },
            Self::GteModel => &TensorNames {
                embedding: "embeddings.word_embeddings.weight",
                token_type: Some("embeddings.token_type_embeddings.weight"),
                first_norm: Some("embeddings.LayerNorm"),
                last_norm: None,
                layer: "layers",
                norms: [("post_attention_layernorm", 1), ("post_mlp_layernorm", 2)],
                products: &[
                    ("self_attn.q_proj", Qkv, Queries, Bias::Yes),
                    ("self_attn.k_proj", Qkv, Keys, Bias::Yes),
                    ("self_attn.v_proj", Qkv, Values, Bias::Yes),
                    ("self_attn.o_proj", AttentionOut, All, Bias::Yes),
                    ("mlp.up_proj", UpGate, Up, Bias::No),
                    ("mlp.gate_proj", UpGate, Gate, Bias::No),
                    ("mlp.down_proj", Down, All, Bias::Yes),
                ],
            },
            Self::Qwen2Model => &TensorNames {
                embedding: "embed_tokens.weight",
                token_type: None,
                first_norm: None,
                last_norm: Some("norm"),
                layer: "layers",
                // Pre-norm: a norm runs before the block in its name, `post_attention_layernorm` before the feed-forward block.
                norms: [("input_layernorm", 0), ("post_attention_layernorm", 1)],
                products: &[
                    ("self_attn.q_proj", Qkv, Queries, Bias::Yes),
                    ("self_attn.k_proj", Qkv, Keys, Bias::Yes),
                    ("self_attn.v_proj", Qkv, Values, Bias::Yes),
                    ("self_attn.o_proj", AttentionOut, All, Bias::No),
                    ("mlp.up_proj", UpGate, Up, Bias::No),
                    ("mlp.gate_proj", UpGate, Gate, Bias::No),
                    ("mlp.down_proj", Down, All, Bias::No),
                ],
            },
        }
    }
}

/// The names of the tensors of a checkpoint: the scheme, and the prefix of all names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Naming {
    /// The scheme.
    pub scheme: NamingScheme,
    /// The prefix of every name. Empty if the encoder was saved without the model around it.
    pub prefix: &'static str,
}

impl Naming {
    /// Returns every naming of an architecture, beginning with that of the published model.
    pub(crate) fn all(architecture: Architecture) -> &'static [Self] {
        const fn naming(scheme: NamingScheme, prefix: &'static str) -> Naming {
            Naming { scheme, prefix }
        }
        match architecture {
            Architecture::NewModel => {
                &const {
                    [
                        naming(NamingScheme::NewModel, "new."),
                        naming(NamingScheme::NewModel, ""),
                        naming(NamingScheme::GteModel, ""),
                        naming(NamingScheme::GteModel, "gte."),
                    ]
                }
            }
            Architecture::Qwen2 => {
                &const { [naming(NamingScheme::Qwen2Model, "model."), naming(NamingScheme::Qwen2Model, "")] }
            }
        }
    }

    /// Returns the naming of the published model.
    pub fn published(architecture: Architecture) -> Self {
        Self::all(architecture)[0]
    }

    /// Returns whether `name` is a tensor of a layer's product under this naming.
    pub(crate) fn names_product(self, name: &str) -> bool {
        let names = self.scheme.names();
        let layer = name.strip_prefix(self.prefix).and_then(|rest| rest.strip_prefix(names.layer));
        layer.and_then(|rest| rest.strip_prefix('.')).and_then(|rest| rest.split_once('.')).is_some_and(
            |(_, rest)| {
                names
                    .products
                    .iter()
                    .any(|(product, ..)| rest.strip_prefix(product).is_some_and(|end| end.starts_with('.')))
            },
        )
    }

    /// Returns the name of a tensor that every model under this naming has, and no model under another one.
    pub(crate) fn marker_tensor(self) -> String {
        let names = self.scheme.names();
        format!("{}{}.0.{}.weight", self.prefix, names.layer, names.products[0].0)
    }
}

impl Architecture {
    /// Returns whether the norms have a bias: layer norms have one, RMS norms do not.
    pub(crate) fn norms_have_bias(self) -> bool {
        match self {
            Self::NewModel => true,
            Self::Qwen2 => false,
        }
    }
}

/// Returns every tensor of the encoder with its slot in the packed weights.
pub(crate) fn encoder_tensors(config: &ModelConfig, naming: Naming) -> Vec<(TensorSpec, TensorSlot)> {
    let hidden = config.hidden_size;
    let (names, prefix) = (naming.scheme.names(), naming.prefix);
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[usize], slot| {
        tensors.push((TensorSpec::new(format!("{prefix}{name}"), shape), slot));
    };
    add(names.embedding.to_owned(), &[config.vocab_size, hidden], TensorSlot::Embedding);
    if let Some(name) = names.token_type.filter(|_| config.type_vocab_size > 0) {
        add(name.to_owned(), &[config.type_vocab_size, hidden], TensorSlot::TokenType);
    }
    let mut norms = Vec::new();
    norms.extend(names.first_norm.map(|name| (name.to_owned(), 0)));
    for layer in 0..config.layers {
        let layer_name = format!("{}.{layer}", names.layer);
        for &(name, product, part, bias) in names.products {
            let [_, inputs] = product.weight_shape(config);
            let (first, rows) = part.rows(product, config);
            let slot = TensorSlot::Weight(layer, product, first);
            add(format!("{layer_name}.{name}.weight"), &[rows, inputs], slot);
            if bias == Bias::Yes {
                add(format!("{layer_name}.{name}.bias"), &[rows], TensorSlot::Bias(layer, product, first));
            }
        }
        norms.extend(names.norms.map(|(name, offset)| (format!("{layer_name}.{name}"), 2 * layer + offset)));
    }
    norms.extend(names.last_norm.map(|name| (name.to_owned(), 2 * config.layers)));
    for (name, norm) in norms {
        add(format!("{name}.weight"), &[hidden], TensorSlot::NormWeight(norm));
        if config.architecture.norms_have_bias() {
            add(format!("{name}.bias"), &[hidden], TensorSlot::NormBias(norm));
        }
    }
    tensors
}

/// Returns every tensor of the encoder.
pub fn encoder_specs(config: &ModelConfig, naming: Naming) -> Vec<TensorSpec> {
    encoder_tensors(config, naming).into_iter().map(|(spec, _)| spec).collect()
}

/// Returns every tensor of a head.
pub fn head_specs(head: &HeadLayout, hidden_size: usize) -> Vec<TensorSpec> {
    let Some(dense) = &head.dense else { return Vec::new() };
    let mut specs = vec![TensorSpec::new(HEAD_WEIGHT, &[head.dimension, hidden_size])];
    if dense.bias {
        specs.push(TensorSpec::new(HEAD_BIAS, &[head.dimension]));
    }
    specs
}

/// Name of the weights of a head, `[dimension, hidden_size]`.
pub const HEAD_WEIGHT: &str = "linear.weight";
/// Name of the bias of a head, `[dimension]`.
pub const HEAD_BIAS: &str = "linear.bias";
