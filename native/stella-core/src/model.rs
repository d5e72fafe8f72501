//! A model, loaded once and shared.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use stella_kernels::Kernels;
use stella_kernels::activations::Arithmetic;
use stella_kernels::cpu::CpuLevel;

use crate::candle_encoder::CandleEncoder;
use crate::condense::CondensedText;
use crate::config::ModelConfig;
use crate::counters::LOADS;
use crate::cpu_encoder::CpuEncoder;
use crate::cpu_weights::Plan;
use crate::encoder::{Encoder, EncoderKind};
use crate::error::{Error, Result};
use crate::files::{CONFIG_FILE, TOKENIZER_FILE};
use crate::fingerprint::FileHashes;
use crate::first_use::FirstUse;
use crate::folder::ModelFolder;
use crate::head::Head;
use crate::layout::{HeadLayout, Layout};
use crate::memory::{MemoryEstimate, Sizes, Workload};
use crate::pooling::{Pooling, PoolingMode};
use crate::prompt::{Prompt, Prompts};
use crate::reading::Take;
use crate::specs::{TensorSpec, encoder_specs, head_specs};
use crate::stamp::FolderStamps;
use crate::text_settings::{MAX_MAX_TOKENS, TextSettings, TokenLimit};
use crate::tokenizer::{LongText, Prompted, TokenCount, Tokenizer};
use crate::weights::{LoadMode, LoadOptions, WeightSet};

/// The arithmetic of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// The fastest that loses nothing worth having, chosen by the machine.
    Auto,
    /// 32-bit floating point.
    F32,
    /// bfloat16 weights, 32-bit sums.
    Bf16,
    /// 8-bit integer weights and activations.
    Int8,
}

impl Precision {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
        }
    }

    /// What is really computed when this is asked for.
    fn resolve(self, encoder: EncoderKind, kernels: Kernels) -> Result<Self> {
        match (self, encoder) {
            (Self::Auto, EncoderKind::Kernels) if kernels.multiplies_bf16() => Ok(Self::Bf16),
            (Self::Auto | Self::F32, _) => Ok(Self::F32),
            (Self::Bf16 | Self::Int8, EncoderKind::Kernels) => Ok(self),
            (Self::Bf16 | Self::Int8, EncoderKind::Candle) => Err(Error::PrecisionUnavailable {
                asked: self.name(),
                reason: "the candle encoder computes in f32; ask for auto or f32, or for the kernels encoder"
                    .to_owned(),
            }),
        }
    }

    /// The kernels' word for it.
    fn arithmetic(self) -> Arithmetic {
        match self {
            Self::Auto | Self::F32 => Arithmetic::F32,
            Self::Bf16 => Arithmetic::Bf16,
            Self::Int8 => Arithmetic::Int8,
        }
    }
}

/// How to open a model.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelOptions {
    /// Tokens that a text may have, 1 to [`MAX_MAX_TOKENS`]; `None` for what the folder says, at most as many as the model
    /// has positions, or for [`crate::text_settings::DEFAULT_MAX_TOKENS`] if the folder says nothing.
    pub max_tokens: Option<usize>,
    /// The head that is used when a call names none; `None` for the one that `modules.json` names.
    pub dimension: Option<usize>,
    /// The arithmetic of the encoder.
    pub precision: Precision,
    /// Which implementation computes.
    pub encoder: EncoderKind,
    /// The instructions that it may use; `None` for the best that there are. One that this machine lacks is an error.
    pub level: Option<CpuLevel>,
    /// How the bytes of weights come into memory.
    pub mode: LoadMode,
    /// Whether weights that are NaN or infinite are looked for and refused.
    pub check_weights: bool,
    /// The manifest of the folder's files; `None` for the one in the folder, if there is one.
    pub manifest: Option<PathBuf>,
}

impl ModelOptions {
    fn load(&self) -> LoadOptions {
        LoadOptions { mode: self.mode, check_finite: self.check_weights }
    }

    fn kernels(&self) -> Result<Kernels> {
        let Some(level) = self.level else { return Ok(Kernels::preferred()) };
        Kernels::of(level).ok_or_else(|| {
            let available = CpuLevel::available().iter().map(|l| l.name()).collect::<Vec<_>>().join(", ");
            Error::InvalidArgument(format!("this machine does not have {level}; it has {available}"))
        })
    }
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            max_tokens: None,
            dimension: None,
            precision: Precision::Auto,
            encoder: EncoderKind::Kernels,
            level: None,
            mode: LoadMode::Copied,
            check_weights: true,
            manifest: None,
        }
    }
}

/// A loaded model: immutable, shared by every session, usable from any thread.
#[derive(Debug)]
pub struct Model {
    folder: ModelFolder,
    config: ModelConfig,
    layout: Layout,
    prompts: Prompts,
    /// The length of each prompt.
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
    /// The heads by dimension. Each is loaded by itself, so that a load makes no other head wait.
    heads: BTreeMap<usize, FirstUse<Head>>,
    /// The files that the load opened.
    files: BTreeSet<String>,
    /// Shared with the models that others opened from the same files.
    hashes: Arc<FileHashes>,
}

impl Model {
    /// Loads the model in `folder`. [`crate::shared::open`] is how a model is opened that others may have open.
    ///
    /// Every header is checked against the configuration before the first weight is read.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`], [`Error::PrecisionUnavailable`] or [`Error::UnknownDimension`] for
    /// options that the model cannot meet; otherwise the errors of the part that failed.
    pub fn load(folder: ModelFolder, options: &ModelOptions) -> Result<Self> {
        let started = std::time::Instant::now();
        let checked = Checked::read(folder.pinned(), options)?;
        let memory = checked.memory(options, &Workload::default());
        let max_tokens = checked.limit.tokens;
        let tokenizer = Tokenizer::read(
            &checked.folder,
            checked.config.vocab_size,
            &checked.limit,
            &checked.text_settings,
            checked.layout.pooling.mode,
        )?;
        let Checked {
            folder,
            config,
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
        log::debug!("{}: configuration, headers and tokenizer are good", path.display());
        let prompt_lengths =
            prompts.all().iter().map(|prompt| PromptLength::of(prompt, &tokenizer)).collect();

        LOADS.add_one();
        let load = options.load();
        let encoder: Box<dyn Encoder> = match options.encoder {
            EncoderKind::Kernels => {
                let read = |take: Take<'_>| weights.load(load, &specs, take);
                let plan = Plan { config: &config, kernels, max_tokens };
                let loaded = CpuEncoder::load(plan, precision.arithmetic(), &tokenizer, &read);
                Box::new(loaded.map_err(|e| e.for_model(&path))?)
            }
            EncoderKind::Candle => {
                Box::new(CandleEncoder::new(&config, max_tokens, weights.load_whole(load, &specs)?)?)
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
        if let Some((urgency, reason)) = stella_kernels::cpu::unused_tiles(kernels.level()) {
            log::log!(urgency, "{}: {reason}", path.display());
        }
        log::info!(
            "{}: {} with {} layers and {} parameters, dimension {default_dimension}, at most {} tokens, in {} \
             on the {} encoder with {}; loaded in {:.0} ms, memory estimate {} MiB",
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

    /// The memory that the model in `folder` would take under `workload`, from its configuration and headers alone: no
    /// weight is read. A head other than the default one adds its own size when it is used.
    ///
    /// # Errors
    /// Those of [`Self::load`] but for the tokenizer's and those that only the weights themselves can cause.
    pub fn estimate(
        folder: ModelFolder,
        options: &ModelOptions,
        workload: &Workload,
    ) -> Result<MemoryEstimate> {
        let checked = Checked::read(folder, options)?;
        workload.check()?;
        Ok(checked.memory(options, workload))
    }

    /// The shape of the encoder.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// The dimensions for which there is a head, ascending.
    pub fn dimensions(&self) -> Vec<usize> {
        self.layout.heads.keys().copied().collect()
    }

    /// The dimension that is used when a call names none.
    pub fn default_dimension(&self) -> usize {
        self.default_dimension
    }

    /// Parameters of the encoder and the default head.
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// What is computed; never [`Precision::Auto`].
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Tokens that a text may have.
    pub fn max_tokens(&self) -> usize {
        self.tokenizer.max_tokens()
    }

    /// Special tokens that the tokenizer adds to every text.
    pub fn frame_tokens(&self) -> usize {
        self.tokenizer.special_tokens()
    }

    /// How the hidden states of a text become one vector.
    pub fn pooling(&self) -> Pooling {
        self.layout.pooling
    }

    /// Whether a module of the folder scales every vector to length 1.
    pub fn normalizes(&self) -> bool {
        self.layout.normalizes
    }

    /// The prompts.
    pub fn prompts(&self) -> &Prompts {
        &self.prompts
    }

    /// Tokens of a prompt, counted among all prompts, without special tokens and before any cut. 0 when the tokenizer fails
    /// on the prompt, because then no text gets a token with it.
    pub fn prompt_tokens(&self, prompt: usize) -> usize {
        self.prompt_lengths[prompt].tokens
    }

    /// Bytes of prompt and text that the tokenizer looks at; what [`Self::condense`] leaves out does not count.
    pub fn max_text_bytes(&self) -> usize {
        self.tokenizer.max_bytes()
    }

    /// Shortens a long text without a change of its tokens: see [`Tokenizer::condense`].
    pub fn condense(&self, text: &str, with_sources: bool) -> CondensedText {
        self.tokenizer.condense(text, with_sources)
    }

    /// A hash of the stamps of the folder's files as they were when this model was opened. Equal in every process on
    /// this machine, and another one once a file was changed, replaced or touched.
    pub fn file_stamp(&self) -> u64 {
        self.folder.pins().map_or(0, FolderStamps::digest)
    }

    /// Returns the names of the files that the model was loaded from, sorted by their bytes and with forward slashes:
    /// settings, tokenizer, weights, and every head, whether its weights were read or not.
    pub fn files(&self) -> &BTreeSet<String> {
        &self.files
    }

    /// Returns the fingerprint of the vectors of a dimension, the default one for `None`: a hash of the contents of
    /// [`Self::files`], without those of the other heads, that is the same on every machine. The hashes are computed when
    /// they are first needed and kept; the module `fingerprint` says how.
    ///
    /// # Errors
    /// [`Error::UnknownDimension`]; those of [`ModelFolder::open_file`], also for a file that changed since the model was
    /// opened. The next call tries again.
    pub fn fingerprint(&self, dimension: Option<usize>) -> Result<[u8; 32]> {
        let dimension = dimension.unwrap_or(self.default_dimension);
        let head = self.layout.heads.get(&dimension);
        let head = head.ok_or_else(|| unknown_dimension(&self.layout, dimension))?;
        let files = self.files.iter().filter(|file| !self.layout.is_of_another_head(file, head));
        self.hashes.fingerprint(&self.folder, files)
    }

    /// Shares the hashes of files with models that were opened from the same ones.
    pub(crate) fn share_hashes(&mut self, hashes: Arc<FileHashes>) {
        self.hashes = hashes;
    }

    /// The memory that the model takes with one session.
    pub fn memory(&self) -> MemoryEstimate {
        self.memory
    }

    /// Which implementation computes.
    pub fn encoder_kind(&self) -> EncoderKind {
        self.encoder_kind
    }

    /// The kernels that compute what the encoder does not, and all of it with [`EncoderKind::Kernels`].
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    pub(crate) fn encoder(&self) -> &dyn Encoder {
        &*self.encoder
    }

    /// The head of a dimension, loaded at its first use.
    ///
    /// # Errors
    /// [`Error::UnknownDimension`]; those of [`Head::load`]; [`Error::FileInvalid`] for a file that is not as it was when
    /// the model was opened.
    pub fn head(&self, dimension: usize) -> Result<&Head> {
        let (Some(head), Some(found)) = (self.heads.get(&dimension), self.layout.heads.get(&dimension))
        else {
            return Err(unknown_dimension(&self.layout, dimension));
        };
        head.get_or_load(|| self.load_head(found))
    }

    /// Loads a head after the model. The folder's pins are compared before and after.
    fn load_head(&self, head: &HeadLayout) -> Result<Head> {
        // Never mapped: a file that is cut later would end the process.
        let options = LoadOptions { mode: LoadMode::Copied, ..self.load };
        let loaded = Head::load(&self.folder, head, self.config.hidden_size, options);
        // A file that changes while it is read may fail in any way, or not at all. The change is the error to report.
        if let Some(dense) = &head.dense {
            self.folder.open_file(&dense.weights_file(), "it holds weights of the model")?;
        }
        if loaded.is_ok() {
            log::debug!("{}: head of dimension {} loaded", self.path().display(), head.dimension);
        }
        loaded
    }

    /// The folder of the model.
    pub fn path(&self) -> PathBuf {
        self.folder.path("")
    }

    /// Tokenizes texts and appends their ids to `ids`, with the prompt of a name before each; `None` when nobody named one.
    ///
    /// # Errors
    /// [`Error::UnknownPrompt`]; [`Error::TextTooLong`] and [`Error::TextNotTokenized`], with the index of the text. The ids of the
    /// texts before it stay.
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

    /// The text of the prompt that a caller means, and how many tokens at the beginning of a text with it take no part in
    /// its vector.
    fn before_text(&self, prompt: Option<&str>) -> Result<(&str, usize)> {
        let Some(at) = self.prompts.find(prompt)? else { return Ok(("", 0)) };
        let leaves_out = self.layout.pooling.mode == PoolingMode::Mean && !self.layout.pooling.include_prompt;
        let prompt = &self.prompts.all()[at].text;
        let left_out = if leaves_out && !prompt.is_empty() { self.prompt_lengths[at].with_frame } else { 0 };
        Ok((prompt, left_out))
    }

    /// Tokenizes one text as [`Self::tokenize`] does, and writes to `places` where in it each token comes from: its
    /// first byte and the one after its last. Both are equal for special tokens and for those of the prompt. What
    /// `ids` and `places` held before is gone.
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

/// A folder whose configuration and headers are good and fit the options. No weight has been read.
struct Checked {
    folder: ModelFolder,
    config: ModelConfig,
    layout: Layout,
    prompts: Prompts,
    kernels: Kernels,
    precision: Precision,
    default_head: HeadLayout,
    text_settings: TextSettings,
    limit: TokenLimit,
    weights: WeightSet,
    /// The encoder's tensors.
    specs: Vec<TensorSpec>,
    parameters: u64,
    tokenizer_bytes: u64,
}

impl Checked {
    fn read(folder: ModelFolder, options: &ModelOptions) -> Result<Self> {
        if let Some(asked) = options.max_tokens.filter(|n| !(1..=MAX_MAX_TOKENS).contains(n)) {
            return Err(Error::InvalidArgument(format!(
                "max_tokens is {asked}; it must be 1 to {MAX_MAX_TOKENS}"
            )));
        }
        let kernels = options.kernels()?;
        let precision = options.precision.resolve(options.encoder, kernels)?;
        let mut config = ModelConfig::read(&folder)?;
        if let Some(asked) = options.max_tokens.filter(|&n| n > config.max_positions) {
            return Err(Error::InvalidArgument(format!(
                "max_tokens is {asked}, but the model has {} positions by {}",
                config.max_positions,
                folder.path(CONFIG_FILE).display()
            )));
        }
        let layout = Layout::read(&folder, config.hidden_size)?;
        let prompts = Prompts::read(&folder, layout.has_dense())?;
        let text_settings = TextSettings::read(&folder)?;
        let limit = match options.max_tokens {
            Some(asked) => TokenLimit::asked(asked),
            None => text_settings.limit(&folder, config.max_positions),
        };
        if options.encoder == EncoderKind::Candle {
            CandleEncoder::check(&config)
                .map_err(|reason| Error::Unsupported { path: folder.path(CONFIG_FILE), reason })?;
        }
        let weights = WeightSet::open_encoder(&folder)?;
        config.naming = weights.naming(config.architecture)?;
        let specs = encoder_specs(&config);
        weights.check(&specs)?;
        for head in layout.heads.values() {
            Head::check(&folder, head, config.hidden_size)?;
        }
        // After the heads: one that contradicts itself is the folder's fault, whatever dimension is asked for.
        let dimension = options.dimension.unwrap_or(layout.default_dimension);
        let default_head =
            layout.heads.get(&dimension).ok_or_else(|| unknown_dimension(&layout, dimension))?.clone();
        let head_specs = head_specs(&default_head, config.hidden_size);
        let parameters = specs.iter().chain(&head_specs).map(|s| s.elements() as u64).sum();
        let tokenizer_bytes = folder.open_file(TOKENIZER_FILE, "it turns text into token ids")?.len;
        Ok(Self {
            folder,
            config,
            layout,
            prompts,
            kernels,
            precision,
            default_head,
            text_settings,
            limit,
            weights,
            specs,
            parameters,
            tokenizer_bytes,
        })
    }

    fn memory(&self, options: &ModelOptions, workload: &Workload) -> MemoryEstimate {
        let sizes = Sizes {
            plan: Plan { config: &self.config, kernels: self.kernels, max_tokens: self.limit.tokens },
            encoder: options.encoder,
            arithmetic: self.precision.arithmetic(),
            dimension: self.default_head.dense.as_ref().map_or(0, |_| self.default_head.dimension),
            tokenizer_bytes: self.tokenizer_bytes,
            mode: options.mode,
            file_bytes: self.weights.file_bytes(),
            under_way: self.weights.bytes_under_way(&self.specs),
        };
        MemoryEstimate::new(sizes, workload)
    }
}

/// How long a prompt is, in tokens.
#[derive(Debug, Clone, Copy)]
struct PromptLength {
    /// Its own.
    tokens: usize,
    /// Tokens at the beginning of a text that a pooling without the prompt leaves out. 0 for a prompt without text.
    with_frame: usize,
}

impl PromptLength {
    fn of(prompt: &Prompt, tokenizer: &Tokenizer) -> Self {
        let counted = tokenizer
            .count_text_tokens(&prompt.text)
            .and_then(|tokens| Ok((tokens, tokenizer.prompt_tokens_with_special(&prompt.text)?)));
        match counted {
            Ok((tokens, _)) if prompt.text.is_empty() => Self { tokens, with_frame: 0 },
            Ok((tokens, with_frame)) => Self { tokens, with_frame },
            Err(e) => {
                let name = &prompt.name;
                log::warn!(
                    "the tokenizer fails on the prompt {name:?}, so it will fail on every text with it: {e}"
                );
                Self { tokens: 0, with_frame: 0 }
            }
        }
    }
}

fn unknown_dimension(layout: &Layout, asked: usize) -> Error {
    Error::UnknownDimension { asked, available: layout.heads.keys().copied().collect() }
}
