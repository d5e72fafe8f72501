//! The checks of a model folder before the first weight is read, and the memory estimate that follows from them.

use stella_kernels::Kernels;

use crate::base::error::{Error, Result};
use crate::base::limits::MAX_MAX_TOKENS;
use crate::encoder::EncoderKind;
use crate::encoder::candle_encoder::CandleEncoder;
use crate::encoder::cpu_weights::Plan;
use crate::files::config::ModelConfig;
use crate::files::file_names::{CONFIG_FILE, TOKENIZER_FILE};
use crate::files::folder::ModelFolder;
use crate::files::layout::{HeadLayout, Layout};
use crate::memory_estimate::{MemoryEstimate, Sizes, Workload};
use crate::model_options::{ModelOptions, Precision};
use crate::output::head::Head;
use crate::text::prompt::Prompts;
use crate::text::text_settings::{TextSettings, TokenLimit};
use crate::weights::tensor_table::{Naming, TensorSpec, encoder_specs, head_specs};
use crate::weights::weight_set::WeightSet;

/// A folder whose configuration and headers are valid and match the options. No weight was read.
pub(crate) struct CheckedFolder {
    pub(crate) folder: ModelFolder,
    pub(crate) config: ModelConfig,
    pub(crate) naming: Naming,
    pub(crate) layout: Layout,
    pub(crate) prompts: Prompts,
    pub(crate) kernels: Kernels,
    pub(crate) precision: Precision,
    pub(crate) default_head: HeadLayout,
    pub(crate) text_settings: TextSettings,
    pub(crate) limit: TokenLimit,
    pub(crate) weights: WeightSet,
    /// The tensors of the encoder.
    pub(crate) specs: Vec<TensorSpec>,
    pub(crate) parameters: u64,
    pub(crate) tokenizer_bytes: u64,
}

impl CheckedFolder {
    /// Checks a folder.
    ///
    /// # Errors
    /// Those of [`Model::load`](crate::model::Model::load), except for errors of the tokenizer and of the weights themselves.
    pub(crate) fn read(folder: ModelFolder, options: &ModelOptions) -> Result<Self> {
        if let Some(asked) = options.max_tokens.filter(|n| !(1..=MAX_MAX_TOKENS).contains(n)) {
            return Err(Error::InvalidArgument(format!(
                "max_tokens is {asked}. It must be 1 to {MAX_MAX_TOKENS}."
            )));
        }
        let kernels = options.kernels()?;
        let precision = options.precision.resolve(options.encoder, kernels)?;
        let config = ModelConfig::read(&folder)?;
        if let Some(asked) = options.max_tokens.filter(|&n| n > config.max_positions) {
            return Err(Error::InvalidArgument(format!(
                "max_tokens is {asked}, but the model has only {} positions according to {}.",
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
        let naming = weights.naming(config.architecture)?;
        let specs = encoder_specs(&config, naming);
        weights.check(&specs)?;
        for head in layout.heads.values() {
            Head::check(&folder, head, config.hidden_size)?;
        }
        // Checked after the heads, so that an invalid head is reported for every requested dimension.
        let dimension = options.dimension.unwrap_or(layout.default_dimension);
        let default_head = layout.head(dimension)?.clone();
        let head_specs = head_specs(&default_head, config.hidden_size);
        let parameters = specs.iter().chain(&head_specs).map(|s| s.elements() as u64).sum();
        let tokenizer_bytes = folder.open_file(TOKENIZER_FILE, "it turns text into token ids")?.len;
        Ok(Self {
            folder,
            config,
            naming,
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

    /// Estimates the memory of the model under `workload`.
    pub(crate) fn estimate_memory(&self, options: &ModelOptions, workload: &Workload) -> MemoryEstimate {
        let sizes = Sizes {
            plan: Plan {
                config: &self.config,
                naming: self.naming,
                kernels: self.kernels,
                max_tokens: self.limit.tokens,
            },
            encoder: options.encoder,
            arithmetic: self.precision.arithmetic(),
            dimension: self.default_head.dense.as_ref().map_or(0, |_| self.default_head.dimension),
            tokenizer_bytes: self.tokenizer_bytes,
            mode: options.mode,
            file_bytes: self.weights.file_bytes(),
            piece_bytes: self.weights.memory_of_pieces(&self.specs),
        };
        MemoryEstimate::new(sizes, workload)
    }
}
