//! Names of the files in a model folder.

/// Name of the file that describes the encoder.
pub const CONFIG_FILE: &str = "config.json";

/// Name of the file that lists the modules.
pub const MODULES_FILE: &str = "modules.json";

/// Name of the file in which sentence-transformers keeps prompts.
pub const PROMPTS_FILE: &str = "config_sentence_transformers.json";

/// Name of the tokenizer's file.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// Name of a weights file.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// Name of the file that lists the shards of a model whose weights are in several files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Name of the manifest inside a model folder.
pub const MANIFEST_FILE: &str = "stella.manifest.json";
