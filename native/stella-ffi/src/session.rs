//! Sessions: one worker's memory and threads over a model.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use stella_core::base::limits::DEFAULT_MAX_BATCH_TOKENS;
use stella_core::session::{EmbedOptions, Session, SessionOptions};

use crate::args;
use crate::boundary::{fallible, infallible};
use crate::error::StellaError;
use crate::heap;
use crate::live::{Counted, StellaHandleKind};
use crate::log::LogSink;
use crate::model::StellaModel;

/// One worker. Takes one call at a time, from any thread.
#[derive(Debug)]
pub struct StellaSession {
    /// Never waited for: a second call gets an error. Poisoned by a panic, after which every call does.
    session: Mutex<Session>,
    sink: Option<Arc<LogSink>>,
    _counted: Counted,
}

/// Tokens that one call may carry unless a caller says otherwise.
pub const STELLA_DEFAULT_BATCH_TOKENS: u32 = 512;
// Written out, because what makes the bindings reads text.
const _: () = assert!(STELLA_DEFAULT_BATCH_TOKENS as usize == DEFAULT_MAX_BATCH_TOKENS);

/// How to start a session.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaSessionOptions {
    /// Size of this struct in bytes.
    pub size: u32,
    /// Threads that compute, 1 to 1024; 0 for as many as the process may use.
    pub threads: u32,
    /// Tokens that one call may carry; at least the model's max_tokens; 0 for
    /// STELLA_DEFAULT_BATCH_TOKENS, or more where a text may be longer.
    pub max_batch_tokens: u32,
}

/// What a call is to give.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StellaEmbedOptions {
    /// Size of this struct in bytes.
    pub size: u32,
    /// Length of the vectors; 0 for the model's default.
    pub dimension: u32,
    /// 0 to scale vectors to length 1, 1 to leave them as the modules of the model give them.
    pub raw: u32,
    /// Number of this call's first text in the caller's list; errors count from there.
    pub first_text: u32,
    /// For each text how many tokens at its beginning take no part in its vector, as stella_model_tokenize tells; null for
    /// none. stella_session_embed_tokens does not look at it.
    pub left_out: *const u32,
    /// Numbers that `left_out` points to: none, or one for each text.
    pub left_out_length: usize,
}

impl Default for StellaEmbedOptions {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            dimension: 0,
            raw: 0,
            first_text: 0,
            left_out: std::ptr::null(),
            left_out_length: 0,
        }
    }
}

/// Starts a session. It keeps the model alive by itself. `options` may be null for the defaults.
///
/// # Safety
/// `model` is a live model; `options` is null or points to options that say their size; `session` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_session_new(
    model: *const StellaModel,
    options: *const StellaSessionOptions,
    session: *mut *mut StellaSession,
) -> *mut StellaError {
    // SAFETY: this function's contract.
    let model = unsafe { args::required(model, "model") };
    fallible(model.as_ref().ok().and_then(|m| m.sink.clone()), || {
        let StellaModel { model, sink, .. } = model?;
        // SAFETY: this function's contract.
        let (options, out) =
            unsafe { (args::sized(options, "options")?, args::required_mut(session, "session")?) };
        let options = SessionOptions {
            threads: args::optional(options.threads),
            max_batch_tokens: args::optional(options.max_batch_tokens),
        };
        let handle = StellaSession {
            session: Mutex::new(Session::new(Arc::clone(model), options)?),
            sink: sink.clone(),
            _counted: Counted::new(StellaHandleKind::Session),
        };
        *out = Box::into_raw(Box::new(handle));
        Ok(())
    })
}

/// Embeds packed token ids: text i is ids\[cu_seqlens\[i\]\] to ids\[cu_seqlens\[i + 1\]\]. Writes one row of
/// `dimension` numbers a text. The call stops with Cancelled soon after another thread makes `*cancel` other
/// than 0.
///
/// # Safety
/// `session` is a live session; `ids` points to `ids_length` and `cu_seqlens` to `cu_seqlens_length` numbers;
/// `options` is null or points to options that say their size and whose `left_out` is null or points to `left_out_length`
/// numbers; `cancel` is null or points to a number that
/// lives during the call and is written to atomically; `vectors` points to `vectors_length` writable numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_session_embed(
    session: *const StellaSession,
    ids: *const u32,
    ids_length: usize,
    cu_seqlens: *const u32,
    cu_seqlens_length: usize,
    options: *const StellaEmbedOptions,
    cancel: *const u32,
    vectors: *mut f32,
    vectors_length: usize,
) -> *mut StellaError {
    // SAFETY: this function's contract.
    let session = unsafe { args::required(session, "session") };
    fallible(session.as_ref().ok().and_then(|s| s.sink.clone()), || {
        let session = session?;
        // SAFETY: this function's contract.
        let (ids, cu_seqlens, options, cancel, vectors) = unsafe {
            (
                args::slice(ids, ids_length, "ids")?,
                args::slice(cu_seqlens, cu_seqlens_length, "cu_seqlens")?,
                args::sized(options, "options")?,
                args::cancel_flag(cancel)?,
                args::slice_mut(vectors, vectors_length, "vectors")?,
            )
        };
        // SAFETY: this function's contract.
        let left_out = unsafe { args::slice(options.left_out, options.left_out_length, "options.left_out") }?;
        let first_text = options.first_text as usize;
        session
            .lock()?
            .embed(ids, cu_seqlens, left_out, core_options(options)?, cancel, vectors)
            .map_err(|e| e.with_first_text(first_text))
    })
}

/// A range of tokens.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaSpan {
    /// The first token.
    pub begin: u32,
    /// The token after the last.
    pub end: u32,
}

/// Runs one text and writes what its tokens became: their hidden states, one row of hidden_size numbers a token, unless
/// `hidden_length` is 0; and for each span one row of `dimension` numbers, the vector of the mean of its tokens.
///
/// # Safety
/// As for `stella_session_embed`; `spans` points to `span_count` spans, `hidden` to `hidden_length` writable numbers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_session_embed_tokens(
    session: *const StellaSession,
    ids: *const u32,
    ids_length: usize,
    spans: *const StellaSpan,
    span_count: usize,
    options: *const StellaEmbedOptions,
    cancel: *const u32,
    hidden: *mut f32,
    hidden_length: usize,
    vectors: *mut f32,
    vectors_length: usize,
) -> *mut StellaError {
    // SAFETY: this function's contract.
    let session = unsafe { args::required(session, "session") };
    fallible(session.as_ref().ok().and_then(|s| s.sink.clone()), || {
        let session = session?;
        // SAFETY: this function's contract.
        let (ids, spans, options, cancel, hidden, vectors) = unsafe {
            (
                args::slice(ids, ids_length, "ids")?,
                args::slice(spans, span_count, "spans")?,
                args::sized(options, "options")?,
                args::cancel_flag(cancel)?,
                args::slice_mut(hidden, hidden_length, "hidden")?,
                args::slice_mut(vectors, vectors_length, "vectors")?,
            )
        };
        let spans: Vec<_> = spans.iter().map(|span| (span.begin, span.end)).collect();
        session.lock()?.embed_tokens(ids, &spans, core_options(options)?, cancel, hidden, vectors)
    })
}

impl StellaSession {
    /// The session, for one call.
    fn lock(&self) -> stella_core::Result<MutexGuard<'_, Session>> {
        self.session.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => stella_core::Error::SessionBusy,
            TryLockError::Poisoned(_) => stella_core::Error::SessionPoisoned,
        })
    }
}

fn core_options(options: StellaEmbedOptions) -> stella_core::Result<EmbedOptions> {
    Ok(EmbedOptions {
        dimension: args::optional(options.dimension),
        l2_normalize: args::choice(options.raw, &[true, false], "options.raw")?,
    })
}

/// Frees a session and ends its threads. Null is allowed.
///
/// # Safety
/// `session` is null or a session that was not freed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_session_free(session: *mut StellaSession) {
    infallible(|| {
        if !session.is_null() {
            // SAFETY: made by `stella_session_new` and, by this function's contract, not freed yet.
            let StellaSession { session, .. } = *unsafe { Box::from_raw(session) };
            heap::drop_hold(session.into_inner().unwrap_or_else(PoisonError::into_inner).end());
        }
    });
}
