//! A Stella v5 embedding model: from a folder on disk to vectors.
//!
//! Data goes one way, and each step is one module:
//!
//! | step | module |
//! | --- | --- |
//! | folder, and the only place that opens files | [`folder`], [`files`] |
//! | `config.json` to a checked [`config::ModelConfig`] | [`config`], [`rope`], `settings` |
//! | modules, prompts and heads of the sentence-transformers layout | [`layout`] |
//! | size and hash of files against a manifest | [`manifest`], [`hash`], [`stamp`] |
//! | one hash of all files that a model was loaded from | `fingerprint` |
//! | safetensors headers, strictly, against the configuration; then the bytes, read or mapped | [`header`], [`specs`], [`weights`], [`tensor`], [`mapping`] |
//! | text to token ids | [`tokenizer`], [`text_settings`], `tokenizer_claims`, [`prompt`] |
//! | packed ids to hidden states | [`batch`], [`encoder`]; [`cpu_encoder`] on the project's kernels, [`candle_encoder`] as the reference |
//! | hidden states to pooled, projected, normalised rows | [`pooling`], [`head`] |
//! | how much memory that takes | [`memory`] |
//! | all of it, loaded once and shared | [`model`], [`shared`], `first_use`, [`counters`] |
//! | one caller's workspace over a shared model | [`session`] |
//!
//! Threads that are started on the way take over what [`inherit`] says. Tests make any of these steps panic by [`fault`].
//!
//! A [`model::Model`] is immutable and shared between threads; nothing in it is locked during a forward.
//! Everything mutable belongs to one [`session::Session`], but for what a model does not do twice: heads that were
//! loaded at their first use, and words whose ids are known.

pub mod batch;
mod calibration;
pub mod candle_encoder;
pub mod code;
pub mod condense;
pub mod config;
mod contents;
pub mod counters;
pub mod cpu_encoder;
pub mod encoder;
pub mod error;
pub mod fault;
pub mod files;
pub mod folder;
pub mod hash;
pub mod head;
pub mod header;
pub mod inherit;
pub mod layout;
pub mod manifest;
pub mod mapping;
pub mod memory;
pub mod model;
pub mod pooling;
pub mod prompt;
pub mod session;
pub mod shared;
pub mod specs;
pub mod stamp;
pub mod tensor;
pub mod text_settings;
pub mod tokenizer;
pub mod weights;

mod cpu_weights;
mod fingerprint;
mod first_use;
mod json;
mod reading;
pub mod rope;
mod settings;
mod tokenizer_claims;
mod tokenizer_file;
mod words;

pub use code::ErrorCode;
pub use error::{Error, Result};
