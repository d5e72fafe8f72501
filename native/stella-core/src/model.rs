//! A loaded model: encoder, heads, tokenizer and prompts, shared by all sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use stella_kernels::Kernels;
use stella_kernels::arithmetic::Arithmetic;

use crate::base::counters::LOADS;
use crate::base::error::{Error, Result};
use crate::base::fault_injection::{Stage, reach};
use crate::checked_folder::CheckedFolder;
use crate::encoder::candle_encoder::CandleEncoder;
use crate::encoder::cpu_encoder::CpuEncoder;
use crate::encoder::cpu_weights::{CpuWeights, Plan};
use crate::encoder::{Encoder, EncoderKind, calibration};
use crate::files::config::ModelConfig;
use crate::files::fingerprint::FileHashes;
use crate::files::folder::ModelFolder;
use crate::files::folder_stamps::FolderStamps;
use crate::files::layout::{HeadLayout, Layout};
use crate::files::pooling_config::{Pooling, PoolingMode};
use crate::first_use::FirstUse;
use crate::memory_estimate::{MemoryEstimate, Workload};
use crate::model_options::{ModelOptions, Precision};
use crate::output::head::Head;
use crate::text::condense::{CondensedText, Sources};
use crate::text::prompt::{Prompt, Prompts};
use crate::text::tokenizer::{LongText, Prompted, TokenCount, Tokenizer};
use crate::weights::weight_reader::TensorSink;
use crate::weights::weight_set::{LoadMode, LoadOptions};

/// A loaded model. It is immutable, shared by all sessions, and can be used from any thread.
#[derive(Debug)]
pub struct Model {
    folder: ModelFolder,
    config: ModelConfig,
    layout: Layout,
    prompts: Prompts,
    /// The lengths of the prompts, in the order of `prompts`.
    prompt_lengths: Vec<PromptLength>,
    tokenizer: Tokenizer,
    encoder: Box<dyn Encoder>,
    encoder_kind: EncoderKind,
    kernels: Kernels,
    precision: Precision,
    default_dimension: usize,
    parameters: u64,
    memory: MemoryEstimate,
    load: LoadOptions,
    /// The heads by dimension. Each is loaded separately, so that loading a head does not block the use of another one.
    heads: BTreeMap<usize, FirstUse<Head>>,
    /// The names of the files that the load opened.
    files: BTreeSet<String>,
    /// Shared with other models of the same files.
    hashes: Arc<FileHashes>,
}

impl Model {
    /// Loads the model in `folder`. [`open`](crate::model_registry::open) shares a model with other callers instead.
    ///
    /// Every header is checked against the configuration before the first weight is read.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::PrecisionUnavailable`] or [`Error::UnknownDimension`] for invalid options;
    /// otherwise the error of the part that failed.
    pub fn load(folder: ModelFolder, options: &ModelOptions) -> Result<Self> {
        let started = std::time::Instant::now();
        let checked = CheckedFolder::read(folder.pinned(), options)?;
        let memory = checked.estimate_memory(options, &Workload::default());
        let max_tokens = checked.limit.tokens;
        let tokenizer = Tokenizer::read(
            &checked.folder,
            checked.config.vocab_size,
            &checked.limit,
            &checked.text_settings,
            checked.layout.pooling.mode,
        )?;
        let CheckedFolder {
            folder,
            config,
            naming,
            layout,
            prompts,
            kernels,
            precision,
            default_head,
            weights,
            specs,
            parameters,
            ..
        } = checked;
        let path = folder.path("");
        log::debug!("{}: The configuration, the headers and the tokenizer are valid.", path.display());
        let prompt_lengths =
            prompts.all().iter().map(|prompt| PromptLength::of(prompt, &tokenizer)).collect();

        LOADS.add_one();
        let load = options.load_options();
        let encoder: Box<dyn Encoder> = match options.encoder {
            EncoderKind::Kernels => {
                reach(Stage::Encoder);
                let read = |sink: TensorSink<'_>| weights.load(load, &specs, sink);
                let plan = Plan { config: &config, naming, kernels, max_tokens };
                let packed = match precision.arithmetic() {
                    Arithmetic::Int8 => calibration::load(plan, &tokenizer, &read),
                    arithmetic => CpuWeights::load(plan, arithmetic, &[], &read, &mut |_, _, _| ()),
                };
                Box::new(CpuEncoder::new(packed.map_err(|e| e.for_model(&path))?))
            }
            EncoderKind::Candle => {
                let tensors = weights.load_whole(load, &specs)?;
                Box::new(CandleEncoder::new(&config, naming, max_tokens, tensors)?)
            }
        };
        drop(weights);
        let default_dimension = default_head.dimension;
        let head = Head::load(&folder, &default_head, config.hidden_size, load)?;
        let mut heads: BTreeMap<_, _> = layout.heads.keys().map(|&d| (d, FirstUse::new())).collect();
        heads.insert(default_dimension, FirstUse::loaded(head));
        let model = Self {
            prompts,
            prompt_lengths,
            tokenizer,
            encoder,
            encoder_kind: options.encoder,
            kernels,
            precision,
            default_dimension,
            parameters,
            memory,
            load,
            heads,
            files: folder.opened_files(),
            hashes: Arc::default(),
            folder,
            config,
            layout,
        };
        if let Some((urgency, reason)) = stella_kernels::cpu::explain_unused_amx(kernels.level()) {
            log::log!(urgency, "{}: {reason}", path.display());
        }
        log::info!(
            "{}: {} with {} layers and {} parameters, dimension {default_dimension}, at most {} tokens, in {} on the {} \
             encoder with {}, loaded in {:.0} ms. The memory estimate is {} MiB.",
            path.display(),
            model.config.architecture.name(),
            model.config.layers,
            model.parameters,
            max_tokens,
            model.precision.name(),
            model.encoder_kind.name(),
            model.kernels.level(),
            started.elapsed().as_secs_f64() * 1e3,
            model.memory.total() >> 20,
        );
        Ok(model)
    }

    /// Estimates the memory of the model in `folder` under `workload`, from its configuration and headers alone. No weight is
    /// read. Heads other than the default head are not included.
    ///
    /// # Errors
    /// Those of [`Self::load`], except for errors of the tokenizer and of the weights themselves.
    pub fn estimate(
        folder: ModelFolder,
        options: &ModelOptions,
        workload: &Workload,
    ) -> Result<MemoryEstimate> {
        let checked = CheckedFolder::read(folder, options)?;
        workload.check()?;
        Ok(checked.estimate_memory(options, workload))
    }

    /// Gets the architecture and the sizes of the encoder.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Returns the dimensions of the heads, ascending.
    pub fn dimensions(&self) -> Vec<usize> {
        self.layout.heads.keys().copied().collect()
    }

    /// Gets the dimension that a call uses by default.
    pub fn default_dimension(&self) -> usize {
        self.default_dimension
    }

    /// Gets the number of parameters of the encoder and the default head.
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// Gets the precision of the encoder; never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Gets the largest number of tokens of a text.
    pub fn max_tokens(&self) -> usize {
        self.tokenizer.max_tokens()
    }

    /// Gets the number of special tokens that the tokenizer adds to every text.
    pub fn frame_tokens(&self) -> usize {
        self.tokenizer.special_tokens()
    }

    /// Gets the pooling.
    pub fn pooling(&self) -> Pooling {
        self.layout.pooling
    }

    /// Returns whether a Normalize module scales every vector to length 1.
    pub fn normalizes(&self) -> bool {
        self.layout.normalizes
    }

    /// Gets the prompts.
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// Gets the number of tokens of the prompt with index `prompt`, without special tokens and before truncation. Returns
    /// 0 if the tokenizer fails on the prompt, because it then fails on every text with this prompt.
    pub fn prompt_tokens(&self, prompt: usize) -> usize {
        self.prompt_lengths[prompt].tokens
    }

    /// Gets the limit of the tokenizer for the bytes of prompt and text. Bytes that [`Self::condense`] removes do not count.
    pub fn max_text_bytes(&self) -> usize {
        self.tokenizer.max_bytes()
    }

    /// Shortens a long text without changing its tokens, see [`Tokenizer::condense`].
    pub fn condense(&self, text: &str, sources: Sources) -> CondensedText {
        self.tokenizer.condense(text, sources)
    }

    /// Returns a hash of the file stamps of the folder when this model was opened. It is the same in every process on this
    /// machine, and differs after a file was changed, replaced or touched.
    pub fn file_stamp(&self) -> u64 {
        self.folder.pins().map_or(0, FolderStamps::digest)
    }

    /// Gets the names of the files of the model: settings, tokenizer, weights, and all heads, including those whose weights
    /// were not read. The names are sorted by their bytes and have forward slashes.
    pub fn files(&self) -> &BTreeSet<String> {
        &self.files
    }

    /// Returns the fingerprint of the vectors of a dimension (`None` for the default one): a hash of the contents of
    /// [`Self::files`], without those of other heads. It is the same on every machine. The hashes of the files are computed at
    /// the first call and kept. The module `fingerprint` describes the computation.
    ///
    /// # Errors
    /// [`Error::UnknownDimension`]; those of [`ModelFolder::open_file`], also for
    /// a file that changed since the model was opened. The next call tries again.
    pub fn fingerprint(&self, dimension: Option<usize>) -> Result<[u8; 32]> {
        let dimension = dimension.unwrap_or(self.default_dimension);
        let head = self.layout.head(dimension)?;
        let files = self.files.iter().filter(|file| !self.layout.is_of_another_head(file, head));
        self.hashes.fingerprint(&self.folder, files)
    }

    /// Shares the hashes of files with other models of the same files.
    pub(crate) fn share_hashes(&mut self, hashes: Arc<FileHashes>) {
        self.hashes = hashes;
    }

    /// Gets the memory estimate of the model with one session.
    pub fn memory(&self) -> MemoryEstimate {
        self.memory
    }

    /// Gets the implementation of the encoder.
    pub fn encoder_kind(&self) -> EncoderKind {
        self.encoder_kind
    }

    /// Gets the kernels of the heads, and of the encoder with [`EncoderKind::Kernels`].
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    pub(crate) fn encoder(&self) -> &dyn Encoder {
        &*self.encoder
    }

    /// Returns the head of a dimension. Loads it at its first use.
    ///
    /// # Errors
    /// [`Error::UnknownDimension`]; those of [`Head::load`];
    /// [`Error::FileInvalid`] for a file that changed since the model was opened.
    pub fn head(&self, dimension: usize) -> Result<&Head> {
        let layout = self.layout.head(dimension)?;
        let head = self.heads.get(&dimension);
        let head =
            head.ok_or_else(|| Error::Internal(format!("The head of dimension {dimension} has no slot.")))?;
        head.get_or_load(|| self.load_head(layout))
    }

    /// Loads a head after the model. Compares the file stamps before and after.
    fn load_head(&self, head: &HeadLayout) -> Result<Head> {
        // Never mapped, because cutting the file later would kill the process.
        let options = LoadOptions { mode: LoadMode::Copied, ..self.load };
        let loaded = Head::load(&self.folder, head, self.config.hidden_size, options);
        // Reading a file that changes may fail in any way, or not at all. Opening it again reports the change instead.
        if let Some(dense) = &head.dense {
            self.folder.open_file(&dense.weights_file(), "it contains weights of the model")?;
        }
        if loaded.is_ok() {
            log::debug!("{}: Loaded the head of dimension {}.", self.path().display(), head.dimension);
        }
        loaded
    }

    /// Returns the path of the model folder.
    pub fn path(&self) -> PathBuf {
        self.folder.path("")
    }

    /// Tokenizes texts, each with the named prompt before it, and appends their ids to `ids`. `None` stands for the default
    /// prompt of the folder, if there is one.
    ///
    /// # Errors
    /// [`Error::UnknownPrompt`]; [`Error::TextTooLong`] and [`Error::TextNotTokenized`] with the index of the text. `ids` keeps
    /// the ids of the texts before it.
    pub fn tokenize<'t>(
        &self,
        texts: impl IntoIterator<Item = &'t str>,
        prompt: Option<&str>,
        long: LongText,
        ids: &mut Vec<u32>,
    ) -> Result<Vec<TokenCount>> {
        let (prompt, left_out) = self.before_text(prompt)?;
        let mut buffer = String::new();
        texts
            .into_iter()
            .enumerate()
            .map(|(index, text)| {
                let text = Prompted { prompt, text };
                let count = self.tokenizer.encode_in(&mut buffer, index, text, long, ids, None)?;
                Ok(TokenCount { left_out: left_out.min(count.kept), ..count })
            })
            .collect()
    }

    /// Returns the text of a prompt, and the number of tokens at the beginning of a text that pooling leaves out.
    fn before_text(&self, prompt: Option<&str>) -> Result<(&str, usize)> {
        let Some(at) = self.prompts.find(prompt)? else { return Ok(("", 0)) };
        let leaves_out = self.layout.pooling.mode == PoolingMode::Mean && !self.layout.pooling.include_prompt;
        let prompt = &self.prompts.all()[at].text;
        let left_out =
            if leaves_out && !prompt.is_empty() { self.prompt_lengths[at].with_special } else { 0 };
        Ok((prompt, left_out))
    }

    /// Tokenizes one text like [`Self::tokenize`], and writes the byte range of each token in the text to `places`. The range
    /// is empty for special tokens and for tokens of the prompt. Replaces the contents of `ids` and `places`.
    ///
    /// # Errors
    /// Those of [`Self::tokenize`].
    pub fn tokenize_with_places(
        &self,
        text: &str,
        prompt: Option<&str>,
        long: LongText,
        ids: &mut Vec<u32>,
        places: &mut Vec<(usize, usize)>,
    ) -> Result<TokenCount> {
        let (prompt, left_out) = self.before_text(prompt)?;
        ids.clear();
        places.clear();
        let count = self.tokenizer.encode(0, Prompted { prompt, text }, long, ids, Some(places))?;
        for (begin, end) in places {
            *begin = begin.saturating_sub(prompt.len());
            *end = end.saturating_sub(prompt.len());
        }
        Ok(TokenCount { left_out: left_out.min(count.kept), ..count })
    }
}

/// The length of a prompt in tokens.
#[derive(Debug, Clone, Copy)]
struct PromptLength {
    /// Tokens of the prompt itself.
    tokens: usize,
    /// Tokens at the beginning of a text, special tokens included, that a pooling without the prompt leaves out. 0 for an empty
    /// prompt.
    with_special: usize,
}

impl PromptLength {
    fn of(prompt: &Prompt, tokenizer: &Tokenizer) -> Self {
        let counted = tokenizer
            .count_text_tokens(&prompt.text)
            .and_then(|tokens| Ok((tokens, tokenizer.prompt_tokens_with_special(&prompt.text)?)));
        match counted {
            Ok((tokens, _)) if prompt.text.is_empty() => Self { tokens, with_special: 0 },
            Ok((tokens, with_special)) => Self { tokens, with_special },
            Err(e) => {
                let name = &prompt.name;
                log::warn!(
                    "The tokenizer fails on the prompt {name:?}, so it will fail on every text with this prompt: {e}"
                );
                Self { tokens: 0, with_special: 0 }
            }
        }
    }
}
