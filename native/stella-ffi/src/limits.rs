//! Limits of stella-core for callers. The build script writes their values to the C# declarations.

use stella_core::base::limits;

/// The limit of tokens of a text if neither the caller nor the model folder has one.
pub const STELLA_DEFAULT_TEXT_TOKENS: u32 = limits::DEFAULT_MAX_TOKENS as u32;
/// The largest limit of tokens of a text that a caller may set.
pub const STELLA_MAX_TEXT_TOKENS: u32 = limits::MAX_MAX_TOKENS as u32;
/// The tokens of one call if the caller sets no limit.
pub const STELLA_DEFAULT_BATCH_TOKENS: u32 = limits::DEFAULT_MAX_BATCH_TOKENS as u32;
/// The largest limit of tokens of one call that a caller may set.
pub const STELLA_MAX_BATCH_TOKENS: u32 = limits::MAX_MAX_BATCH_TOKENS as u32;
/// The largest number of threads of a session.
pub const STELLA_MAX_THREADS: u32 = limits::MAX_THREADS as u32;
/// The largest number of sessions of a memory estimate.
pub const STELLA_MAX_SESSIONS: u32 = limits::MAX_SESSIONS as u32;
