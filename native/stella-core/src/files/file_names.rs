//! Names of the files in a model folder.

/// Name of the file that describes the encoder.
pub const CONFIG_FILE: &str = "config.json";

/// Name of the file that lists the modules.
pub const MODULES_FILE: &str = "modules.json";

/// Name of the file in which sentence-transformers keeps prompts.
pub const PROMPTS_FILE: &str = "config_sentence_transformers.json";

/// Name of the tokenizer's file.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// Name of the file in which transformers keeps the settings of a tokenizer.
pub const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";

/// Name of the file in which transformers 4 keeps the names of special tokens.
pub const SPECIAL_TOKENS_FILE: &str = "special_tokens_map.json";

/// Name of the file in which transformers 4 keeps tokens beside the vocabulary.
pub const ADDED_TOKENS_FILE: &str = "added_tokens.json";

/// Names of the file in which sentence-transformers keeps the settings of the Transformer module, in the order in which
/// it looks for them.
pub const SENTENCE_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// Name of a weights file.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// Name of the file that lists the shards of a model whose weights are in several files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Name of the manifest inside a model folder.
pub const MANIFEST_FILE: &str = "stella.manifest.json";

/// Name of the file whose presence makes transformers add an adapter to the weights.
pub const ADAPTER_FILE: &str = "adapter_config.json";
