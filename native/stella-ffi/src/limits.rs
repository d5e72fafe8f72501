//! Limits of stella-core for bindings.
//!
//! csbindgen reads the text of these constants and skips all but literals. The assertions keep each literal equal to the
//! constant of stella-core, so that a limit can only be changed there and here together.

use stella_core::base::limits::{
    DEFAULT_MAX_BATCH_TOKENS, DEFAULT_MAX_TOKENS, MAX_MAX_BATCH_TOKENS, MAX_MAX_TOKENS, MAX_SESSIONS,
    MAX_THREADS,
};

/// The limit of tokens of a text if neither the caller nor the model folder has one.
pub const STELLA_DEFAULT_TEXT_TOKENS: u32 = 512;
/// The largest limit of tokens of a text that a caller may set.
pub const STELLA_MAX_TEXT_TOKENS: u32 = 8192;
/// The tokens of one call if the caller sets no limit.
pub const STELLA_DEFAULT_BATCH_TOKENS: u32 = 512;
/// The largest limit of tokens of one call that a caller may set.
pub const STELLA_MAX_BATCH_TOKENS: u32 = 1_048_576;
/// The largest number of threads of a session.
pub const STELLA_MAX_THREADS: u32 = 1024;
/// The largest number of sessions of a memory estimate.
pub const STELLA_MAX_SESSIONS: u32 = 65_536;

const _: () = {
    assert!(STELLA_DEFAULT_TEXT_TOKENS as usize == DEFAULT_MAX_TOKENS);
    assert!(STELLA_MAX_TEXT_TOKENS as usize == MAX_MAX_TOKENS);
    assert!(STELLA_DEFAULT_BATCH_TOKENS as usize == DEFAULT_MAX_BATCH_TOKENS);
    assert!(STELLA_MAX_BATCH_TOKENS as usize == MAX_MAX_BATCH_TOKENS);
    assert!(STELLA_MAX_THREADS as usize == MAX_THREADS);
    assert!(STELLA_MAX_SESSIONS as usize == MAX_SESSIONS);
};
