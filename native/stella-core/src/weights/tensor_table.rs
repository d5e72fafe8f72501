//! Which tensors a model must have: their names, their shapes, and what each is for.

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
    /// A specification.
    pub fn new(name: impl Into<String>, shape: &[usize]) -> Self {
        Self { name: name.into(), shape: shape.to_vec() }
    }

    /// Number of elements. Cannot overflow for shapes that come from a checked configuration.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// How a checkpoint names its tensors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Of `NewModel`: queries, keys and values are one tensor, and so are the two halves of the gated product.
    New,
    /// Of the same encoder in transformers itself, `GteModel`: each of them is a tensor.
    Gte,
    /// Of `Qwen2Model`: each of them is a tensor.
    Qwen2,
}

/// Which product of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Product {
    /// Queries, keys and values.
    Qkv,
    /// From the result of attention to hidden states.
    AttentionOut,
    /// The two halves of the gated product.
    UpGate,
    /// The gated product becomes hidden states.
    Down,
}

/// The place of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Embedding,
    TokenType,
    NormWeight(usize),
    NormBias(usize),
    /// Rows of a layer's product, from this output on.
    Rows(usize, Product, usize),
    Bias(usize, Product, usize),
}

impl Place {
    /// Whether a tensor of this place is one of those that together fill `rows` rows from another place on.
    pub(crate) fn is_in(self, other: Self, rows: usize) -> bool {
        match (self, other) {
            (Self::Rows(layer, product, first), Self::Rows(other_layer, other_product, begin))
            | (Self::Bias(layer, product, first), Self::Bias(other_layer, other_product, begin)) => {
                (layer, product) == (other_layer, other_product) && (begin..begin + rows).contains(&first)
            }
            _ => self == other,
        }
    }
}

/// Which outputs of a product a tensor holds.
#[derive(Debug, Clone, Copy)]
enum Part {
    All,
    Queries,
    Keys,
    Values,
    Up,
    Gate,
}

/// The names of one dialect, without what they begin with.
struct Names {
    embedding: &'static str,
    token_type: Option<&'static str>,
    /// The norm of what the embedding gives.
    first_norm: Option<&'static str>,
    /// The norm of the result.
    last_norm: Option<&'static str>,
    layer: &'static str,
    /// The norms of a layer, and which they are, counted from twice its number.
    norms: [(&'static str, usize); 2],
    /// The tensors of a layer's products, and whether each has a bias.
    products: &'static [(&'static str, Product, Part, bool)],
}

impl Dialect {
    fn names(self) -> &'static Names {
        match self {
            Self::New => &Names {
                embedding: "embeddings.word_embeddings.weight",
                token_type: Some("embeddings.token_type_embeddings.weight"),
                first_norm: Some("embeddings.LayerNorm"),
                last_norm: None,
                layer: "encoder.layer",
                // Norms follow what they are named after.
                norms: [("attn_ln", 1), ("mlp_ln", 2)],
                products: &[
                    ("attention.qkv_proj", Product::Qkv, Part::All, true),
                    ("attention.o_proj", Product::AttentionOut, Part::All, true),
                    ("mlp.up_gate_proj", Product::UpGate, Part::All, false),
                    ("mlp.down_proj", Product::Down, Part::All, true),
                ],
            },
            Self::Gte => &Names {
                embedding: "embeddings.word_embeddings.weight",
                token_type: Some("embeddings.token_type_embeddings.weight"),
                first_norm: Some("embeddings.LayerNorm"),
                last_norm: None,
                layer: "layers",
                norms: [("post_attention_layernorm", 1), ("post_mlp_layernorm", 2)],
                products: &[
                    ("self_attn.q_proj", Product::Qkv, Part::Queries, true),
                    ("self_attn.k_proj", Product::Qkv, Part::Keys, true),
                    ("self_attn.v_proj", Product::Qkv, Part::Values, true),
                    ("self_attn.o_proj", Product::AttentionOut, Part::All, true),
                    ("mlp.up_proj", Product::UpGate, Part::Up, false),
                    ("mlp.gate_proj", Product::UpGate, Part::Gate, false),
                    ("mlp.down_proj", Product::Down, Part::All, true),
                ],
            },
            Self::Qwen2 => &Names {
                embedding: "embed_tokens.weight",
                token_type: None,
                first_norm: None,
                last_norm: Some("norm"),
                layer: "layers",
                // Norms precede what they are named after.
                norms: [("input_layernorm", 0), ("post_attention_layernorm", 1)],
                products: &[
                    ("self_attn.q_proj", Product::Qkv, Part::Queries, true),
                    ("self_attn.k_proj", Product::Qkv, Part::Keys, true),
                    ("self_attn.v_proj", Product::Qkv, Part::Values, true),
                    ("self_attn.o_proj", Product::AttentionOut, Part::All, false),
                    ("mlp.up_proj", Product::UpGate, Part::Up, false),
                    ("mlp.gate_proj", Product::UpGate, Part::Gate, false),
                    ("mlp.down_proj", Product::Down, Part::All, false),
                ],
            },
        }
    }

    /// A tensor of every model of this dialect and of no other one, without what its name begins with.
    fn mark(self) -> String {
        let names = self.names();
        format!("{}.0.{}.weight", names.layer, names.products[0].0)
    }
}

/// A dialect, and what the names of all tensors begin with: nothing where the encoder was saved without the model around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Naming {
    /// The dialect.
    pub dialect: Dialect,
    /// The beginning of each name.
    pub prefix: &'static str,
}

impl Naming {
    /// Every naming of an architecture, the published models' first.
    pub(crate) fn all(architecture: Architecture) -> &'static [Self] {
        const fn naming(dialect: Dialect, prefix: &'static str) -> Naming {
            Naming { dialect, prefix }
        }
        match architecture {
            Architecture::New => {
                &const {
                    [
                        naming(Dialect::New, "new."),
                        naming(Dialect::New, ""),
                        naming(Dialect::Gte, ""),
                        naming(Dialect::Gte, "gte."),
                    ]
                }
            }
            Architecture::Qwen2 => &const { [naming(Dialect::Qwen2, "model."), naming(Dialect::Qwen2, "")] },
        }
    }

    /// Whether a tensor belongs to a layer of a model that is named so.
    pub(crate) fn owns(self, name: &str) -> bool {
        let names = self.dialect.names();
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

    /// The name of a tensor that is there in every model that is named so, and in no other one.
    pub(crate) fn mark(self) -> String {
        format!("{}{}", self.prefix, self.dialect.mark())
    }
}

/// Inputs of a product, and the outputs that a tensor holds: the first of them and how many.
fn extent(config: &ModelConfig, product: Product, part: Part) -> (usize, usize, usize) {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let kv = config.kv_heads * config.head_dim();
    let (inputs, outputs) = match product {
        Product::Qkv => (hidden, hidden + 2 * kv),
        Product::AttentionOut => (hidden, hidden),
        Product::UpGate => (hidden, 2 * inner),
        Product::Down => (inner, hidden),
    };
    let (first, count) = match part {
        Part::All => (0, outputs),
        Part::Queries => (0, hidden),
        Part::Keys => (hidden, kv),
        Part::Values => (hidden + kv, kv),
        Part::Up => (0, inner),
        Part::Gate => (inner, inner),
    };
    (inputs, first, count)
}

/// Every tensor that the encoder of `config` reads, and where each belongs.
pub(crate) fn encoder_tensors(config: &ModelConfig) -> Vec<(TensorSpec, Place)> {
    let hidden = config.hidden_size;
    let (names, prefix) = (config.naming.dialect.names(), config.naming.prefix);
    let has_norm_bias = config.architecture == Architecture::New;
    let mut tensors = Vec::new();
    let mut add = |name: String, shape: &[usize], place| {
        tensors.push((TensorSpec::new(format!("{prefix}{name}"), shape), place));
    };
    add(names.embedding.to_owned(), &[config.vocab_size, hidden], Place::Embedding);
    if let Some(name) = names.token_type.filter(|_| config.type_vocab_size > 0) {
        add(name.to_owned(), &[config.type_vocab_size, hidden], Place::TokenType);
    }
    let mut norms = Vec::new();
    norms.extend(names.first_norm.map(|name| (name.to_owned(), 0)));
    for layer in 0..config.layers {
        let layer_name = format!("{}.{layer}", names.layer);
        for &(name, product, part, has_bias) in names.products {
            let (inputs, first, count) = extent(config, product, part);
            let rows = Place::Rows(layer, product, first);
            add(format!("{layer_name}.{name}.weight"), &[count, inputs], rows);
            if has_bias {
                add(format!("{layer_name}.{name}.bias"), &[count], Place::Bias(layer, product, first));
            }
        }
        norms.extend(names.norms.map(|(name, offset)| (format!("{layer_name}.{name}"), 2 * layer + offset)));
    }
    norms.extend(names.last_norm.map(|name| (name.to_owned(), 2 * config.layers)));
    for (name, at) in norms {
        add(format!("{name}.weight"), &[hidden], Place::NormWeight(at));
        if has_norm_bias {
            add(format!("{name}.bias"), &[hidden], Place::NormBias(at));
        }
    }
    tensors
}

/// Every tensor that the encoder of `config` reads.
pub fn encoder_specs(config: &ModelConfig) -> Vec<TensorSpec> {
    encoder_tensors(config).into_iter().map(|(spec, _)| spec).collect()
}

/// Every tensor that a head reads.
pub fn head_specs(head: &HeadLayout, hidden_size: usize) -> Vec<TensorSpec> {
    let Some(dense) = &head.dense else { return Vec::new() };
    let mut specs = vec![TensorSpec::new(HEAD_WEIGHT, &[head.dimension, hidden_size])];
    if dense.bias {
        specs.push(TensorSpec::new(HEAD_BIAS, &[head.dimension]));
    }
    specs
}

/// Name of a head's matrix, `[dimension, hidden_size]`.
pub const HEAD_WEIGHT: &str = "linear.weight";
/// Name of a head's bias, `[dimension]`.
pub const HEAD_BIAS: &str = "linear.bias";
