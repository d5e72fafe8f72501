//! Exports of sessions: the threads and the scratch memory for calls of a model.
//!
//! # Cancellation
//! A call takes a pointer to a number that the caller owns. Another thread cancels the call by writing a number other than 0
//! atomically. The forward pass polls the number: before each layer on the kernels, before each text on candle. The call then
//! returns `Cancelled`, and the session can be used again. Pooling and the head do not poll, so a call that is cancelled during
//! its last layer may still succeed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use stella_core::session::{EmbedOptions, Session, SessionOptions};

use crate::args;
use crate::boundary::infallible;
use crate::error::{StellaError, fallible};
use crate::handle::Handle;
use crate::handle_counts::StellaHandleKind;
use crate::heap;
use crate::log_sink::LogSink;
use crate::model::StellaModel;

/// The threads and the scratch memory for calls of a model. It takes one call at a time, from any thread.
#[derive(Debug)]
pub struct StellaSession {
    /// A call never waits for this lock: a second call returns an error. A panic poisons it, and later calls return an error.
    session: Mutex<Session>,
    sink: Option<Arc<LogSink>>,
}

impl Handle for StellaSession {
    const KIND: StellaHandleKind = StellaHandleKind::Session;
}

/// Options of `stella_session_new`. A field of 0 means its default.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaSessionOptions {
    /// The size of this struct in bytes.
    pub size: u32,
    /// The number of threads that compute, the thread of the caller included, 1 to STELLA_MAX_THREADS. 0 for one per processor
    /// that the process may use, by its affinity and the quota of its container.
    pub threads: u32,
    /// The largest number of tokens of a call: at least `max_tokens` of the model, at most STELLA_MAX_BATCH_TOKENS. 0 for
    /// STELLA_DEFAULT_BATCH_TOKENS, or `max_tokens` of the model if that is larger. The scratch memory grows with it.
    pub max_batch_tokens: u32,
}

/// Options of `stella_session_embed` and `stella_session_embed_tokens`. A field of 0 means its default.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct StellaEmbedOptions {
    /// The size of this struct in bytes.
    pub size: u32,
    /// 0 to scale vectors to length 1, 1 for the vectors as the modules of the model compute them.
    pub raw: u32,
    /// The index of the first text of this call in a longer list of the caller. It is added to the text index of errors.
    pub first_text: u32,
    /// The dimensions: the length of each vector of a row, of stella_model_dimensions. Null for the default of the model. All of
    /// them come from one forward pass.
    pub dimensions: *const u32,
    /// The number of elements of `dimensions`.
    pub dimensions_length: usize,
    /// For each text, the number of tokens at its beginning that the pooling excludes: `left_out` of StellaTokenCount. Null for
    /// zeros. `stella_session_embed_tokens` ignores it.
    pub left_out: *const u32,
    /// The number of elements of `left_out`: 0, or the number of texts.
    pub left_out_length: usize,
}

impl Default for StellaEmbedOptions {
    fn default() -> Self {
        Self {
            size: size_of::<Self>() as u32,
            raw: 0,
            first_text: 0,
            dimensions: std::ptr::null(),
            dimensions_length: 0,
            left_out: std::ptr::null(),
            left_out_length: 0,
        }
    }
}

/// Creates a session of a model: starts its threads and allocates its scratch memory. Null `options` mean the defaults. The
/// session keeps the model loaded, so the handle of the model may be freed first.
///
/// Writes the handle to `session`, which stella_session_free frees. Does not write it if the call fails. Any number of threads
/// may call it at once.
///
/// Errors: InvalidArgument for options out of range; OutOfMemory; ThreadRefused.
///
/// # Safety
/// `model` is a live model. `options` is null or points to options with their size set. `session` is writable.
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
        let session = Mutex::new(Session::new(Arc::clone(model), options)?);
        *out = StellaSession { session, sink: sink.clone() }.into_raw();
        Ok(())
    })
}

/// Embeds a packed batch of texts. The tokens of text i are `ids` from position cu_seqlens\[i\] up to, but not including,
/// cu_seqlens\[i + 1\]. `cu_seqlens` has one number more than there are texts, begins with 0 and ends with `ids_length`. Each text
/// has 1 to `max_tokens` tokens of StellaModelInfo, and all texts together have at most `max_batch_tokens` of the session. Null
/// `options` mean the defaults.
///
/// Writes one row per text to `vectors`, row-major. A row has the vector of each dimension of the options, one after the other.
/// After an error the contents of `vectors` are undefined. The vector of a text has the same bits in any batch, on any number of
/// threads, and beside any other dimensions.
///
/// If `cancel` is not null, another thread may cancel the call by atomically writing a number other than 0 to it. The forward
/// pass polls the number before each layer, or before each text with the encoder Candle.
///
/// Errors: SessionBusy if another call uses the session; InvalidArgument for ids, `cu_seqlens` or options that contradict the
/// rules above; UnknownDimension; BufferTooSmall if `vectors_length` is too small; Cancelled; ResultNotFinite or ResultZero for a
/// text whose vector is unusable; Panic if this or an earlier call of the session panicked.
///
/// # Safety
/// `session` is a live session. `ids` points to `ids_length` and `cu_seqlens` to `cu_seqlens_length` numbers. `options` is null
/// or points to options with their size set. In them, `dimensions` is null or points to `dimensions_length` numbers, and `left_out`
/// is null or points to `left_out_length` numbers. `cancel` is null or points to a number that is alive during the call and is
/// written to only atomically. `vectors` points to `vectors_length` writable numbers.
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
        let (left_out, core) = unsafe {
            (
                args::slice(options.left_out, options.left_out_length, "options.left_out")?,
                core_options(&options)?,
            )
        };
        let first_text = options.first_text as usize;
        session
            .lock()?
            .embed(ids, cu_seqlens, left_out, core, cancel, vectors)
            .map_err(|e| e.with_first_text(first_text))
    })
}

/// A range of tokens of a text.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct StellaSpan {
    /// The index of the first token.
    pub begin: u32,
    /// The index after the last token; greater than `begin`.
    pub end: u32,
}

/// Runs a forward pass over the tokens of one text, and embeds parts of the text in the context of the whole (late chunking).
/// Null `options` mean the defaults.
///
/// Writes to `hidden` one row of `hidden_size` numbers per token, the last hidden state, unless `hidden_length` is 0. Writes to
/// `vectors` one row per span: the vectors of the mean of the hidden states of its tokens. Spans need a model with mean pooling.
/// Rows and `cancel` are those of `stella_session_embed`.
///
/// Errors: those of `stella_session_embed`, with the index of the span as text index; InvalidArgument for a span that is empty
/// or goes beyond the text, and for any span of a model without mean pooling.
///
/// # Safety
/// As for `stella_session_embed`. `spans` points to `span_count` spans, and `hidden` to `hidden_length` writable numbers.
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
        // SAFETY: this function's contract.
        let core = unsafe { core_options(&options) }?;
        session.lock()?.embed_tokens(ids, &spans, core, cancel, hidden, vectors)
    })
}

impl StellaSession {
    /// Locks the session for one call.
    fn lock(&self) -> stella_core::Result<MutexGuard<'_, Session>> {
        self.session.try_lock().map_err(|e| match e {
            TryLockError::WouldBlock => stella_core::Error::SessionBusy,
            TryLockError::Poisoned(_) => stella_core::Error::SessionPoisoned,
        })
    }
}

/// Converts options to those of stella-core.
///
/// # Safety
/// `dimensions` is null or points to `dimensions_length` numbers that are alive and not written to as long as `options`.
unsafe fn core_options(options: &StellaEmbedOptions) -> stella_core::Result<EmbedOptions<'_>> {
    // SAFETY: this function's contract.
    let dimensions =
        unsafe { args::slice(options.dimensions, options.dimensions_length, "options.dimensions") }?;
    Ok(EmbedOptions { dimensions, l2_normalize: args::choice(options.raw, &[true, false], "options.raw")? })
}

/// Frees a session and ends its threads. Frees the model too if no handle or session uses it any more. Null is allowed.
///
/// # Safety
/// `session` is null or a session that was not freed, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn stella_session_free(session: *mut StellaSession) {
    infallible(|| {
        // SAFETY: this function's contract.
        if let Some(StellaSession { session, .. }) = unsafe { StellaSession::from_raw(session) } {
            heap::release_model(session.into_inner().unwrap_or_else(PoisonError::into_inner).end());
        }
    });
}
