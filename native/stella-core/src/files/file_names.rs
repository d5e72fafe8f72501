//! Names of the files of a model folder.

/// The file with the architecture and the sizes of the encoder.
pub const CONFIG_FILE: &str = "config.json";

/// The file of sentence-transformers that lists the modules.
pub const MODULES_FILE: &str = "modules.json";

/// The file of sentence-transformers with the prompts.
pub const PROMPTS_FILE: &str = "config_sentence_transformers.json";

/// The file with the vocabulary and the steps of the tokenizer.
pub const TOKENIZER_FILE: &str = "tokenizer.json";

/// The file of transformers with the settings of the tokenizer.
pub const TOKENIZER_CONFIG_FILE: &str = "tokenizer_config.json";

/// The file of transformers 4 with the special tokens.
pub const SPECIAL_TOKENS_FILE: &str = "special_tokens_map.json";

/// The file of transformers 4 with the tokens that were added to the vocabulary.
pub const ADDED_TOKENS_FILE: &str = "added_tokens.json";

/// The possible names of the file of sentence-transformers with the settings of the Transformer module, in the order in
/// which that library looks for them.
pub const SENTENCE_FILES: [&str; 7] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
];

/// A weights file: of the encoder in the model folder, of a head in its subfolder.
pub const WEIGHTS_FILE: &str = "model.safetensors";

/// The index of an encoder whose weights are split into several files, the shards.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// The manifest of a model folder.
pub const MANIFEST_FILE: &str = "stella.manifest.json";

/// The file that makes transformers add an adapter (PEFT, LoRA) to the weights.
pub const ADAPTER_FILE: &str = "adapter_config.json";
