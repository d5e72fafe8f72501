//! Texts to packed token ids: prompts, the tokenizer, truncation and packed batches.

pub mod batch;
pub mod condense;
pub mod prompt;
pub mod text_settings;
pub mod tokenizer;
pub(crate) mod tokenizer_claims;
pub(crate) mod tokenizer_file;
pub(crate) mod word_cache;
