//! Which tensors a model must have: names and shapes, from its configuration.

use crate::config::{Architecture, ModelConfig};
use crate::layout::HeadFolder;

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

/// Every tensor that the encoder of `config` reads.
pub fn encoder_specs(config: &ModelConfig) -> Vec<TensorSpec> {
    let (hidden, inner) = (config.hidden_size, config.intermediate_size);
    let kv = config.kv_heads * config.head_dim();
    let mut specs = Vec::new();
    match config.architecture {
        Architecture::New => {
            specs
                .push(TensorSpec::new("new.embeddings.word_embeddings.weight", &[config.vocab_size, hidden]));
            specs.push(TensorSpec::new(
                "new.embeddings.token_type_embeddings.weight",
                &[config.type_vocab_size, hidden],
            ));
            specs.push(TensorSpec::new("new.embeddings.LayerNorm.weight", &[hidden]));
            specs.push(TensorSpec::new("new.embeddings.LayerNorm.bias", &[hidden]));
            for layer in 0..config.layers {
                let per_layer: [(&str, &[usize]); 11] = [
                    ("attention.qkv_proj.weight", &[3 * hidden, hidden]),
                    ("attention.qkv_proj.bias", &[3 * hidden]),
                    ("attention.o_proj.weight", &[hidden, hidden]),
                    ("attention.o_proj.bias", &[hidden]),
                    ("mlp.up_gate_proj.weight", &[2 * inner, hidden]),
                    ("mlp.down_proj.weight", &[hidden, inner]),
                    ("mlp.down_proj.bias", &[hidden]),
                    ("attn_ln.weight", &[hidden]),
                    ("attn_ln.bias", &[hidden]),
                    ("mlp_ln.weight", &[hidden]),
                    ("mlp_ln.bias", &[hidden]),
                ];
                let prefix = format!("new.encoder.layer.{layer}");
                specs.extend(
                    per_layer.map(|(name, shape)| TensorSpec::new(format!("{prefix}.{name}"), shape)),
                );
            }
        }
        Architecture::Qwen2 => {
            specs.push(TensorSpec::new("model.embed_tokens.weight", &[config.vocab_size, hidden]));
            for layer in 0..config.layers {
                let per_layer: [(&str, &[usize]); 12] = [
                    ("self_attn.q_proj.weight", &[hidden, hidden]),
                    ("self_attn.q_proj.bias", &[hidden]),
                    ("self_attn.k_proj.weight", &[kv, hidden]),
                    ("self_attn.k_proj.bias", &[kv]),
                    ("self_attn.v_proj.weight", &[kv, hidden]),
                    ("self_attn.v_proj.bias", &[kv]),
                    ("self_attn.o_proj.weight", &[hidden, hidden]),
                    ("mlp.gate_proj.weight", &[inner, hidden]),
                    ("mlp.up_proj.weight", &[inner, hidden]),
                    ("mlp.down_proj.weight", &[hidden, inner]),
                    ("input_layernorm.weight", &[hidden]),
                    ("post_attention_layernorm.weight", &[hidden]),
                ];
                let prefix = format!("model.layers.{layer}");
                specs.extend(
                    per_layer.map(|(name, shape)| TensorSpec::new(format!("{prefix}.{name}"), shape)),
                );
            }
            specs.push(TensorSpec::new("model.norm.weight", &[hidden]));
        }
    }
    specs
}

/// Every tensor that a head reads.
pub fn head_specs(head: &HeadFolder, hidden_size: usize) -> Vec<TensorSpec> {
    let mut specs = vec![TensorSpec::new(HEAD_WEIGHT, &[head.dimension, hidden_size])];
    if head.bias {
        specs.push(TensorSpec::new(HEAD_BIAS, &[head.dimension]));
    }
    specs
}

/// Name of a head's matrix, `[dimension, hidden_size]`.
pub const HEAD_WEIGHT: &str = "linear.weight";
/// Name of a head's bias, `[dimension]`.
pub const HEAD_BIAS: &str = "linear.bias";
