//! `config.json`: the architecture of the encoder and its sizes, checked.

use serde_json::Value;

use crate::base::error::Result;
use crate::base::fault_injection::{Stage, reach};
use crate::base::message::shown;
use crate::files::file_names::CONFIG_FILE;
use crate::files::folder::ModelFolder;
use crate::files::rope::{NtkScaling, Rope};
use crate::files::settings::{Rule, Settings};

/// Exclusive upper limit of every count in a configuration. It is far above any real model, and low enough that the product
/// of three counts fits in 64 bits.
const COUNT_END: usize = 1 << 21;
/// The largest number of layers. Stella 1.5B has 28. The list of expected tensors is built before the weights files are
/// opened, so millions of layers would cost gigabytes.
const MAX_LAYERS: usize = 1 << 10;

/// The architecture of an encoder. `weights/tensor_table.rs` lists the changes that a further architecture needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// Stella 400M (`NewModel`): a post-norm encoder with layer norm and a GELU gate.
    NewModel,
    /// Stella 1.5B (Qwen2 without its causal mask): a pre-norm encoder with RMS norm, a SiLU gate (SwiGLU) and grouped-query
    /// attention.
    Qwen2,
}

/// A Python class whose checkpoints are supported.
struct Class {
    /// The name in `architectures`.
    name: &'static str,
    /// The `model_type`, as JSON.
    model_type: &'static str,
    architecture: Architecture,
}

const CLASSES: [Class; 4] = [
    Class { name: "NewModel", model_type: "\"new\"", architecture: Architecture::NewModel },
    Class { name: "GteModel", model_type: "\"gte\"", architecture: Architecture::NewModel },
    Class { name: "Qwen2ForCausalLM", model_type: "\"qwen2\"", architecture: Architecture::Qwen2 },
    Class { name: "Qwen2Model", model_type: "\"qwen2\"", architecture: Architecture::Qwen2 },
];

impl Architecture {
    /// Returns the name of the best-known Python class of the architecture.
    pub fn name(self) -> &'static str {
        match self {
            Self::NewModel => "NewModel",
            Self::Qwen2 => "Qwen2Model",
        }
    }
}

/// The architecture and the sizes of an encoder. All values are checked: only `type_vocab_size` may be zero, and the sizes of
/// heads divide without remainder.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// The architecture.
    pub architecture: Architecture,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Width of the gated product in the feed-forward block.
    pub intermediate_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; equals `heads` for [`Architecture::NewModel`].
    pub kv_heads: usize,
    /// Positions that the model supports.
    pub max_positions: usize,
    /// Rotary position embeddings.
    pub rope: Rope,
    /// Epsilon of the norms.
    pub norm_eps: f64,
    /// Rows of the token type table, of which only row 0 is used. 0 for a model without the table, such as
    /// [`Architecture::Qwen2`].
    pub type_vocab_size: usize,
}

impl ModelConfig {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`]; `Error::FileInvalid` for impossible values; `Error::Unsupported` for
    /// settings that this library does not support; `Error::Inconsistent` for settings that contradict each other.
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        reach(Stage::Config);
        let mut settings =
            Settings::read(folder, CONFIG_FILE, "it sets the architecture and the sizes of the encoder")?;
        let class = class(&mut settings)?;
        settings.only("model_type", &[class.model_type])?;
        let config = read(&mut settings, class)?;
        settings.warn_of_others(RULES)?;
        Ok(config)
    }

    /// Gets the width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.heads
    }

    /// Gets the width of the keys of one token, over all key heads. Equals the width of its values.
    pub(crate) fn kv_width(&self) -> usize {
        self.kv_heads * self.head_dim()
    }
}

/// Finds the class by `architectures`.
fn class(settings: &mut Settings) -> Result<&'static Class> {
    let named = settings.texts("architectures")?.unwrap_or_default();
    CLASSES.iter().find(|class| named.iter().any(|name| name == class.name)).ok_or_else(|| {
        let supported = CLASSES.map(|class| class.name).join(", ");
        settings.unsupported("architectures", &shown(&Value::from(named)), &supported)
    })
}

fn read(settings: &mut Settings, class: &Class) -> Result<ModelConfig> {
    let mut count = |key: &str| {
        let found = settings.count(key, 1, COUNT_END)?;
        settings.required(key, found)
    };
    let (hidden_size, heads) = (count("hidden_size")?, count("num_attention_heads")?);
    let (vocab_size, intermediate_size) = (count("vocab_size")?, count("intermediate_size")?);
    let (max_positions, layers) = (count("max_position_embeddings")?, count("num_hidden_layers")?);
    if !hidden_size.is_multiple_of(heads) {
        return Err(settings.invalid(format!(
            "hidden_size is {hidden_size}. It must be a multiple of num_attention_heads, which is {heads}."
        )));
    }
    let head_dim = hidden_size / heads;
    if !head_dim.is_multiple_of(2) {
        return Err(settings.invalid(format!(
            "The attention heads have a width of {head_dim}, which is hidden_size {hidden_size} divided by \
             num_attention_heads {heads}. Rotary positions need an even width."
        )));
    }
    if layers > MAX_LAYERS {
        return Err(
            settings.invalid(format!("num_hidden_layers is {layers}. It must be at most {MAX_LAYERS}."))
        );
    }
    if let Some(found) = settings.count("head_dim", 1, COUNT_END)?.filter(|&found| found != head_dim) {
        return Err(settings.unsupported(
            "head_dim",
            &found.to_string(),
            &format!("{head_dim}, which is hidden_size divided by num_attention_heads"),
        ));
    }
    settings.agreed(&["dtype", "torch_dtype"], |settings, key| {
        Ok(settings.text(key)?.map(|name| name.trim_start_matches("torch.").to_owned()))
    })?;

    let ntk = match class.architecture {
        Architecture::NewModel => NtkScaling::Supported,
        Architecture::Qwen2 => NtkScaling::Unsupported,
    };
    let (kv_heads, type_vocab_size, norm_eps) = match class.architecture {
        Architecture::NewModel => {
            settings.only("hidden_act", &["\"gelu\""])?;
            settings.only("layer_norm_type", &["\"layer_norm\""])?;
            settings.only("position_embedding_type", &["\"rope\""])?;
            settings.only("pack_qkv", &["true"])?;
            settings.only("logn_attention_scale", &["false"])?;
            let types = settings.count("type_vocab_size", 0, COUNT_END)?;
            (heads, settings.required("type_vocab_size", types)?, epsilon(settings, "layer_norm_eps")?)
        }
        Architecture::Qwen2 => {
            settings.only("hidden_act", &["\"silu\""])?;
            settings.only("use_sliding_window", &["false"])?;
            check_causality(settings)?;
            check_layer_types(settings, layers)?;
            let kv_heads = settings.count("num_key_value_heads", 1, COUNT_END)?;
            let kv_heads = settings.required("num_key_value_heads", kv_heads)?;
            if !heads.is_multiple_of(kv_heads) {
                return Err(settings.invalid(format!(
                    "num_attention_heads is {heads}. It must be a multiple of num_key_value_heads, which is {kv_heads}."
                )));
            }
            (kv_heads, 0, epsilon(settings, "rms_norm_eps")?)
        }
    };
    Ok(ModelConfig {
        architecture: class.architecture,
        vocab_size,
        hidden_size,
        intermediate_size,
        layers,
        heads,
        kv_heads,
        max_positions,
        rope: Rope::take(settings, head_dim, ntk)?,
        norm_eps,
        type_vocab_size,
    })
}

/// Takes the epsilon of the norms.
fn epsilon(settings: &mut Settings, key: &str) -> Result<f64> {
    let found = settings.number(key)?;
    let epsilon = settings.required(key, found)?;
    if epsilon <= 0.0 {
        return Err(settings.invalid(format!("{key} is {epsilon}. It must be greater than zero.")));
    }
    Ok(epsilon)
}

/// Refuses a model that the Python libraries run with a causal mask. transformers applies the mask, unless `is_causal` is
/// false or `auto_map` names code in the folder.
fn check_causality(settings: &mut Settings) -> Result<()> {
    let names_code = settings.names_code("AutoModel");
    match settings.flag("is_causal")? {
        Some(false) => Ok(()),
        None if names_code => Ok(()),
        Some(true) => Err(settings.unsupported("is_causal", "true", "false, because attention covers the whole text")),
        None => Err(settings.unsupported(
            "is_causal",
            "missing or null, and auto_map names no code for AutoModel, so that transformers runs this model with causal \
             attention",
            "false. Set it if the model was trained without a causal mask",
        )),
    }
}

/// Refuses a model with layers that attend to a part of the text only.
fn check_layer_types(settings: &mut Settings, layers: usize) -> Result<()> {
    let Some(types) = settings.texts("layer_types")? else { return Ok(()) };
    if types.len() != layers {
        return Err(settings.inconsistent(format!(
            "layer_types has {} entries, but num_hidden_layers is {layers}.",
            types.len()
        )));
    }
    match types.iter().find(|kind| *kind != "full_attention") {
        Some(other) => {
            Err(settings.unsupported("layer_types", &format!("{other:?} in a layer"), "\"full_attention\""))
        }
        None => Ok(()),
    }
}

/// The rules for settings that exporters write and that [`read`] does not take. Other keys have no effect either, because
/// the Python code of the architectures ignores them; a warning in the log names them.
const RULES: &[(&str, Rule)] = &[
    // Names, and the origin of the file.
    ("_commit_hash", Rule::NoEffect),
    ("_name_or_path", Rule::NoEffect),
    ("auto_map", Rule::NoEffect),
    ("finetuning_task", Rule::NoEffect),
    ("name_or_path", Rule::NoEffect),
    ("tokenizer_class", Rule::NoEffect),
    ("transformers_version", Rule::NoEffect),
    // Training.
    ("attention_dropout", Rule::NoEffect),
    ("attention_probs_dropout_prob", Rule::NoEffect),
    ("classifier_dropout", Rule::NoEffect),
    ("hidden_dropout_prob", Rule::NoEffect),
    ("initializer_range", Rule::NoEffect),
    // Heads for other tasks.
    ("id2label", Rule::NoEffect),
    ("label2id", Rule::NoEffect),
    ("num_labels", Rule::NoEffect),
    ("problem_type", Rule::NoEffect),
    ("task_specific_params", Rule::NoEffect),
    // Ids of special tokens, which tokenizer.json adds.
    ("bos_token_id", Rule::NoEffect),
    ("decoder_start_token_id", Rule::NoEffect),
    ("eos_token_id", Rule::NoEffect),
    ("pad_token_id", Rule::NoEffect),
    ("sep_token_id", Rule::NoEffect),
    // Parameters of a sliding window and of an attention scale, both of which must be off.
    ("logn_attention_clip1", Rule::NoEffect),
    ("max_window_layers", Rule::NoEffect),
    ("sliding_window", Rule::NoEffect),
    // Memory and further outputs of other implementations.
    ("_attn_implementation", Rule::NoEffect),
    ("_attn_implementation_autoset", Rule::NoEffect),
    ("_experts_implementation", Rule::NoEffect),
    ("_output_attentions", Rule::NoEffect),
    ("attn_implementation", Rule::NoEffect),
    ("chunk_size_feed_forward", Rule::NoEffect),
    ("output_attentions", Rule::NoEffect),
    ("output_hidden_states", Rule::NoEffect),
    ("return_dict", Rule::NoEffect),
    ("tf_legacy_loss", Rule::NoEffect),
    ("tie_encoder_decoder", Rule::NoEffect),
    ("tie_word_embeddings", Rule::NoEffect),
    ("torchscript", Rule::NoEffect),
    ("unpad_inputs", Rule::NoEffect),
    ("use_bfloat16", Rule::NoEffect),
    ("use_cache", Rule::NoEffect),
    ("use_memory_efficient_attention", Rule::NoEffect),
    // Text generation.
    ("bad_words_ids", Rule::NoEffect),
    ("begin_suppress_tokens", Rule::NoEffect),
    ("diversity_penalty", Rule::NoEffect),
    ("do_sample", Rule::NoEffect),
    ("early_stopping", Rule::NoEffect),
    ("encoder_no_repeat_ngram_size", Rule::NoEffect),
    ("exponential_decay_length_penalty", Rule::NoEffect),
    ("forced_bos_token_id", Rule::NoEffect),
    ("forced_eos_token_id", Rule::NoEffect),
    ("length_penalty", Rule::NoEffect),
    ("max_length", Rule::NoEffect),
    ("min_length", Rule::NoEffect),
    ("no_repeat_ngram_size", Rule::NoEffect),
    ("num_beam_groups", Rule::NoEffect),
    ("num_beams", Rule::NoEffect),
    ("num_return_sequences", Rule::NoEffect),
    ("output_scores", Rule::NoEffect),
    ("prefix", Rule::NoEffect),
    ("remove_invalid_values", Rule::NoEffect),
    ("repetition_penalty", Rule::NoEffect),
    ("return_dict_in_generate", Rule::NoEffect),
    ("suppress_tokens", Rule::NoEffect),
    ("temperature", Rule::NoEffect),
    ("top_k", Rule::NoEffect),
    ("top_p", Rule::NoEffect),
    ("typical_p", Rule::NoEffect),
    // Settings that change the encoder.
    ("add_cross_attention", Rule::Only(&["false"])),
    ("cross_attention_hidden_size", Rule::Only(&[])),
    ("is_decoder", Rule::Only(&["false"])),
    ("is_encoder_decoder", Rule::Only(&["false"])),
    ("partial_rotary_factor", Rule::Only(&["1", "1.0"])),
    ("per_layer_config", Rule::Only(&["{}"])),
    ("pruned_heads", Rule::Only(&["{}"])),
    ("quantization_config", Rule::Only(&["{}"])),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::error_code::ErrorCode;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    fn new_model() -> Value {
        json!({
            "architectures": ["NewModel"], "hidden_act": "gelu", "hidden_size": 64, "intermediate_size": 128,
            "layer_norm_eps": 1e-12, "layer_norm_type": "layer_norm", "max_position_embeddings": 8192,
            "num_attention_heads": 4, "num_hidden_layers": 3, "rope_theta": 160000,
            "rope_scaling": {"factor": 2.0, "type": "ntk"}, "type_vocab_size": 2, "vocab_size": 1216
        })
    }

    fn qwen2() -> Value {
        json!({
            "architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": 96,
            "intermediate_size": 160, "is_causal": false, "max_position_embeddings": 131072, "num_attention_heads": 6,
            "num_hidden_layers": 3, "num_key_value_heads": 2, "rms_norm_eps": 1e-6, "rope_theta": 1e6,
            "vocab_size": 816
        })
    }

    fn read(value: &Value) -> Result<ModelConfig> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CONFIG_FILE), value.to_string()).unwrap();
        ModelConfig::read(&ModelFolder::open(dir.path(), None).unwrap())
    }

    fn with(mut base: Value, field: &str, value: Value) -> Value {
        base[field] = value;
        base
    }

    #[test]
    fn both_architectures_are_read() {
        let new = read(&new_model()).unwrap();
        assert_eq!((new.architecture, new.head_dim(), new.kv_heads), (Architecture::NewModel, 16, 4));
        assert_eq!(new.rope, Rope { base: 320_000.0, linear_scale: 2f64.powf(2.0 / 16.0) });
        let qwen2 = read(&qwen2()).unwrap();
        assert_eq!((qwen2.architecture, qwen2.head_dim(), qwen2.kv_heads), (Architecture::Qwen2, 16, 2));
        assert_eq!(qwen2.rope, Rope { base: 1e6, linear_scale: 1.0 });
    }

    #[test]
    fn settings_that_the_python_code_ignores_are_accepted() {
        read(&with(with(new_model(), "colour", json!({"red": [1]})), "attention_sinks", json!(4))).unwrap();
    }

    #[test]
    fn a_model_without_is_causal_is_refused_unless_auto_map_names_code() {
        let without = |mut config: Value| {
            config.as_object_mut().unwrap().remove("is_causal");
            config
        };
        let code = json!({"AutoModel": "modeling_qwen.Qwen2Model"});
        read(&with(without(qwen2()), "auto_map", code)).unwrap();
        for auto_map in [
            Value::Null,
            json!({"AutoConfig": "configuration_qwen.Qwen2Config"}),
            json!("AutoModel"),
            json!({"AutoModel": null}),
            json!({"AutoModel": ""}),
            json!({"AutoModel": 5}),
        ] {
            let error = read(&with(without(qwen2()), "auto_map", auto_map)).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelUnsupported, "{error}");
            assert!(error.to_string().contains("causal attention"), "{error}");
        }
    }

    #[test]
    fn two_names_of_one_setting_must_agree() {
        read(&with(with(new_model(), "dtype", json!("float32")), "torch_dtype", json!("torch.float32")))
            .unwrap();
        read(&with(qwen2(), "head_dim", json!(16.0))).unwrap();
        let short = read(&with(qwen2(), "layer_types", json!(["full_attention"]))).unwrap_err();
        assert!(short.to_string().contains("layer_types has 1 entries"), "{short}");
        let both = with(with(new_model(), "dtype", json!("float32")), "torch_dtype", json!("bfloat16"));
        let error = read(&both).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ModelInconsistent);
        for says in ["dtype is \"float32\"", "torch_dtype is \"bfloat16\""] {
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    #[test]
    fn unsupported_settings_are_refused_by_name() {
        let cases = [
            (with(new_model(), "architectures", json!(["BertModel"])), "BertModel"),
            (with(new_model(), "hidden_act", json!("gelu_new")), "gelu_new"),
            (with(new_model(), "layer_norm_type", json!("rms_norm")), "rms_norm"),
            (with(new_model(), "position_embedding_type", json!("absolute")), "absolute"),
            (with(new_model(), "logn_attention_scale", json!(true)), "logn_attention_scale"),
            (with(new_model(), "rope_scaling", json!({"type": "yarn", "factor": 2.0})), "yarn"),
            (with(qwen2(), "hidden_act", json!("relu")), "relu"),
            (with(qwen2(), "is_causal", json!(true)), "is_causal"),
            (with(qwen2(), "rope_scaling", json!({"type": "ntk", "factor": 2.0})), "rope_scaling"),
            (with(qwen2(), "use_sliding_window", json!(true)), "use_sliding_window"),
            (
                with(
                    qwen2(),
                    "layer_types",
                    json!(["full_attention", "sliding_attention", "full_attention"]),
                ),
                "sliding_attention",
            ),
            (with(qwen2(), "head_dim", json!(32)), "head_dim"),
            (with(qwen2(), "model_type", json!("qwen3")), "qwen3"),
            (with(qwen2(), "quantization_config", json!({"bits": 4})), "quantization_config"),
            (with(qwen2(), "is_decoder", json!(true)), "is_decoder"),
            (with(new_model(), "partial_rotary_factor", json!(0.5)), "partial_rotary_factor"),
            (with(new_model(), "pack_qkv", json!(false)), "pack_qkv"),
        ];
        for (config, names) in cases {
            let error = read(&config).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelUnsupported, "{error}");
            assert!(error.to_string().contains(names) && error.to_string().contains("Supported"), "{error}");
        }
    }

    #[test]
    fn impossible_sizes_are_refused() {
        let cases = [
            (
                with(new_model(), "num_attention_heads", json!(5)),
                "multiple of num_attention_heads, which is 5",
            ),
            (with(new_model(), "num_attention_heads", json!(-4)), "num_attention_heads is -4"),
            (with(new_model(), "num_attention_heads", json!(64)), "even width"),
            (with(new_model(), "hidden_size", json!(0)), "hidden_size is 0"),
            (with(new_model(), "vocab_size", json!(i64::MAX)), "vocab_size is 9223372036854775807"),
            (with(new_model(), "vocab_size", Value::Null), "vocab_size is missing"),
            (with(new_model(), "rope_theta", json!(-1.0)), "rope_theta is -1"),
            (with(new_model(), "rope_theta", json!(1e-300)), "must be 1 to"),
            (with(new_model(), "num_hidden_layers", json!(2_097_151)), "It must be at most 1024"),
            (with(qwen2(), "num_key_value_heads", json!(4)), "num_key_value_heads, which is 4"),
        ];
        for (config, says) in cases {
            let error = read(&config).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelFileInvalid, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    proptest! {
        #[test]
        fn products_of_accepted_sizes_do_not_overflow(
            hidden in any::<i64>(), heads in any::<i64>(), layers in any::<i64>(), vocab in any::<i64>()
        ) {
            let config = json!({"hidden_size": hidden, "num_attention_heads": heads,
                "num_hidden_layers": layers, "vocab_size": vocab});
            let mut whole = new_model();
            for (key, value) in config.as_object().unwrap() { whole[key] = value.clone(); }
            if let Ok(c) = read(&whole) {
                prop_assert!(c.heads * c.head_dim() == c.hidden_size);
                prop_assert!(c.vocab_size.checked_mul(c.hidden_size).and_then(|n| n.checked_mul(c.layers)).is_some());
            }
        }
    }
}
