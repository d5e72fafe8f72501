//! A Stella v5 embedding model: from a folder on disk to vectors.
//!
//! Data goes one way, and each step is one module:
//!
//! | step | module |
//! | --- | --- |
//! | folder, and the only place that opens files | [`folder`] |
//! | `config.json` to a checked [`config::ModelConfig`] | [`config`] |
//! | modules, prompts and heads of the sentence-transformers layout | [`layout`] |
//! | safetensors headers against the configuration, then the map | [`specs`], [`weights`], [`mapping`] |
//! | text to token ids | [`tokenizer`], [`prompt`] |
//! | packed ids to hidden states | [`batch`], [`encoder`], [`candle_encoder`] |
//! | hidden states to pooled, projected, normalised rows | [`pooling`], [`head`] |
//! | how much memory that takes | [`memory`] |
//! | all of it, loaded once and shared | [`model`] |
//! | one caller's workspace over a shared model | [`session`] |
//!
//! A [`model::Model`] is immutable and shared between threads; nothing in it is locked during a forward.
//! Everything mutable belongs to one [`session::Session`].

pub mod batch;
pub mod candle_encoder;
pub mod code;
pub mod config;
pub mod encoder;
pub mod error;
pub mod folder;
pub mod head;
pub mod layout;
pub mod mapping;
pub mod memory;
pub mod model;
pub mod pooling;
pub mod prompt;
pub mod session;
pub mod specs;
pub mod tokenizer;
pub mod weights;

pub use code::ErrorCode;
pub use error::{Error, Result};
