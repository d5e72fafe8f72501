//! One caller's workspace over a shared model.

use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::base::limits::{DEFAULT_MAX_BATCH_TOKENS, MAX_MAX_BATCH_TOKENS, MAX_THREADS, default_threads};
use crate::encoder::{CancelFlag, Worker, WorkerOptions};
use crate::files::pooling_config::PoolingMode;
use crate::model::Model;
use crate::output::head::Projector;
use crate::output::pooling;
use crate::text::batch::PackedBatch;

/// How to start a session.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// Threads that compute; `None` for as many as the process may use, container limits respected.
    pub threads: Option<usize>,
    /// Tokens that one call may carry; `None` for [`DEFAULT_MAX_BATCH_TOKENS`].
    pub max_batch_tokens: Option<usize>,
}

/// What one call to [`Session::embed`] is to give.
#[derive(Debug, Clone, Copy)]
pub struct EmbedOptions {
    /// The head; `None` for the model's default.
    pub dimension: Option<usize>,
    /// Whether rows are scaled to length 1. A model with a Normalize module scales them in any case.
    pub normalize: bool,
}

/// One worker over a shared model: its memory and its threads. One call at a time.
#[derive(Debug)]
pub struct Session {
    model: Arc<Model>,
    worker: Box<dyn Worker>,
    threads: usize,
    projector: Projector,
    pooled: Vec<f32>,
    max_batch_tokens: usize,
}

impl Session {
    /// Starts a session.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for limits out of range; those of [`crate::encoder::Encoder::worker`].
    pub fn new(model: Arc<Model>, options: SessionOptions) -> Result<Self> {
        reach(Stage::Session);
        let threads = match options.threads {
            Some(n) if !(1..=MAX_THREADS).contains(&n) => {
                return Err(Error::InvalidArgument(format!("threads is {n}; it must be 1 to {MAX_THREADS}")));
            }
            Some(n) => n,
            None => default_threads(),
        };
        let max_batch_tokens =
            options.max_batch_tokens.unwrap_or_else(|| DEFAULT_MAX_BATCH_TOKENS.max(model.max_tokens()));
        if !(model.max_tokens()..=MAX_MAX_BATCH_TOKENS).contains(&max_batch_tokens) {
            return Err(Error::InvalidArgument(format!(
                "max_batch_tokens is {max_batch_tokens}; it must hold at least one text of {} tokens and at most \
                 {MAX_MAX_BATCH_TOKENS}",
                model.max_tokens()
            )));
        }
        let worker = model.encoder().worker(WorkerOptions { threads, max_batch_tokens })?;
        let projector = Projector::new(model.kernels(), model.config().hidden_size)?;
        log::debug!("session with {threads} threads for batches of at most {max_batch_tokens} tokens");
        Ok(Self { model, worker, threads, projector, pooled: Vec::new(), max_batch_tokens })
    }

    /// The model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Tokens that one call may carry.
    pub fn max_batch_tokens(&self) -> usize {
        self.max_batch_tokens
    }

    /// Embeds packed token ids: text `i` is `ids[cu_seqlens[i]..cu_seqlens[i + 1]]`, and its first `left_out[i]` tokens take
    /// no part in its vector; an empty `left_out` stands for zeros. Writes one row a text into `out`, row-major
    /// `[texts, dimension]`.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when the parts contradict each other or exceed the limits,
    /// [`Error::UnknownDimension`], [`Error::BufferTooSmall`], [`Error::ForwardFailed`],
    /// [`Error::ResultNotFinite`], [`Error::Cancelled`]. What `out` then holds is not defined.
    pub fn embed(
        &mut self,
        ids: &[u32],
        cu_seqlens: &[u32],
        left_out: &[u32],
        options: EmbedOptions,
        cancel: CancelFlag<'_>,
        out: &mut [f32],
    ) -> Result<()> {
        let config = self.model.config();
        let batch = PackedBatch::new(ids, cu_seqlens, self.model.max_tokens(), config.vocab_size)?;
        if ids.len() > self.max_batch_tokens {
            let (tokens, limit) = (ids.len(), self.max_batch_tokens);
            return Err(Error::InvalidArgument(format!(
                "the batch has {tokens} tokens; the session takes {limit}"
            )));
        }
        if !left_out.is_empty() && left_out.len() != batch.texts() {
            let (given, texts) = (left_out.len(), batch.texts());
            return Err(Error::InvalidArgument(format!("left_out has {given} numbers for {texts} texts")));
        }
        let head = self.model.head(options.dimension.unwrap_or(self.model.default_dimension()))?;
        let needed = batch.texts() * head.dimension();
        if out.len() < needed {
            return Err(Error::BufferTooSmall { what: "vectors", capacity: out.len(), needed });
        }
        let hidden = self.worker.forward(batch, cancel)?;
        let pooling = self.model.pooling();
        let of = |(at, text)| pooling.of(text, left_out.get(at).map_or(0, |&tokens| tokens as usize));
        pooling::mean(batch.ranges().enumerate().map(of), hidden, config.hidden_size, &mut self.pooled);
        let normalize = options.normalize || self.model.normalizes();
        self.projector.project(head, &self.pooled, normalize, &mut out[..needed])
    }

    /// Ends the session and its threads, and gives its hold of the model.
    pub fn end(self) -> Arc<Model> {
        self.model
    }

    /// Runs one text once and gives what its tokens became: their hidden states into `hidden`, row-major
    /// `[ids, hidden_size]` (empty when they are not wanted), and for each range of tokens in `spans` the vector of
    /// their mean into `out`, row-major `[spans, dimension]`. So parts of a text are embedded in the light of all of it
    /// (late chunking).
    ///
    /// # Errors
    /// Those of [`Self::embed`]; the index in [`Error::ResultNotFinite`] and [`Error::ResultZero`] is that of the
    /// span. [`Error::InvalidArgument`] for a span that is empty or leaves the text, and for any span of a model whose
    /// vectors are not means.
    pub fn embed_tokens(
        &mut self,
        ids: &[u32],
        spans: &[(u32, u32)],
        options: EmbedOptions,
        cancel: CancelFlag<'_>,
        hidden: &mut [f32],
        out: &mut [f32],
    ) -> Result<()> {
        let config = self.model.config();
        let tokens = u32::try_from(ids.len())
            .map_err(|_| Error::InvalidArgument(format!("the text has {} tokens", ids.len())))?;
        let ends = [0, tokens];
        let batch = PackedBatch::new(ids, &ends, self.model.max_tokens(), config.vocab_size)?;
        if let Some((at, (begin, end))) = spans.iter().enumerate().find(|(_, (b, e))| b >= e || *e > tokens) {
            return Err(Error::InvalidArgument(format!(
                "span {at} goes from token {begin} to {end}; it must hold at least one of the text's {tokens} tokens"
            )));
        }
        let mode = self.model.pooling().mode;
        if mode != PoolingMode::Mean && !spans.is_empty() {
            return Err(Error::InvalidArgument(format!(
                "a part of a text has no vector of its own: this model pools by {:?}, and parts need \"mean\". Ask for hidden \
                 states alone, or embed the parts as texts",
                mode.name()
            )));
        }
        let states = ids.len() * config.hidden_size;
        if !hidden.is_empty() && hidden.len() < states {
            return Err(Error::BufferTooSmall { what: "hidden", capacity: hidden.len(), needed: states });
        }
        let head = self.model.head(options.dimension.unwrap_or(self.model.default_dimension()))?;
        let needed = spans.len() * head.dimension();
        if out.len() < needed {
            return Err(Error::BufferTooSmall { what: "vectors", capacity: out.len(), needed });
        }
        let found = self.worker.forward(batch, cancel)?;
        if found.iter().any(|x| !x.is_finite()) {
            return Err(Error::ResultNotFinite { index: 0 });
        }
        if !hidden.is_empty() {
            hidden[..states].copy_from_slice(found);
        }
        let ranges = spans.iter().map(|&(begin, end)| begin as usize..end as usize);
        pooling::mean(ranges, found, config.hidden_size, &mut self.pooled);
        let normalize = options.normalize || self.model.normalizes();
        self.projector.project(head, &self.pooled, normalize, &mut out[..needed])
    }
}
