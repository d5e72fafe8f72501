//! A session: the threads and buffers with which one caller runs forward passes of a shared model.

use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::base::limits::{DEFAULT_MAX_BATCH_TOKENS, MAX_MAX_BATCH_TOKENS, MAX_THREADS, default_threads};
use crate::encoder::{CancelFlag, EncoderState, EncoderStateOptions};
use crate::files::pooling_config::PoolingMode;
use crate::model::Model;
use crate::output::head::Projector;
use crate::output::pooling;
use crate::text::batch::PackedBatch;

/// The options of a new session.
#[derive(Debug, Clone, Default)]
pub struct SessionOptions {
    /// Number of computing threads; `None` for all that the process may use under its container limits.
    pub threads: Option<usize>,
    /// Number of tokens that one call may carry; `None` for [`DEFAULT_MAX_BATCH_TOKENS`], or the tokens of one text if
    /// the model allows more.
    pub max_batch_tokens: Option<usize>,
}

/// The kind of vectors that a call returns.
#[derive(Debug, Clone, Copy)]
pub struct EmbedOptions<'a> {
    /// The dimensions of the heads. All of them project the hidden states of one forward pass. Empty for the model's default head.
    pub dimensions: &'a [u32],
    /// Whether vectors are scaled to an L2 norm of 1. A model with a Normalize module scales them in any case.
    pub l2_normalize: bool,
}

/// The threads and buffers with which one caller runs a shared model, one call at a time.
#[derive(Debug)]
pub struct Session {
    model: Arc<Model>,
    state: Box<dyn EncoderState>,
    threads: usize,
    projector: Projector,
    pooled: Vec<f32>,
    max_batch_tokens: usize,
}

impl Session {
    /// Starts a session.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for limits out of range; those of [`crate::encoder::Encoder::new_state`].
    pub fn new(model: Arc<Model>, options: SessionOptions) -> Result<Self> {
        reach(Stage::Session);
        let threads = match options.threads {
            Some(n) if !(1..=MAX_THREADS).contains(&n) => {
                return Err(Error::InvalidArgument(format!(
                    "threads is {n}. It must be 1 to {MAX_THREADS}."
                )));
            }
            Some(n) => n,
            None => default_threads(),
        };
        let max_batch_tokens =
            options.max_batch_tokens.unwrap_or_else(|| DEFAULT_MAX_BATCH_TOKENS.max(model.max_tokens()));
        if !(model.max_tokens()..=MAX_MAX_BATCH_TOKENS).contains(&max_batch_tokens) {
            return Err(Error::InvalidArgument(format!(
                "max_batch_tokens is {max_batch_tokens}. It must be at least {}, the tokens of one text, and at most \
                 {MAX_MAX_BATCH_TOKENS}.",
                model.max_tokens()
            )));
        }
        let state = model.encoder().new_state(EncoderStateOptions { threads, max_batch_tokens })?;
        let projector = Projector::new(model.kernels(), model.config().hidden_size)?;
        log::debug!(
            "Started a session with {threads} threads for batches of at most {max_batch_tokens} tokens."
        );
        Ok(Self { model, state, threads, projector, pooled: Vec::new(), max_batch_tokens })
    }

    /// Returns the model.
    pub fn model(&self) -> &Arc<Model> {
        &self.model
    }

    /// Returns the number of computing threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Returns the number of tokens that one call may carry.
    pub fn max_batch_tokens(&self) -> usize {
        self.max_batch_tokens
    }

    /// Embeds a packed batch: runs a forward pass, pools the hidden states of each text and projects them by a head.
    /// Writes one row per text into `out`, row-major `[texts, row]`. A row has the vector of each dimension of the options, one
    /// after the other.
    ///
    /// Text `i` is `ids[cu_seqlens[i]..cu_seqlens[i + 1]]`. Mean pooling skips its first `left_out[i]` tokens, which
    /// belong to a prompt; an empty `left_out` skips none. Setting `cancel` ends the forward pass early: see
    /// [`CancelFlag`].
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] if the arguments contradict each other or exceed the limits,
    /// [`Error::UnknownDimension`], [`Error::BufferTooSmall`], [`Error::ForwardFailed`],
    /// [`Error::ResultNotFinite`], [`Error::ResultZero`], [`Error::Cancelled`]. After an error the content of `out` is not
    /// defined.
    pub fn embed(
        &mut self,
        ids: &[u32],
        cu_seqlens: &[u32],
        left_out: &[u32],
        options: EmbedOptions<'_>,
        cancel: CancelFlag<'_>,
        out: &mut [f32],
    ) -> Result<()> {
        let config = self.model.config();
        let batch = PackedBatch::new(ids, cu_seqlens, self.model.max_tokens(), config.vocab_size)?;
        if ids.len() > self.max_batch_tokens {
            let (tokens, limit) = (ids.len(), self.max_batch_tokens);
            return Err(Error::InvalidArgument(format!(
                "The batch has {tokens} tokens, but the session takes at most {limit}. Send fewer texts in one call, or \
                 start a session with a larger max_batch_tokens."
            )));
        }
        if !left_out.is_empty() && left_out.len() != batch.texts() {
            let (given, texts) = (left_out.len(), batch.texts());
            return Err(Error::InvalidArgument(format!(
                "left_out has {given} numbers for {texts} texts. It must have one number for each text, or none."
            )));
        }
        let needed = batch.texts().saturating_mul(self.row_length(options.dimensions)?);
        if out.len() < needed {
            return Err(Error::BufferTooSmall { what: "vectors", capacity: out.len(), needed });
        }
        let hidden = self.state.forward(batch, cancel)?;
        let pooling = self.model.pooling();
        let tokens_of =
            |(at, text)| pooling.token_range(text, left_out.get(at).map_or(0, |&tokens| tokens as usize));
        pooling::mean(
            batch.ranges().enumerate().map(tokens_of),
            hidden,
            config.hidden_size,
            &mut self.pooled,
        );
        self.project(options, &mut out[..needed])
    }

    /// Returns the length of a row with the vectors of all `dimensions`. Loads the heads that are not loaded yet.
    fn row_length(&self, dimensions: &[u32]) -> Result<usize> {
        if dimensions.is_empty() {
            return Ok(self.model.head(self.model.default_dimension())?.dimension());
        }
        dimensions.iter().try_fold(0usize, |sum, &dimension| {
            Ok(sum.saturating_add(self.model.head(dimension as usize)?.dimension()))
        })
    }

    /// Projects the pooled vectors by each head into its columns of the rows of `out`.
    fn project(&mut self, options: EmbedOptions<'_>, out: &mut [f32]) -> Result<()> {
        let l2_normalize = options.l2_normalize || self.model.normalizes();
        if options.dimensions.is_empty() {
            let head = self.model.head(self.model.default_dimension())?;
            return self.projector.project(head, &self.pooled, l2_normalize, 0, out);
        }
        let mut column = 0;
        for &dimension in options.dimensions {
            let head = self.model.head(dimension as usize)?;
            self.projector.project(head, &self.pooled, l2_normalize, column, out)?;
            column += head.dimension();
        }
        Ok(())
    }

    /// Ends the session and its threads, and returns its reference to the model.
    pub fn end(self) -> Arc<Model> {
        self.model
    }

    /// Embeds parts of one text in the context of the whole text (late chunking), with a single forward pass.
    ///
    /// For each range of tokens in `spans`, writes the row of the mean of its hidden states into `out`, row-major
    /// `[spans, row]`. A row is that of [`Self::embed`]. Also writes the hidden states of all tokens into `hidden`, row-major
    /// `[ids, hidden_size]`, unless `hidden` is empty.
    ///
    /// # Errors
    /// Those of [`Self::embed`]; [`Error::ResultNotFinite`] and [`Error::ResultZero`] have the index of the span.
    /// [`Error::InvalidArgument`] for a span that is empty or extends beyond the text, and for any span of a model
    /// without mean pooling.
    pub fn embed_tokens(
        &mut self,
        ids: &[u32],
        spans: &[(u32, u32)],
        options: EmbedOptions<'_>,
        cancel: CancelFlag<'_>,
        hidden: &mut [f32],
        out: &mut [f32],
    ) -> Result<()> {
        let config = self.model.config();
        let tokens = u32::try_from(ids.len()).map_err(|_| {
            Error::InvalidArgument(format!(
                "The text has {} tokens. It can have at most {}.",
                ids.len(),
                u32::MAX
            ))
        })?;
        let cu_seqlens = [0, tokens];
        let batch = PackedBatch::new(ids, &cu_seqlens, self.model.max_tokens(), config.vocab_size)?;
        if let Some((at, (begin, end))) = spans.iter().enumerate().find(|(_, (b, e))| b >= e || *e > tokens) {
            return Err(Error::InvalidArgument(format!(
                "Span {at} goes from token {begin} to {end}. It must hold at least one of the {tokens} tokens of the text."
            )));
        }
        let mode = self.model.pooling().mode;
        if mode != PoolingMode::Mean && !spans.is_empty() {
            return Err(Error::InvalidArgument(format!(
                "The vectors of spans need mean pooling, but this model has {:?} pooling. Ask for hidden states only, or \
                 embed each part as a text.",
                mode.name()
            )));
        }
        let state_len = ids.len() * config.hidden_size;
        if !hidden.is_empty() && hidden.len() < state_len {
            return Err(Error::BufferTooSmall {
                what: "hidden states",
                capacity: hidden.len(),
                needed: state_len,
            });
        }
        let needed = spans.len().saturating_mul(self.row_length(options.dimensions)?);
        if out.len() < needed {
            return Err(Error::BufferTooSmall { what: "vectors", capacity: out.len(), needed });
        }
        let states = self.state.forward(batch, cancel)?;
        if states.iter().any(|x| !x.is_finite()) {
            return Err(Error::ResultNotFinite { index: 0 });
        }
        if !hidden.is_empty() {
            hidden[..state_len].copy_from_slice(states);
        }
        let ranges = spans.iter().map(|&(begin, end)| begin as usize..end as usize);
        pooling::mean(ranges, states, config.hidden_size, &mut self.pooled);
        self.project(options, &mut out[..needed])
    }
}
