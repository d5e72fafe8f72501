//! `config.json` as numbers that have been checked.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::error::{Error, Result};
use crate::fault::{Stage, reach};
use crate::files::CONFIG_FILE;
use crate::folder::ModelFolder;

/// No count in a configuration may reach this. It is far above any real model, and low enough that the
/// product of three of them fits in 64 bits.
const MAX_COUNT: u64 = 1 << 21;
/// The most layers. The 1.5B model has 28. What each layer must hold is written down before a file is looked at, so
/// that a number of millions would cost gigabytes.
const MAX_LAYERS: usize = 1 << 10;

/// The largest rotary base. The 1.5B model has a million.
const MAX_ROPE_THETA: f64 = 1e12;
/// The largest factor of the rotary scaling, by which the table of positions grows. The 400M model has 2.
const MAX_ROPE_FACTOR: f64 = 64.0;

/// Settings that exporters write and that change nothing of what is computed here: names, numbers for training, and how
/// other implementations use memory.
const WITHOUT_EFFECT: [&str; 23] = [
    "_name_or_path",
    "attention_dropout",
    "attention_probs_dropout_prob",
    "auto_map",
    "bos_token_id",
    "classifier_dropout",
    "dtype",
    "eos_token_id",
    "hidden_dropout_prob",
    "id2label",
    "initializer_range",
    "label2id",
    "logn_attention_clip1",
    "max_window_layers",
    "model_type",
    "pad_token_id",
    "sliding_window",
    "tie_word_embeddings",
    "torch_dtype",
    "transformers_version",
    "unpad_inputs",
    "use_cache",
    "use_memory_efficient_attention",
];
/// Unknown settings that are named, and characters of each that are shown.
const SHOWN_UNKNOWN: usize = 8;
const SHOWN_NAME: usize = 100;

/// The two architectures of the Stella v5 family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// `NewModel`: post-norm encoder of the 400M model. Layer norm, GELU, packed query-key-value.
    New,
    /// `Qwen2ForCausalLM` without its causal mask: pre-norm encoder of the 1.5B model. RMS norm, SiLU,
    /// grouped queries.
    Qwen2,
}

impl Architecture {
    /// The name that `config.json` uses.
    pub fn name(self) -> &'static str {
        match self {
            Self::New => "NewModel",
            Self::Qwen2 => "Qwen2ForCausalLM",
        }
    }
}

/// The shape of an encoder. Every field has been checked: nothing is zero, sizes divide as they must.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelConfig {
    /// Which of the two architectures.
    pub architecture: Architecture,
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of a hidden state.
    pub hidden_size: usize,
    /// Width of the gated product inside the feed-forward part.
    pub intermediate_size: usize,
    /// Number of layers.
    pub layers: usize,
    /// Number of query heads.
    pub heads: usize,
    /// Number of key and value heads; equals `heads` for [`Architecture::New`].
    pub kv_heads: usize,
    /// Positions that the model was made for.
    pub max_positions: usize,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// NTK factor of the rotary frequencies, if the model has one.
    pub rope_ntk_factor: Option<f64>,
    /// Epsilon of the norms.
    pub norm_eps: f64,
    /// Rows of the token type table; only row 0 is ever used. 0 for [`Architecture::Qwen2`].
    pub type_vocab_size: usize,
}

impl ModelConfig {
    /// Reads and checks `config.json`.
    ///
    /// # Errors
    /// Those of [`ModelFolder::read_json`]; [`Error::FileInvalid`] for numbers that no model can have;
    /// [`Error::Unsupported`] for a model of another kind.
    pub fn read(folder: &ModelFolder) -> Result<Self> {
        reach(Stage::Config);
        let raw: RawConfig =
            folder.read_json(CONFIG_FILE, "it holds the encoder's architecture and sizes")?;
        let unknown = raw.unknown();
        if !unknown.is_empty() {
            let (path, names) = (folder.path(CONFIG_FILE), unknown.join(", "));
            log::warn!("{}: settings that are not known here and have no effect: {names}", path.display());
        }
        Reader { folder, raw }.read()
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.heads
    }
}

/// The fields of `config.json` that matter here. Others are allowed: every exporter writes its own.
#[derive(Debug, Deserialize)]
struct RawConfig {
    architectures: Option<Vec<String>>,
    vocab_size: Option<i64>,
    hidden_size: Option<i64>,
    intermediate_size: Option<i64>,
    num_hidden_layers: Option<i64>,
    num_attention_heads: Option<i64>,
    num_key_value_heads: Option<i64>,
    max_position_embeddings: Option<i64>,
    type_vocab_size: Option<i64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<RawRopeScaling>,
    layer_norm_eps: Option<f64>,
    rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    layer_norm_type: Option<String>,
    position_embedding_type: Option<String>,
    pack_qkv: Option<bool>,
    logn_attention_scale: Option<bool>,
    is_causal: Option<bool>,
    use_sliding_window: Option<bool>,
    #[serde(flatten)]
    others: BTreeMap<String, IgnoredAny>,
}

impl RawConfig {
    /// Names of settings of which nobody here knows what they mean, the first few.
    fn unknown(&self) -> Vec<String> {
        let unknown = self.others.keys().filter(|name| !WITHOUT_EFFECT.contains(&name.as_str()));
        unknown.take(SHOWN_UNKNOWN).map(|name| name.chars().take(SHOWN_NAME).collect()).collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRopeScaling {
    #[serde(rename = "type", alias = "rope_type")]
    kind: String,
    factor: f64,
}

struct Reader<'a> {
    folder: &'a ModelFolder,
    raw: RawConfig,
}

impl Reader<'_> {
    fn read(&self) -> Result<ModelConfig> {
        let raw = &self.raw;
        let architecture = self.architecture()?;
        let hidden_size = self.count("hidden_size", raw.hidden_size)?;
        let heads = self.count("num_attention_heads", raw.num_attention_heads)?;
        if !hidden_size.is_multiple_of(heads) {
            return Err(self.invalid(format!(
                "hidden_size {hidden_size} is not a multiple of num_attention_heads {heads}"
            )));
        }
        if !(hidden_size / heads).is_multiple_of(2) {
            return Err(self.invalid(format!(
                "hidden_size {hidden_size} over num_attention_heads {heads} gives heads of {}; rotary positions \
                 need an even width",
                hidden_size / heads
            )));
        }

        let (kv_heads, type_vocab_size, norm_eps) = match architecture {
            Architecture::New => {
                self.only("hidden_act", raw.hidden_act.as_deref(), "gelu")?;
                self.only("layer_norm_type", raw.layer_norm_type.as_deref(), "layer_norm")?;
                self.only("position_embedding_type", raw.position_embedding_type.as_deref(), "rope")?;
                self.flag("pack_qkv", raw.pack_qkv, true)?;
                self.flag("logn_attention_scale", raw.logn_attention_scale, false)?;
                let types = self.count("type_vocab_size", raw.type_vocab_size)?;
                (heads, types, self.positive("layer_norm_eps", raw.layer_norm_eps)?)
            }
            Architecture::Qwen2 => {
                self.only("hidden_act", raw.hidden_act.as_deref(), "silu")?;
                self.flag("is_causal", raw.is_causal, false)?;
                self.flag("use_sliding_window", raw.use_sliding_window, false)?;
                let kv_heads = self.count("num_key_value_heads", raw.num_key_value_heads)?;
                if !heads.is_multiple_of(kv_heads) {
                    return Err(self.invalid(format!(
                        "num_attention_heads {heads} is not a multiple of num_key_value_heads {kv_heads}"
                    )));
                }
                (kv_heads, 0, self.positive("rms_norm_eps", raw.rms_norm_eps)?)
            }
        };

        let layers = self.count("num_hidden_layers", raw.num_hidden_layers)?;
        if layers > MAX_LAYERS {
            return Err(self.invalid(format!("num_hidden_layers is {layers}; at most {MAX_LAYERS} are read")));
        }
        Ok(ModelConfig {
            architecture,
            vocab_size: self.count("vocab_size", raw.vocab_size)?,
            hidden_size,
            intermediate_size: self.count("intermediate_size", raw.intermediate_size)?,
            layers,
            heads,
            kv_heads,
            max_positions: self.count("max_position_embeddings", raw.max_position_embeddings)?,
            rope_theta: self.rope_theta(raw.rope_theta)?,
            rope_ntk_factor: self.rope_ntk_factor(architecture)?,
            norm_eps,
            type_vocab_size,
        })
    }

    fn architecture(&self) -> Result<Architecture> {
        let known = [Architecture::New, Architecture::Qwen2];
        let named = self.raw.architectures.as_deref().unwrap_or_default();
        known.into_iter().find(|a| named.iter().any(|n| n == a.name())).ok_or_else(|| {
            self.unsupported(format!(
                "architectures is {named:?}; supported are {} (Stella 400M) and {} (Stella 1.5B)",
                known[0].name(),
                known[1].name()
            ))
        })
    }

    fn rope_ntk_factor(&self, architecture: Architecture) -> Result<Option<f64>> {
        let Some(scaling) = &self.raw.rope_scaling else { return Ok(None) };
        let kind = scaling.kind.as_str();
        match architecture {
            Architecture::New if kind == "ntk" && (1.0..=MAX_ROPE_FACTOR).contains(&scaling.factor) => {
                Ok(Some(scaling.factor))
            }
            Architecture::New => Err(self.unsupported(format!(
                "rope_scaling is {kind:?} with factor {}; supported is \"ntk\" with a factor of 1 to {MAX_ROPE_FACTOR}",
                scaling.factor
            ))),
            Architecture::Qwen2 => Err(self.unsupported(format!(
                "rope_scaling is {kind:?}; {} is supported without rope_scaling",
                architecture.name()
            ))),
        }
    }

    fn count(&self, field: &'static str, value: Option<i64>) -> Result<usize> {
        match value {
            None => Err(self.invalid(format!("{field} is missing"))),
            Some(n) => match usize::try_from(n) {
                Ok(n) if n > 0 && (n as u64) < MAX_COUNT => Ok(n),
                _ => Err(self.invalid(format!("{field} is {n}; it must be between 1 and {}", MAX_COUNT - 1))),
            },
        }
    }

    /// The base of the rotary positions. Below 1 their frequencies would rise, without end for the smallest.
    fn rope_theta(&self, value: Option<f64>) -> Result<f64> {
        let theta = self.positive("rope_theta", value)?;
        if !(1.0..=MAX_ROPE_THETA).contains(&theta) {
            return Err(self.invalid(format!("rope_theta is {theta}; it must be 1 to {MAX_ROPE_THETA}")));
        }
        Ok(theta)
    }

    fn positive(&self, field: &'static str, value: Option<f64>) -> Result<f64> {
        match value {
            None => Err(self.invalid(format!("{field} is missing"))),
            Some(x) if x.is_finite() && x > 0.0 => Ok(x),
            Some(x) => Err(self.invalid(format!("{field} is {x}; it must be above zero"))),
        }
    }

    /// A field that may be absent but, when present, must be what the encoder computes.
    fn only(&self, field: &'static str, value: Option<&str>, supported: &'static str) -> Result<()> {
        match value {
            Some(found) if found != supported => {
                Err(self.unsupported(format!("{field} is {found:?}; supported is {supported:?}")))
            }
            _ => Ok(()),
        }
    }

    fn flag(&self, field: &'static str, value: Option<bool>, supported: bool) -> Result<()> {
        match value {
            Some(found) if found != supported => {
                Err(self.unsupported(format!("{field} is {found}; supported is {supported}")))
            }
            _ => Ok(()),
        }
    }

    fn invalid(&self, reason: String) -> Error {
        Error::FileInvalid { path: self.folder.path(CONFIG_FILE), reason, source: None }
    }

    fn unsupported(&self, reason: String) -> Error {
        Error::Unsupported { path: self.folder.path(CONFIG_FILE), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorCode;
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
            "intermediate_size": 160, "max_position_embeddings": 131072, "num_attention_heads": 6,
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
        assert_eq!((new.architecture, new.head_dim(), new.kv_heads), (Architecture::New, 16, 4));
        assert_eq!(new.rope_ntk_factor, Some(2.0));
        let qwen2 = read(&qwen2()).unwrap();
        assert_eq!((qwen2.architecture, qwen2.head_dim(), qwen2.kv_heads), (Architecture::Qwen2, 16, 2));
        assert_eq!(qwen2.rope_ntk_factor, None);
    }

    #[test]
    fn settings_that_nobody_knows_are_named_and_those_of_the_family_are_not() {
        let unknown = |config: &Value| serde_json::from_value::<RawConfig>(config.clone()).unwrap().unknown();
        for model in ["tiny-new", "tiny-qwen2"] {
            let fixtures =
                std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/models");
            let text = std::fs::read(fixtures.join(model).join(CONFIG_FILE)).unwrap();
            let config = serde_json::from_slice(&text).unwrap();
            assert_eq!(unknown(&config), [""; 0], "{model}");
            let odd = with(with(config, "colour", json!({"red": [1]})), "attention_sinks", json!(4));
            assert_eq!(unknown(&odd), ["attention_sinks", "colour"]);
        }
        let many = (0..9).fold(new_model(), |config, i| with(config, &"n".repeat(200 + i), Value::Null));
        assert!(unknown(&many).len() == 8 && unknown(&many)[7].len() == 100);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
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
        ];
        for (config, names) in cases {
            let error = read(&config).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelUnsupported, "{error}");
            assert!(error.to_string().contains(names) && error.to_string().contains("supported"), "{error}");
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_refused() {
        let cases = [
            (with(new_model(), "num_attention_heads", json!(5)), "multiple of num_attention_heads 5"),
            (with(new_model(), "num_attention_heads", json!(-4)), "num_attention_heads is -4"),
            (with(new_model(), "num_attention_heads", json!(64)), "even width"),
            (with(new_model(), "hidden_size", json!(0)), "hidden_size is 0"),
            (with(new_model(), "vocab_size", json!(i64::MAX)), "vocab_size is 9223372036854775807"),
            (with(new_model(), "vocab_size", Value::Null), "vocab_size is missing"),
            (with(new_model(), "rope_theta", json!(-1.0)), "rope_theta is -1"),
            (with(new_model(), "rope_theta", json!(1e-300)), "must be 1 to"),
            (with(new_model(), "num_hidden_layers", json!(2_097_151)), "at most 1024 are read"),
            (with(qwen2(), "num_key_value_heads", json!(4)), "num_key_value_heads 4"),
        ];
        for (config, says) in cases {
            let error = read(&config).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ModelFileInvalid, "{error}");
            assert!(error.to_string().contains(says), "{error}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_accepted_can_be_multiplied(
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
