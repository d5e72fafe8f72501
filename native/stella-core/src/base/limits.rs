//! Limits and defaults of the options that callers set.

/// Default for the tokens of a text, if neither the caller nor the folder sets a limit: the length Stella was trained with.
pub const DEFAULT_MAX_TOKENS: usize = 512;
/// The largest number of tokens of a text that a caller may ask for.
pub const MAX_MAX_TOKENS: usize = 8192;
/// Default for the tokens of one call. From a few hundred tokens on, a forward pass gets no faster per token (see
/// `bench/README.md`), while its memory keeps growing.
pub const DEFAULT_MAX_BATCH_TOKENS: usize = 512;
/// The largest number of tokens of one call that a caller may ask for.
pub const MAX_MAX_BATCH_TOKENS: usize = 1 << 20;
/// The largest number of threads of one session.
pub const MAX_THREADS: usize = 1024;
/// The largest number of sessions for which memory is estimated.
pub const MAX_SESSIONS: usize = 1 << 16;

/// Estimated memory of one thread in bytes: its stack, and the memory that the allocator keeps for the thread.
pub(crate) const THREAD_BYTES: u64 = 2 << 20;

/// Returns the number of threads that the process may use by its affinity mask and the container's quota (cgroup).
pub(crate) fn default_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}
