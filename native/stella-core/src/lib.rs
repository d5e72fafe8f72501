//! A Stella v5 embedding model: from a folder on disk to vectors.
//!
//! The modules of the crate. Each one imports only from modules above it in this table.
//!
//! | module | contents |
//! | --- | --- |
//! | [`base`] | errors and their codes, limits, counters, fault injection, the context that new threads inherit |
//! | [`files`] | the model folder, `config.json`, the sentence-transformers layout, manifest, hashes, file stamps, fingerprint |
//! | [`weights`] | safetensors headers, the table of tensor names and shapes, reading and mapping tensors |
//! | [`text`] | prompts, the tokenizer, packed batches of token ids |
//! | [`encoder`] | forward passes: packed token ids to hidden states |
//! | [`output`] | hidden states to pooled and projected vectors |
//! | crate root | [`model`], [`model_options`], [`model_registry`], [`memory_estimate`], [`session`] |
//!
//! A [`model::Model`] is immutable and shared between threads, and no forward pass takes a lock on it. Mutable state
//! belongs to one [`session::Session`]. The exceptions are values that a model computes once and keeps: heads that are loaded
//! at their first use, hashes of files, and the caches of the tokenizer for words and characters.

pub mod base;
pub mod encoder;
pub mod files;
pub mod memory_estimate;
pub mod model;
pub mod model_options;
pub mod model_registry;
pub mod output;
pub mod session;
pub mod text;
pub mod weights;

mod checked_folder;
mod first_use;

pub use base::error::{Error, Result};
pub use base::error_code::ErrorCode;
